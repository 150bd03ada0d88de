"""Signals read from behaviour that nobody logged: what the next turn says about the last answer.

Each rule looks at an interaction and the next of the same session. What it finds is a piece of
feedback of actor kind `rule`, with the rule's confidence as the size of its opinion. Where the
application logged a signal of the same kind about an interaction, nothing is derived for it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tuneloop.config.signals import DeriveConfig
from tuneloop.curate.columns import (
    ACTORS,
    SIGNALS,
    Codes,
    Feedback,
    Flags,
    Floats,
    Interactions,
    Ints,
    Texts,
    signal_code,
)
from tuneloop.curate.order import order_of
from tuneloop.curate.signals.opinion import WORDS_PER_S
from tuneloop.curate.signals.wording import opens_anew, thanks, wording_similarity

REGENERATE_CONFIDENCE = 0.9
"""The same words again, minutes later: hardly ever out of content."""
ABANDON_CONFIDENCE = 0.6
"""Silence after asking twice; some got what they wanted and left without a word."""
LEAST_CONFIDENCE = 0.5
"""Of a reformulation at the least similarity; it rises to 1 with the similarity."""
KEPT_CHARS = 200
"""Of a question's beginning and end, which is what is compared: memory stays bounded."""


Encode = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True)
class Found:
    """What one rule found: rows, a value and an opinion each, shape (k,); `ts` is when."""

    signal: str
    row: Ints
    ts: Floats
    value: Floats
    opinion: Floats


def derive(
    interactions: Interactions,
    feedback: Feedback,
    texts: Texts,
    config: DeriveConfig,
    *,
    encode: Encode | None = None,
) -> Feedback:
    """Return `feedback` with the derived signals added, in order of (ts, id).

    Args:
        interactions: n of them.
        feedback: What was logged.
        texts: Where questions are read from.
        config: Which rules, with which thresholds.
        encode: Texts → unit vectors of meaning, which also finds rewordings that share no word.
    """
    row, following = successors(interactions)
    gap = interactions.ts[following] - interactions.ts[row]
    found = []
    same = interactions.question[row] == interactions.question[following]
    again = same & (gap >= config.regenerate_min_s) & (gap <= config.regenerate_window_s)
    if config.regenerate:
        found.append(_flagged("regenerate", row[again], following[again], interactions,
                              np.full(int(again.sum()), REGENERATE_CONFIDENCE)))  # fmt: skip
    near = ~same & (gap >= 0) & (gap <= config.reformulation_window_s)
    rows = np.concatenate([row[near], following[near]])
    questions = _questions(rows, len(interactions), texts)
    reworded, confidence = _reworded(questions, gap[near], config, encode)
    if config.reformulation:
        found.append(_flagged("reformulation", row[near][reworded], following[near][reworded],
                              interactions, confidence[reworded]))  # fmt: skip
    if config.dwell:
        found.append(_unread(row, gap, interactions, config))
    if config.abandonment:
        tried = np.concatenate([following[again], following[near][reworded]])
        found.append(_abandoned(tried, interactions, feedback, texts, config))
    found = [_unlogged(item, feedback, len(interactions)) for item in found]
    return merge(interactions, feedback, found)


def successors(interactions: Interactions) -> tuple[Ints, Ints]:
    """Return rows and the next row of the same session, by time, then turn, then row."""
    session = interactions.codes["session"]
    order = np.lexsort((np.arange(len(session)), interactions.turn, interactions.ts, session))
    order = order[session[order] >= 0]
    row, following = order[:-1], order[1:]
    together = session[row] == session[following]
    return row[together], following[together]


def merge(interactions: Interactions, feedback: Feedback, found: list[Found]) -> Feedback:
    """Return `feedback` and what was found as one, in order of (ts, id)."""
    found = [item for item in found if len(item.row)]
    if not found:
        return feedback
    row = np.concatenate([item.row for item in found])
    lengths = [len(item.row) for item in found]
    codes = np.repeat([signal_code(item.signal) for item in found], lengths)
    prefix = pa.array([f"derived:{name}:" for name in SIGNALS]).take(pa.array(codes))
    ids = pc.binary_join_element_wise(prefix, interactions.id.take(pa.array(row)), "")
    account, names = _accounts(interactions, feedback, row)
    n = len(row)

    def joined(old: np.ndarray, new: np.ndarray) -> np.ndarray:
        return np.concatenate([old, new.astype(old.dtype)])

    ts = joined(feedback.ts, np.concatenate([item.ts for item in found]))
    id = pa.concat_arrays([feedback.id.cast(pa.string()), ids.cast(pa.string())])
    order = order_of(ts, id)
    return Feedback(
        id=id.take(pa.array(order)),
        ts=ts[order],
        row=joined(feedback.row, row)[order],
        account=joined(feedback.account, account)[order],
        account_names=names,
        actor=joined(feedback.actor, np.full(n, ACTORS.index("rule")))[order],
        signal=joined(feedback.signal, codes)[order],
        dimension=joined(feedback.dimension, np.full(n, -1))[order],
        dimensions=feedback.dimensions,
        value=joined(feedback.value, np.concatenate([item.value for item in found]))[order],
        text=joined(feedback.text, np.zeros(n))[order],
        opinion=joined(feedback.opinion, np.concatenate([i.opinion for i in found]))[order],
        trust=joined(feedback.trust, np.ones(n))[order],
        derived=joined(feedback.derived, np.ones(n, dtype=bool))[order],
    )


def _accounts(
    interactions: Interactions, feedback: Feedback, row: Ints
) -> tuple[np.ndarray, pa.Array]:
    """Return whose behaviour each row shows, and the names: the person's, else the session's."""
    person = _names(interactions, "subject", row)
    name = pc.coalesce(person, _names(interactions, "session", row)).cast(pa.string())
    names = feedback.account_names.cast(pa.string())
    unseen = pc.unique(name.filter(pc.invert(pc.is_in(name, names))))
    names = pa.concat_arrays([names, unseen.sort()])
    return pc.index_in(name, names).to_numpy(), names


def _names(interactions: Interactions, of: str, row: Ints) -> pa.Array:
    code = interactions.codes[of][row]
    return interactions.names[of].cast(pa.string()).take(pa.array(code, mask=code < 0))


def _flagged(
    signal: str, row: Ints, following: Ints, interactions: Interactions, confidence: Floats
) -> Found:
    ts = interactions.ts[following]
    return Found(signal, row, ts, np.ones(len(row)), -confidence)


def _unlogged(found: Found, feedback: Feedback, n: int) -> Found:
    same = (feedback.signal == signal_code(found.signal)) & ~feedback.derived
    free = ~_flags(feedback.row[same], n)[found.row]
    row, ts = found.row[free], found.ts[free]
    return Found(found.signal, row, ts, found.value[free], found.opinion[free])


def _unread(row: Ints, gap: Floats, interactions: Interactions, config: DeriveConfig) -> Found:
    """The pause is at least the time spent reading: a short one proves, a long one does not."""
    words = interactions.n_answer_words[row]
    share = gap * WORDS_PER_S / np.maximum(words, 1)
    short = (words >= config.dwell_min_words) & (share <= config.dwell_max_share) & (gap > 0)
    ts = interactions.ts[row[short]] + gap[short]
    return Found("dwell", row[short], ts, gap[short], share[short] - 1.0)


def _reworded(
    questions: pa.Array, gap: Floats, config: DeriveConfig, encode: Encode | None
) -> tuple[Flags, Floats]:
    """Return which next questions ask the same in other words, and how sure that is, (k,).

    Args:
        questions: The k questions, then the k next ones.
        gap: Seconds between them, shape (k,).
        config: Thresholds and window.
        encode: Looks at meaning where words tell nothing; unless there is too much to look at.
    """
    before, after = questions[: len(gap)], questions[len(gap) :]
    new = opens_anew(after)
    above = _above(wording_similarity(before, after), config.reformulation_min_similarity)
    unclear = np.flatnonzero((above < 0) & ~new)
    if encode and 0 < 2 * len(unclear) <= config.reformulation_max_encoded:
        sides = [side.take(pa.array(unclear)).to_pylist() for side in (before, after)]
        cosine = (encode(sides[0]) * encode(sides[1])).sum(axis=1)
        above[unclear] = _above(cosine.astype(np.float64), config.reformulation_min_cosine)
    sure = LEAST_CONFIDENCE + (1 - LEAST_CONFIDENCE) * np.maximum(above, 0)
    return (above >= 0) & ~new, sure * (1 - 0.5 * gap / config.reformulation_window_s)


def _above(similarity: Floats, least: float) -> Floats:
    """Return how far a similarity is on its way from the least to 1; below 0 where it is less."""
    return np.minimum((similarity - least) / max(1.0 - least, 1e-9), 1.0)


def _questions(rows: Ints, n: int, texts: Texts) -> pa.Array:
    """Return the questions of rows (of n in all), long ones cut to their ends."""
    wanted = _flags(rows, n)
    read, numbers = [pa.array([], pa.large_string())], [np.empty(0, dtype=np.int64)]
    for of, batch in texts.prompts(["question"], rows=wanted) if len(rows) else ():
        text = batch.column("question").cast(pa.large_string())
        ends = pc.binary_join_element_wise(
            pc.utf8_slice_codeunits(text, 0, KEPT_CHARS),
            pc.utf8_slice_codeunits(text, -KEPT_CHARS),
            pa.scalar(" ", pa.large_string()),
        )
        long = pc.greater(pc.utf8_length(text), 2 * KEPT_CHARS)
        read.append(pc.fill_null(pc.if_else(long, ends, text), ""))
        numbers.append(np.asarray(of, dtype=np.int64))
    place = np.full(n, -1)
    found = np.concatenate(numbers)
    place[found] = np.arange(len(found))
    at = place[rows]
    return pc.fill_null(pa.concat_arrays(read).take(pa.array(at, mask=at < 0)), "")


def _abandoned(
    tried: Ints, interactions: Interactions, feedback: Feedback, texts: Texts, config: DeriveConfig
) -> Found:
    """Return last turns that asked again and were left without any sign of content.

    A session that ends with its only question is no sign of anything: most people whose question
    was answered leave. It takes an earlier answer that was not enough.
    """
    row, _ = successors(interactions)
    n = len(interactions)
    candidates = _flags(tried, n) & ~_flags(row, n) & ~_flags(feedback.row, n)
    candidates &= interactions.ts + config.session_timeout_s <= interactions.ts.max(initial=0)
    last = np.flatnonzero(candidates)
    if len(last):
        last = last[~thanks(_questions(last, n, texts))]
    ts = interactions.ts[last] + config.session_timeout_s
    opinion = np.full(len(last), -ABANDON_CONFIDENCE)
    return Found("abandonment", last, ts, np.ones(len(last)), opinion)


def _flags(rows: Ints | Codes, n: int) -> Flags:
    """Return which of n rows are among these."""
    flags = np.zeros(n, dtype=bool)
    flags[rows] = True
    return flags
