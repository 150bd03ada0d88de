"""Made-up values in the place of personal ones: the same for the same, within a conversation.

A surrogate is a function of (key, conversation, kind, value) and of nothing else, so batches,
workers and machines agree without speaking to one another. Numbers come from ranges that belong
to nobody. Two values can meet in one surrogate, as rarely as its range is wide.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

from tuneloop.recognise.numbers import iban_rest, luhn
from tuneloop.recognise.persons import fold
from tuneloop.recognise.words import (
    FIRMS,
    FIRST,
    LAST,
    MONTHS,
    PARTICLES,
    PLACES,
    ROLES,
    STREETS,
    TITLES,
)


@dataclass(frozen=True)
class Surrogates:
    """Draws surrogates.

    Args:
        key: At most 64 bytes; who knows it can test a guess, nobody else can.
        natural: Values that look like values, else numbered placeholders.
    """

    key: bytes
    natural: bool

    def __call__(self, kind: str, value: str, conversation: str) -> str:
        """Return what stands for the value in this conversation."""

        def draw(what: str, of: str) -> int:
            return self._number(conversation, what, of)

        if self.natural and kind != "secret":
            return _MAKERS[kind](value, draw)
        shown = "PERSON" if kind == "surname" else kind.upper()
        return f"[{shown}_{1 + draw(kind, identity(kind, value)) % 999}]"

    def hashed(self, kind: str, value: str) -> str:
        """Return a mark that is the same for the same value everywhere (40 bits)."""
        shown = "PERSON" if kind == "surname" else kind.upper()
        return f"[{shown}_{self._number('', kind, identity(kind, value)) >> 24:010x}]"

    def rank(self, *parts: str) -> int:
        """Return a number that the parts alone decide."""
        return self._number("rank", *parts)

    def _number(self, *parts: str) -> int:
        text = "\x1f".join(parts).encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.blake2b(text, digest_size=8, key=self.key).digest(), "big")


Draw = Callable[[str, str], int]


def identity(kind: str, value: str) -> str:
    """Return what two ways of writing one value have in common; of a name, its first word."""
    if kind == "secret":
        return value
    if kind in ("person", "surname"):
        words = _name_words(value)
        return fold(words[0]) if words else fold(value)
    return re.sub(r"[\W_]", "", value) if kind == "ip" else re.sub(r"[\s().,/-]", "", fold(value))


def _name_words(value: str) -> list[str]:
    words = [word.strip(".,'’-") for word in value.split()]
    return [w for w in words if w and w.lower() not in TITLES | PARTICLES]


def _person(value: str, draw: Draw) -> str:
    """Map each word of a name by itself: the first name alone becomes the same first name."""
    title = re.match(r"(?i)(?:" + "|".join(sorted(TITLES, key=len, reverse=True)) + r")\.? ", value)
    words = _name_words(value)
    new = [_named(word, draw, last=i > 0 and i == len(words) - 1) for i, word in enumerate(words)]
    if title and len(words) == 1:
        new = [_named(words[0], draw, last=True)]
    return (title.group() if title else "") + " ".join(new)


def _named(word: str, draw: Draw, *, last: bool) -> str:
    pool, what = (LAST, "last") if last else (FIRST, "first")
    n = draw(what, fold(word))
    new = pool[n % len(pool)]
    if fold(new) == fold(word):
        new = pool[(n + 1) % len(pool)]
    return (
        new.upper() if word.isupper() and len(word) > 1 else new.lower() if word.islower() else new
    )


def _email(value: str, draw: Draw) -> str:
    """Follow the surrogate of the name in it: maria.lopez7@ is what Maria Lopez became."""
    local, at, domain = value.partition("@")
    words = re.findall(r"[^\W\d_]+", local)
    if not (at and words and local.lower() in ROLES):
        new = iter(
            _named(word, draw, last=0 < i == len(words) - 1).lower() for i, word in enumerate(words)
        )
        local = re.sub(r"[^\W\d_]+", lambda _: next(new), local)
        local = _digits(local, draw("email", fold(value)))
    house = STREETS[draw("domain", fold(domain or value)) % len(STREETS)].lower()
    return f"{local if at else 'mail'}@{house}.example"


def _digits(text: str, n: int) -> str:
    """Replace each digit."""

    def next_digit(_: re.Match[str]) -> str:
        nonlocal n
        n, digit = divmod(n, 10)
        return str(digit)

    return re.sub(r"\d", next_digit, text)


def _phone(value: str, draw: Draw) -> str:
    """Numbers for drama: Ofcom's, and 555-01xx of the North American plan."""
    n = draw("phone", re.sub(r"\D", "", value))
    american = re.fullmatch(r"(\+?1[ .-]?)?(\(?)(\d{3})(\)?[ .-]?)\d{3}([ .-]?)\d{4}", value)
    if american and not value.startswith("0"):
        lead, opened, _, middle, sign = american.groups()
        area = 201 + n // 100 % 700
        return f"{lead or ''}{opened}{area}{middle}555{sign}01{n % 100:02d}"
    start = "+44 7700 900" if value.startswith(("+", "00")) else "07700 900"
    number = f"{start}{n % 1000:03d}"
    return number if re.search(r"\d[ ./-]", value) else number.replace(" ", "")


def _card(value: str, draw: Draw) -> str:
    """The test range 4000 00, right by Luhn, spaced as it was."""
    n_digits = sum(sign.isdigit() for sign in value)
    body = "400000" + f"{draw('card', re.sub(r'[^0-9]', '', value)):020d}"[-(n_digits - 7) :]
    check = next(d for d in "0123456789" if luhn(body + d))
    new = iter(body + check)
    return re.sub(r"\d", lambda _: next(new), value)


def _iban(value: str, draw: Draw) -> str:
    """A German form with the bank code 00000000, which no bank has."""
    body = f"00000000{draw('iban', identity('iban', value)) % 10**10:010d}"
    new = f"DE{98 - iban_rest('DE00' + body):02d}{body}"
    return " ".join(re.findall(".{1,4}", new)) if " " in value else new


def _ip(value: str, draw: Draw) -> str:
    """Ranges for documentation (RFC 5737, RFC 3849)."""
    n = draw("ip", value.lower())
    if ":" in value:
        return f"2001:db8::{n % 65536:x}:{n // 65536 % 65536:x}"
    return f"{('192.0.2', '198.51.100', '203.0.113')[n % 3]}.{1 + n // 3 % 254}"


def _national_id(value: str, draw: Draw) -> str:
    """The form stays, each digit and each letter is drawn anew; an American one begins with 000."""
    n = draw("national_id", identity("national_id", value))
    new = re.sub(r"[A-Z]", lambda m: chr(65 + (ord(m.group()) + n // (m.start() + 7)) % 26), value)
    new = _digits(new, n)
    return "000" + new[3:] if re.fullmatch(r"\d{3}-\d{2}-\d{4}", value) else new


def _birth_date(value: str, draw: Draw) -> str:
    """The same form, another day within a few years; days and months stay below 13."""
    n = draw("birth_date", identity("birth_date", value))

    def number(match: re.Match[str]) -> str:
        old = match.group()
        if len(old) == 4:
            return str(int(old) + n // 144 % 7 - 3)
        if len(old) == 2 and match.end() == len(value):  # a year of two digits
            return f"{(int(old) + n // 144 % 7 - 3) % 100:02d}"
        return f"{1 + n // (match.start() + 1) % 12:0{len(old)}d}"[: max(len(old), 2)]

    months = "|".join(MONTHS)
    new = re.sub(r"\d+", number, value)
    return re.sub(months, lambda _: MONTHS[n % 12], new)


def _address(value: str, draw: Draw) -> str:
    n = draw("address", identity("address", value))
    if re.fullmatch(r"[A-Z]{1,2}\d[A-Z\d]? \d[A-Z]{2}", value):
        return f"QX{1 + n % 9} {1 + n // 9 % 9}QX"  # no postal area is called QX
    street = f"{1 + n % 180} {STREETS[n // 180 % len(STREETS)]} Street"
    town = PLACES[n // 8000 % len(PLACES)]
    return f"{street}, {town}" if "," in value else street


def _place(value: str, draw: Draw) -> str:
    return PLACES[draw("place", fold(value)) % len(PLACES)]


def _organisation(value: str, draw: Draw) -> str:
    return FIRMS[draw("organisation", fold(value)) % len(FIRMS)]


def _surname(value: str, draw: Draw) -> str:
    return _named(value, draw, last=True)


_MAKERS: dict[str, Callable[[str, Draw], str]] = {
    "person": _person, "surname": _surname, "email": _email, "phone": _phone,
    "card": _card, "iban": _iban, "ip": _ip,
    "national_id": _national_id, "birth_date": _birth_date, "address": _address, "place": _place,
    "organisation": _organisation,
}  # fmt: skip
