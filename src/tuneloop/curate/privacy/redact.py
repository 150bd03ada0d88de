"""Redact a batch of columns: one pass to find where to look, Python only there."""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tuneloop.config.privacy import Action, RedactConfig
from tuneloop.curate.privacy import language, recognisers
from tuneloop.curate.privacy.operators import forget_operators
from tuneloop.curate.privacy.parts import Leaf, Part, columns_of, parts_of
from tuneloop.curate.privacy.report import RedactionReport, Sample
from tuneloop.curate.privacy.surrogates import Surrogates
from tuneloop.errors import DataError
from tuneloop.recognise.finding import Span, hide
from tuneloop.recognise.persons import again, fold, surname
from tuneloop.recognise.rules import RuleSet, rules_for

_CONTEXT_CHARS = 60


@dataclass(frozen=True)
class Redactor:
    """What is looked for and what is done about it: plain data, so any worker can have a copy.

    Attributes:
        kinds: Kinds looked for, besides secrets.
        actions: What happens in each field.
        natural: Natural surrogates, else placeholders.
        allow: Values that are not personal, without case.
        with_model: Whether the language model is used.
        key: Key of surrogates and hashes.
        n_samples: Samples kept of each kind.
    """

    kinds: frozenset[str]
    actions: Mapping[str, Action]
    natural: bool
    allow: frozenset[str]
    with_model: bool
    key: bytes = field(repr=False)
    n_samples: int = 5

    @property
    def engine(self) -> str:
        """The engine that is used, for the summary."""
        return "presidio" if self.with_model else "patterns"

    @cached_property
    def rules(self) -> RuleSet:
        """The patterns; compiled once a process."""
        return rules_for(self.kinds)

    @cached_property
    def surrogates(self) -> Surrogates:
        """What draws the made-up values."""
        return Surrogates(self.key, self.natural)


def make_redactor(config: RedactConfig, *, seed: int) -> Redactor:
    """Return the redactor of a run.

    Raises:
        DataError: The engine, or the variable with the key, is not there.
    """
    if config.engine == "presidio":
        language.require()
    with_model = config.enabled and config.engine != "patterns" and language.available()
    secret = f"tuneloop:{seed}".encode()
    if config.hash_key is not None:
        secret = os.environ.get(config.hash_key, "").encode()
        if not secret:
            raise DataError(
                f"the environment variable {config.hash_key} is empty",
                where="curate.redact.hash_key",
                hint="put the key of hashes and surrogates there",
            )
    return Redactor(
        kinds=frozenset(config.kinds) if config.enabled else frozenset(),
        actions=dict(config.fields),
        natural=config.surrogates == "natural",
        allow=frozenset(value.casefold() for value in config.allow),
        with_model=with_model,
        key=hashlib.blake2b(secret, digest_size=32).digest(),
        n_samples=config.n_samples,
    )


@dataclass
class Redacted:
    """A batch after redaction.

    Attributes:
        columns: The same columns.
        masked: For the columns asked for, every find as `[KIND]`: equal texts about different
            people are equal here, so this is what duplicates and leaks are looked for in.
        left_out: By column, which rows hold personal data that the policy leaves out; their
            texts are null.
        report: Counts and samples.
    """

    columns: dict[str, pa.Array]
    masked: dict[str, pa.Array]
    left_out: dict[str, NDArray[np.bool_]]
    report: RedactionReport


def redact_batch(
    columns: Mapping[str, pa.Array | list[str]],
    conversations: pa.Array | list[str],
    redactor: Redactor,
    *,
    masked: Iterable[str] = (),
) -> Redacted:
    """Return the columns with personal data replaced.

    Args:
        columns: By name (see `parts.FIELDS`): texts, JSON texts, lists of texts (the comments
            on an answer, say) or messages. What is said of an interaction goes in one call with
            it: names are found again in all columns of a row.
        conversations: The conversation of each row (the session, else the interaction): within
            one, equal values get equal surrogates, in whatever batch they come.
        redactor: What to do.
        masked: Columns of text that are wanted masked, too.
    """
    conversations = pa.array(conversations)
    parts = parts_of(columns)
    report = RedactionReport(redactor.n_samples)
    leaves = _leaves(parts, redactor)
    _find(leaves, redactor)
    forget_operators(leaves, parts)
    _find_again(leaves, parts, redactor)
    left_out: dict[str, NDArray[np.bool_]] = {
        name: np.zeros(len(conversations), np.bool_) for name in columns
    }
    names: dict[int, str] = {}
    for leaf in leaves:
        if not leaf.spans:
            continue
        row = leaf.row
        if row not in names:
            names[row] = conversations[row].as_py() or ""
        if _rewrite(leaf, names[row], redactor, report):
            left_out[leaf.part.column][row] = True
    new, hidden = columns_of(columns, parts, leaves, left_out, frozenset(masked))
    return Redacted(new, hidden, left_out, report)


def _leaves(parts: list[Part], redactor: Redactor) -> list[Leaf]:
    """Return the texts that may hold something, with the rules worth trying."""
    leaves: list[Leaf] = []
    for part in parts:
        bits = part.bits(redactor.rules.prefilter, with_model=redactor.with_model)
        places = np.flatnonzero(bits)
        texts = part.texts.take(pa.array(places)).to_pylist()
        for place, text, bit in zip(places.tolist(), texts, bits[places].tolist(), strict=True):
            leaves += part.leaves(place, text, bit)
    return leaves


def _find(leaves: list[Leaf], redactor: Redactor) -> None:
    for leaf in leaves:
        shifted = redactor.rules.find(leaf.cue + leaf.text, leaf.bits)
        n = len(leaf.cue)
        leaf.spans = [Span(s.start - n, s.end - n, s.kind) for s in shifted if s.start >= n]
        if redactor.with_model and "national_id" in redactor.kinds and leaf.has_digits:
            leaf.add(recognisers.national_ids(leaf.text))
    if redactor.with_model and redactor.kinds & {"person", "place", "organisation"}:
        hidden = [hide(leaf.text, leaf.spans) for leaf in leaves]
        for leaf, spans in zip(leaves, language.find(hidden, redactor.kinds), strict=True):
            leaf.add(spans)


def _find_again(leaves: list[Leaf], parts: list[Part], redactor: Redactor) -> None:
    """Find the names of a row again wherever they stand in it: in the answer, say."""
    names: dict[int, set[str]] = defaultdict(set)
    for leaf in leaves:
        for span in leaf.spans:
            if span.kind == "person":
                names[leaf.row].add(leaf.text[span.start : span.end])
    if not names:
        return
    seen = {(id(leaf.part), leaf.place) for leaf in leaves}
    rows = np.fromiter(names, np.int64, len(names))
    for part in parts:
        for place in np.flatnonzero(np.isin(part.rows, rows)).tolist():
            if (id(part), place) not in seen:
                leaves += part.leaves(place, part.texts[place].as_py(), 0)
    for leaf in leaves:
        if leaf.row in names and leaf.text:
            leaf.add(again(leaf.text, names[leaf.row], leaf.spans))
            leaf.surnames = frozenset(map(surname, names[leaf.row]))


def _rewrite(leaf: Leaf, conversation: str, redactor: Redactor, report: RedactionReport) -> bool:
    """Fill in the leaf's new text; return whether the policy leaves it out."""
    action = redactor.actions[leaf.field_name]
    out: list[str] = []
    masked: list[str] = []
    places: list[tuple[str, str, int]] = []
    end = n = 0
    left_out = False
    for span in leaf.spans:
        value = leaf.text[span.start : span.end]
        if span.kind != "secret" and value.casefold() in redactor.allow:
            continue
        new = value
        report.found[leaf.field_name, span.kind] += 1
        if span.kind == "secret" or action != "keep":
            report.replaced[leaf.field_name, span.kind] += 1
            hashing = action == "hash" and span.kind != "secret"
            draw, kind = redactor.surrogates, span.kind
            if kind == "person" and fold(value) in leaf.surnames:
                kind = "surname"
            new = draw.hashed(kind, value) if hashing else draw(kind, value, conversation)
            left_out |= action == "drop" and span.kind != "secret"
        before = leaf.text[end : span.start]
        out += [before, new]
        masked += [before, f"[{span.kind.upper()}]"]
        n += len(before)
        places.append((span.kind, value, n))
        n, end = n + len(new), span.end
    rest = leaf.text[end:]
    leaf.new, leaf.masked = "".join([*out, rest]), "".join([*masked, rest])
    if action in ("redact", "hash"):
        _sample(leaf, conversation, places, redactor, report)
    return left_out


def _sample(
    leaf: Leaf,
    conversation: str,
    places: list[tuple[str, str, int]],
    redactor: Redactor,
    report: RedactionReport,
) -> None:
    for kind, value, start in places:
        rank = redactor.surrogates.rank(conversation, leaf.field_name, kind, value)
        if report.wants(kind, rank):
            low, high = max(start - _CONTEXT_CHARS, 0), start + _CONTEXT_CHARS
            report.add_sample(kind, Sample(rank, leaf.field_name, leaf.new[low:high].strip()))


def find_all(texts: list[str], redactor: Redactor) -> list[list[Span]]:
    """Return what is found in each text, each a conversation of its own; nothing is replaced."""
    parts = parts_of({"question": texts})
    leaves = _leaves(parts, redactor)
    _find(leaves, redactor)
    _find_again(leaves, parts, redactor)
    found: list[list[Span]] = [[] for _ in texts]
    for leaf in leaves:
        found[leaf.place] = leaf.spans
    return found


def mask_texts(texts: pa.Array | list[str], redactor: Redactor) -> pa.Array:
    """Return the texts with each find as `[KIND]`, as `Redacted.masked` has them."""
    empty = [""] * len(texts)
    return redact_batch({"question": texts}, empty, redactor, masked=["question"]).masked[
        "question"
    ]
