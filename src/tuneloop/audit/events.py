"""An export read once: who said what of which answer. Texts become hashes, nothing is kept."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from tuneloop.artefacts.events import EXPLICIT_SIGNALS
from tuneloop.errors import DataError
from tuneloop.lake.format import UnfitError
from tuneloop.lake.ingest import look, records_of
from tuneloop.lake.rows import Reader

Hash = bytes
EXTRAS = {"data": "tuneloop[data]", "train": "tuneloop[train]"}


@dataclass(frozen=True)
class Answer:
    """One interaction: hashes of what was asked and answered, and whose it was."""

    question: Hash
    answer: Hash | None
    person: str | None
    kinds: tuple[str, ...] = ()


@dataclass(frozen=True)
class Word:
    """One signal in force. `value` is an opinion from -1 to 1, or the hash of a correction."""

    target: str
    person: str | None
    by: str
    signal: str
    opinion: float | None = None
    text: Hash | None = None
    other: str | None = None
    outcome: str = "better"


@dataclass
class Log:
    """What an export holds."""

    format: str = ""
    n_records: int = 0
    rejected: Counter[str] = field(default_factory=Counter)
    example: dict[str, str] = field(default_factory=dict)
    n_repeated: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)
    words: dict[str, Word] = field(default_factory=dict)
    signals: Counter[str] = field(default_factory=Counter)

    def stated(self) -> list[Word]:
        """Return what people (users, reviewers) said in so many words."""
        return [
            w for w in self.words.values()
            if w.signal in EXPLICIT_SIGNALS and w.by in ("user", "reviewer")
        ]  # fmt: skip

    def person_of(self, word: Word) -> str | None:
        """Return who said it: the actor, else whose interaction it was; None where unknown."""
        if word.person is not None:
            return word.person
        about = self.answers.get(word.target)
        return about.person if about and word.by == "user" else None


def read_log(name: str, format: str = "auto", *, say: Callable[[int], None] | None = None) -> Log:
    """Return what an export in any format that `ingest` reads holds.

    Raises:
        DataError: if it cannot be read, its format is unknown, or it needs a package.
    """
    try:
        looked = look(name, format)
        one = looked.found.format
        log, reader = Log(format=one.name), Reader(source=one.name)
        from tuneloop.lake.format import Source

        source, revisions = Source(name=Path(name).name), dict[str, int]()
        for item in records_of(name, looked.container, say or (lambda _: None)):
            if item.record is None:
                _reject(log, item.refused or UnfitError("bad_json", "it cannot be read"))
                continue
            try:
                parts = list(one.split(item.record)) if one.split else [item.record]
            except Exception as error:
                _reject(log, error)
                continue
            for part in parts:
                log.n_records += 1
                try:
                    rows = [from_json(reader.row(e).payload) for e in one.convert(part, source)]
                except Exception as error:
                    _reject(log, error, counted=True)
                    continue
                for event in rows:
                    _take(log, event, revisions)
    except ImportError as error:
        extra = EXTRAS["train" if error.name == "datasets" else "data"]
        raise DataError(
            f"this export needs the package {error.name}", where=name, hint=f"pip install '{extra}'"
        ) from error
    return log


def _reject(log: Log, error: Exception, *, counted: bool = False) -> None:
    """Count a record that could not be used, with one example of each reason."""
    reason, detail = "unexpected", str(error)
    if isinstance(error, UnfitError):
        reason, detail = error.reason, error.detail
    log.n_records += not counted
    log.rejected[reason] += 1
    log.example.setdefault(reason, detail[:160])


def _take(log: Log, event: Mapping[str, Any], revisions: dict[str, int]) -> None:
    if event["type"] == "interaction":
        log.n_repeated += event["id"] in log.answers
        kinds = tuple(str(event[k]) for k in ("segment", "intent") if event.get(k))
        text = event["response"].get("content")
        log.answers[event["id"]] = Answer(
            _hash(event["request"]["messages"]),
            None if not text else _hash(text),
            event.get("subject_key"),
            kinds,
        )
        return
    revision = event.get("revision", 0)
    if revisions.get(event["id"], -1) >= revision:
        log.n_repeated += 1
        return
    revisions[event["id"]] = revision
    if event.get("op") == "retract":
        log.words.pop(event["id"], None)
        return
    log.signals[event["signal"]] += 1
    log.words[event["id"]] = _word(event)


def _word(event: Mapping[str, Any]) -> Word:
    signal, value, actor = event["signal"], event.get("value"), event.get("actor") or {}
    target, fields = event["target"]["id"], dict[str, Any]()
    if signal == "preference" and isinstance(value, Mapping):
        target = value["winner"]
        fields = {"other": value["loser"], "outcome": value.get("outcome", "better")}
    elif signal in ("correction", "edit"):
        fields = {"text": _hash(value)}
    elif signal in ("thumb", "stars", "score"):
        fields = {"opinion": _opinion(signal, value, event.get("scale"))}
    by = actor.get("kind", "user")
    return Word(target=target, person=actor.get("id"), by=by, signal=signal, **fields)


def _opinion(signal: str, value: Any, scale: Any) -> float:
    """Return a rating from -1 to 1, as curation reads it."""
    if signal == "thumb":
        return 1.0 if value in (True, 1, "up") else -1.0
    low, high = (1.0, 5.0) if signal == "stars" else (scale or (0.0, 1.0))
    return 2 * (float(value) - low) / (high - low) - 1


def _hash(value: Any) -> Hash:
    """Return 16 bytes for a text or messages; white space does not count."""
    if isinstance(value, list):
        text = "\0".join(f"{m.get('role')}:{m.get('content')}" for m in value)
    else:
        text = str(value)
    return hashlib.blake2b(" ".join(text.split()).encode("utf-8", "surrogatepass"),
                           digest_size=16).digest()  # fmt: skip
