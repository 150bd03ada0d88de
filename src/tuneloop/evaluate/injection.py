"""Answers that speak to their judge: found by what they do, in whatever writing they do it.

Fences and neutralised turns keep an answer inside its place; this finds those that try to get
out, so that their judgments are missing for that reason instead of counted. It looks for five
acts, not for known texts: overriding instructions, speaking to an evaluator about its judgment,
claiming a verdict in the form a judge gives it, opening turns or fences, and hiding any of these
in an encoding. What the task itself says, an answer may repeat.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote

import regex

from tuneloop.evaluate.injection_acts import ACTS

_BASE64 = regex.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_HEX = regex.compile(r"(?:[0-9a-fA-F]{2}[\s:]?){16,}")
_LETTERS = regex.compile(r"(?:(?<!\p{L})\p{L}(?:[ .\-_*]{1,3}|$)){8,}")
_LOOKALIKES = str.maketrans(
    "аеорсухіјѕԁһӏЅАВЕКМНОРСТХІЈαοειικνρτυΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcyxijsdhlSABEKMHOPCTXIJaoeiikvptuABEZHIKMNOPTYX",
)
_LEET = tuple(str.maketrans("013457@$", f"o{one}eastas") for one in "il")
_TURNED = tuple(
    codecs.encode(word, "rot13") for word in ("ignore", "evaluat", "erdict", "answer", "instruct")
)
_MAX_CHARS = 20_000


def tries_injection(answer: str, known: str = "") -> bool:
    """Whether an answer speaks to its judge.

    Args:
        answer: What is looked at; beyond 20,000 characters its two ends.
        known: Task and reference: what stands there too is no attempt.
    """
    text = (
        answer
        if len(answer) <= _MAX_CHARS
        else answer[: _MAX_CHARS // 2] + answer[-_MAX_CHARS // 2 :]
    )
    given = _plain(known).casefold()
    return any(_acts(reading, given) for reading in _readings(text))


def _acts(text: str, given: str) -> bool:
    for act in ACTS:
        for found in act.finditer(text):
            if found.group().strip().casefold() not in given:
                return True
    return False


def _plain(text: str) -> str:
    """Return `text` without marks, invisible characters, styles and compatibility forms."""
    folded = html.unescape(unicodedata.normalize("NFKC", text))
    return "".join(c for c in folded if unicodedata.category(c) not in ("Cf", "Co", "Cn"))


def _readings(text: str) -> Iterator[str]:
    """Yield what a text says, plainly and under the encodings that hide it."""
    plain = _plain(text)
    yield plain
    if any(0xE0000 <= ord(c) <= 0xE007F for c in text):
        yield "".join(chr(ord(c) - 0xE0000) for c in text if 0xE0020 <= ord(c) <= 0xE007E)
    alike = plain.translate(_LOOKALIKES)
    if alike != plain:
        yield alike
    if regex.search(r"\p{L}[013457@$]|[013457@$]\p{L}", plain):
        yield from (plain.translate(table) for table in _LEET)
    for spaced in _LETTERS.findall(plain):
        yield _unspaced(spaced)
    if "%" in plain:
        yield unquote(plain)
    yield from _decoded(plain)
    words = sum(
        word in plain.casefold() for word in ("vtaber", "rinyhng", "irqvpg", "nafjre", "vafgehpg")
    )
    if words:
        yield codecs.decode(plain, "rot13")
    if regex.search(r"(?:tcidrev|erongi|noitcurtsni|rewsna|rotaulave)", plain, regex.IGNORECASE):
        yield plain[::-1]


def _unspaced(text: str) -> str:
    # Letters set apart; words were set further apart.
    return regex.sub(r"(?<=\S)[ .\-_*](?=\S)", "", text)


def _decoded(text: str) -> Iterator[str]:
    for found in _BASE64.findall(text):
        padded = found.rstrip("=").replace("-", "+").replace("_", "/")
        try:
            raw = base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
            decoded = raw.decode("utf-8")
        except (binascii.Error, ValueError):
            continue
        if decoded.isprintable() or "\n" in decoded:
            yield _plain(decoded)
    for found in _HEX.findall(text):
        try:
            yield _plain(bytes.fromhex(regex.sub(r"[\s:]", "", found)).decode("utf-8"))
        except ValueError:
            continue
