"""What one piece of feedback says about the answer: an opinion from −1 (bad) to 1 (good)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.curate.columns import Feedback, Flags, Floats, Interactions, Texts, signal_code

WORDS_PER_S = 238 / 60
"""Silent reading of English prose. Source: Brysbaert 2019, J. Memory and Language 109."""
IDLE_FACTOR = 20.0
"""Beyond this many reading times the page was left open, which says nothing."""
REWRITTEN = 0.3
"""Edit distance, as a share of the longer text, from which a correction is a new answer."""
LEAST_CORRECTED = 0.5
"""What a correction of a single character of a long answer says against it: somebody thought
the answer was not good enough to stand."""
SHORT_WORDS = 12
"""In an answer this short every word may be the answer, and edit distance tells nothing."""

_PRAISE = (
    r"\b(thank(s| you)|thx|perfect(ly)?|great|excellent|awesome|brilliant|spot on|well done|"
    r"good (answer|job|one)|very good|exactly( right)?|correct|helpful|(that |it )?work(s|ed)|"
    r"love (it|this)|nice)\b"
)
_BLAME = (
    r"\b(wrong(ly)?|incorrect(ly)?|inaccurate|useless|unhelpful|terrible|awful|nonsense|garbage|"
    r"rubbish|hallucinat\w*|made[- ]up|outdated|misleading|bad (answer|advice)|too (long|short|"
    r"vague)|(can('|’)?t|cannot) use|had to (write|do|fix) it|missed the point|poor)\b"
)
_DENIED = (
    r"\b(not|isn('|’)?t|wasn('|’)?t|doesn('|’)?t|didn('|’)?t|never|no|hardly)\b( \w+){0,2} "
    r"(perfect|great|good|right|exactly|correct|helpful|work(s|ed)?|useful|what|asked|nice)\b"
)


def opinions(interactions: Interactions, feedback: Feedback, texts: Texts | None = None) -> Floats:
    """Return each piece's opinion, shape (m,); NaN where it says nothing of quality.

    Derived pieces keep the opinion they were made with.

    Args:
        interactions: The answers.
        feedback: The pieces.
        texts: Where comments are read from; without it comments say nothing.
    """
    value = feedback.value
    said = feedback.opinion.copy()
    said[~feedback.derived] = np.nan

    def of(signal: str) -> Flags:
        return np.asarray((feedback.signal == signal_code(signal)) & ~feedback.derived)

    for signal, opinion in (
        ("thumb", np.sign(value)),
        ("stars", (value - 3.0) / 2.0),
        ("score", 2.0 * value - 1.0),
        ("edit", 2.0 * value - 1.0),
        ("copy", _flag(value, 1.0)),
        ("reformulation", _flag(value, -1.0)),
        ("regenerate", _flag(value, -1.0)),
        ("abandonment", _flag(value, -1.0)),
    ):
        which = of(signal)
        said[which] = opinion[which]
    words = np.maximum(interactions.n_answer_words, 1)
    which = of("dwell")
    said[which] = dwell_opinion(value[which], words[feedback.row[which]])
    which = of("correction")
    said[which] = correction_opinion(value[which], words[feedback.row[which]])
    which = of("comment")
    if texts is not None and which.any():
        for pieces, batch in texts.feedback(which):
            said[pieces] = comment_opinions(batch)
    return np.clip(said, -1.0, 1.0)


def dwell_opinion(seconds: Floats, words: Floats) -> Floats:
    """Return the time spent against the time the answer takes to read: −1 none, 0 once, 1 twice.

    NaN from `IDLE_FACTOR` reading times on. All of shape (k,); `words` at least 1.
    """
    share = seconds * WORDS_PER_S / words
    return np.where(share > IDLE_FACTOR, np.nan, np.minimum(share, 2.0) - 1.0)


def correction_opinion(similarity: Floats, words: Floats) -> Floats:
    """Return what a correction says: 1 where nothing was changed, else −1 to −0.5 by how much.

    Args:
        similarity: 1 − normalised edit distance to the answer, shape (k,); NaN: not compared.
        words: Words of the answer, shape (k,).
    """
    distance = 1.0 - np.nan_to_num(similarity, nan=0.0)
    share = np.minimum(distance / REWRITTEN, 1.0)
    graded = -(LEAST_CORRECTED + (1.0 - LEAST_CORRECTED) * share)
    changed = np.where(words < SHORT_WORDS, -1.0, graded)
    return np.where(distance == 0, 1.0, changed)


def comment_opinions(comments: pa.Array) -> Floats:
    """Return 1 for plain praise, −1 for plain blame, NaN for all else and for both at once.

    A list of English words and phrases, with a denial before them turned into blame. It is
    meant to be right when it speaks, not to speak often; hence the small weight of comments.
    """
    text = pc.utf8_lower(comments)
    denied = _found(text, _DENIED)
    blame = _found(text, _BLAME) | denied
    praise = _found(text, _PRAISE) & ~denied
    return np.where(praise & ~blame, 1.0, np.where(blame & ~praise, -1.0, np.nan))


def _flag(value: Floats, says: float) -> Floats:
    """A flag of 0 says nothing; a missing value is a signal that carries none, which is set."""
    return np.where(value == 0, np.nan, says)


def _found(text: pa.Array, pattern: str) -> Flags:
    hits = pc.fill_null(pc.match_substring_regex(text, pattern=pattern), False)
    return np.asarray(hits.to_numpy(zero_copy_only=False), dtype=bool)
