"""Remove personal data by pattern, with placeholders that keep one person one person.

Patterns with checks (Luhn, IBAN modulus, address parsing) and not a language model: the same
text gives the same redaction on every machine, and a card number is found or not found for a
reason one can read here. Names and addresses of people are outside what patterns can do.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.curate.rows import Row

Replace = Callable[[str], str]

_VALUE = r"[^\s\"',;<>\[\]{}]"
_NAMED = (
    r"(?:pass(?:word|wd|code|phrase)|pwd|secret|api[-_ ]?key|access[-_ ]?key"
    r"|(?:access|auth|api|refresh|bearer)[-_ ]?token|token)"
)
_SECRETS = [
    re.compile(
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S
    ),
    re.compile(r"\beyJ[\w-]{5,}\.[\w-]{5,}\.[\w-]{5,}"),
    re.compile(
        r"\b(?:sk|pk|rk)[-_](?:live[-_]|test[-_]|proj-|ant-)?[A-Za-z0-9_-]{16,}"
        r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}"
        r"|\bhf_[A-Za-z0-9]{20,}|\bxox[abeprs]-[\w-]{10,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"
        r"|\bAIza[\w-]{30,}|\bnpm_[A-Za-z0-9]{30,}|\bpypi-[\w-]{30,}"
    ),
    re.compile(r"(?i)\bbearer\s+(?P<value>[\w.~+/-]{12,}=*)"),
    re.compile(r"(?i)\b[a-z][a-z0-9+.-]*://[^\s/:@]+:(?P<value>[^\s/@]+)@"),
    re.compile(rf"(?i)\b{_NAMED}[\"']?\s*[:=]\s*[\"']?(?P<value>{_VALUE}{{4,}})"),
    # In prose only a value that no word looks like: "my password is wrong" says nothing secret.
    re.compile(
        rf"(?i)\b{_NAMED}\s+(?:is|was)\s*:?\s*[\"']?"
        rf"(?P<value>(?={_VALUE}*[\d!@#$%^&*_+=~]){_VALUE}{{6,}})"
    ),
]
_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]+@[\w-]+(?:\.[\w-]+)+")
_IBAN = re.compile(
    r"(?i)(?<!\w)[a-z]{2}\d{2}(?:[ -]?[a-z0-9]{4}){2,7}(?:[ -]?[a-z0-9]{1,3})?(?!\w)"
)
_CARD = re.compile(r"(?<![\w.])[2-6](?:[ -]?\d){11,18}(?![\w])")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IPV6 = re.compile(
    r"(?i)(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}(?:[0-9a-f]{1,4}|(?:\d{1,3}\.){3}\d{1,3})?(?![\w:])"
)
_PHONE = re.compile(
    r"(?<![\w.+-])(?:"
    r"(?:\+|00)\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,5}(?:[ .-]?\d{2,5}){1,4}"  # international
    r"|(?:1[ .-])?(?:\(\d{3}\) ?|\d{3}[ .-])\d{3}[ .-]\d{4}"  # North America
    r"|\(?0\d{1,4}\)?[ /-]\d{2,8}(?:[ -]\d{2,5}){0,3}"  # national, leading zero
    r")(?![\w]|[.-]\d)"
)
# A loose superset of the above for one fast pass over all texts; what it does not match holds
# nothing to redact.
_MAY_HOLD = (
    r"(?i)@|(?:\p{Nd}[^\p{Nd}]{0,3}){7}|\p{Nd}\.\p{Nd}+\.\p{Nd}+\.\p{Nd}"
    r"|:[0-9a-f]{0,4}:|[a-z]{2}\p{Nd}{2}[ -]?[a-z0-9]{4}"
    r"|eyJ|bearer|passw|passc|passp|pwd|secret|token|(?:api|access)[-_ ]?key|private key"
    r"|(?:sk|pk|rk)[-_]|gh[pousr]_|github_pat|glpat|hf_|xox|akia|asia|aiza|npm_|pypi-"
)


@dataclass
class Redactor:
    """Replaces what it finds by `[KIND_n]`; equal values get equal placeholders.

    Args:
        kinds: Which kinds of personal data; secrets are always replaced.
    """

    kinds: frozenset[str]
    names: dict[tuple[str, str], str] = field(default_factory=dict)
    found: Counter[str] = field(default_factory=Counter)

    def conversation(self) -> Redactor:
        """Return a redactor that numbers anew and counts into the same totals."""
        return Redactor(self.kinds, found=self.found)

    def __call__(self, text: str) -> str:
        """Return the text with personal data replaced."""
        for pattern in _SECRETS:
            text = pattern.sub(self._secret, text)
        for kind, pattern, check in _KINDS:
            if kind in self.kinds:
                text = pattern.sub(lambda m, k=kind, c=check: self._checked(m, k, c), text)  # type: ignore[misc]
        return text

    def _placeholder(self, kind: str, value: str) -> str:
        self.found[kind] += 1
        normal = re.sub(r"[\s().-]", "", value).lower() if kind != "secret" else value
        number = 1 + sum(1 for known, _ in self.names if known == kind)
        return self.names.setdefault((kind, normal), f"[{kind.upper()}_{number}]")

    def _secret(self, match: re.Match[str]) -> str:
        whole = match.group()
        if "value" not in match.re.groupindex:
            return self._placeholder("secret", whole)
        start, end = match.start("value") - match.start(), match.end("value") - match.start()
        value = whole[start:end]
        tail = value[len(value.rstrip(".!?)")) :]  # the sentence's own punctuation
        value = value[: len(value) - len(tail)] or value
        return whole[:start] + self._placeholder("secret", value) + tail + whole[end:]

    def _checked(self, match: re.Match[str], kind: str, check: Callable[[str], int]) -> str:
        """Replace the longest beginning of the match that passes its check."""
        text = match.group()
        n = check(text)
        return self._placeholder(kind, text[:n]) + text[n:] if n else text


def may_hold_personal_data(texts: list[str]) -> list[bool]:
    """Return which texts need a closer look; one pass of RE2 over all of them."""
    column = pa.array(texts, type=pa.large_string())
    hits: list[bool] = pc.match_substring_regex(column, _MAY_HOLD).to_pylist()
    return hits


def redact_rows(rows: list[Row], redactor: Redactor) -> None:
    """Redact prompts, answers, corrections and comments of the rows, in place."""
    texts = [text for row in rows for text in _texts(row)]
    hits = iter(may_hold_personal_data(texts) if texts else [])
    for row in rows:
        hit = [next(hits) for _ in _texts(row)]
        if not any(hit):
            continue
        redact, marks = redactor.conversation(), iter(hit)
        for message in row.messages:
            if next(marks):
                message["content"] = redact(message["content"])
        if next(marks):
            row.answer = redact(row.answer)
        for item in row.feedback:
            if isinstance(item.value, str) and next(marks):
                item.value = redact(item.value)


def _texts(row: Row) -> list[str]:
    spoken = [item.value for item in row.feedback if isinstance(item.value, str)]
    return [*(message["content"] for message in row.messages), row.answer, *spoken]


def _whole(text: str) -> int:
    return len(text)


def _luhn(text: str) -> int:
    """Return the length of a card number (ISO/IEC 7812: 13 to 19 digits, Luhn), else 0."""
    digits = [int(sign) for sign in text if sign.isdigit()]
    if not 13 <= len(digits) <= 19:
        return 0
    doubled = [d * 2 - 9 * (d > 4) if i % 2 else d for i, d in enumerate(reversed(digits))]
    return len(text) if sum(doubled) % 10 == 0 else 0


def _iban(text: str) -> int:
    """Return the length of the IBAN the text begins with (ISO 13616: modulus 97), else 0."""
    for end in range(len(text), 14, -1):
        compact = re.sub(r"[ -]", "", text[:end]).upper()
        cut_in_word = end < len(text) and text[end].isalnum()
        if cut_in_word or not 15 <= len(compact) <= 34 or not text[end - 1].isalnum():
            continue
        digits = "".join(str(int(sign, 36)) for sign in compact[4:] + compact[:4])
        if int(digits) % 97 == 1:
            return end
    return 0


def _address(text: str) -> int:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return 0
    return len(text) if sum(sign.isalnum() for sign in text) > 2 else 0


def _phone(text: str) -> int:
    return len(text) if 7 <= sum(sign.isdigit() for sign in text) <= 15 else 0


_KINDS: list[tuple[str, re.Pattern[str], Callable[[str], int]]] = [
    ("email", _EMAIL, _whole),
    ("iban", _IBAN, _iban),
    ("card", _CARD, _luhn),
    ("ip", _IPV4, _address),
    ("ip", _IPV6, _address),
    ("phone", _PHONE, _phone),
]
