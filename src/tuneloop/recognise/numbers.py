"""Contact and payment data: what a checksum, a parser or a form tells from other numbers."""

from __future__ import annotations

import ipaddress
import re

from tuneloop.recognise.finding import Rule

_EMAIL = re.compile(r"(?<![\w.+%-])[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_SPOKEN = re.compile(
    r"(?i)(?<![\w.+%-])[a-z0-9._+-]{2,64} ?(?:\[at\]|\(at\)|\{at\}) ?[a-z0-9-]{2,63}"
    r"(?: ?(?:\[dot\]|\(dot\)|\{dot\}|\.) ?[a-z]{2,24}){1,4}\b"
)
_IBAN = re.compile(
    r"(?i)(?<!\w)[a-z]{2}\d{2}(?:[ \xa0-]{0,2}[a-z0-9]{4}){2,7}"
    r"(?:[ \xa0-]{0,2}[a-z0-9]{1,3})?(?!\w)"
)
_CARD = re.compile(r"(?<![\w.])[2-6](?:[ \xa0-]{0,2}\d){11,18}(?![\w])")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IPV6 = re.compile(
    r"(?i)(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}(?:[0-9a-f]{1,4}|(?:\d{1,3}\.){3}\d{1,3})?(?![\w:])"
)
# Between two groups stands nothing, one sign or two: "555  0189" is written, too.
_PHONE = re.compile(
    r"(?<![\w.+-])(?:"
    r"(?:\+|00)\d{1,3}[ \xa0.-]{0,2}(?:\(\d{1,4}\)[ \xa0.-]{0,2})?\d{1,5}"
    r"(?:[ \xa0.-]{0,2}\d{2,5}){1,4}"  # international
    r"|(?:1[ \xa0.-]{1,2})?(?:\(\d{3}\)[ \xa0]{0,2}|\d{3}[ \xa0.-]{1,2})"
    r"\d{3}[ \xa0.-]{1,2}\d{4}"  # North America
    r"|\(?0\d{1,4}\)?[ \xa0/-]{1,2}\d{2,8}(?:[ \xa0-]{1,2}\d{2,5}){0,3}"  # national, leading zero
    r"|0\d(?:\.\d{2}){4}"  # France, with points
    r")(?![\w]|[.-]\d)"
)
_CALLED = re.compile(
    r"(?i)\b(?:tele?(?:phone|fon|fono|foon)?|tel|phone|mobile?|m[óo]vil|cell(?:ulare|phone)?|handy"
    r"|whatsapp|fax|t[ée]l[ée]phone|telefone|call(?: me)?|ring(?: me)?|text me|reach me"
    r"|sms|numer|rufnummer)"
    r"(?:[ -]?(?:number|nummer|no\.?|nr\.?|num[ée]ro|número))?"
    r"(?:\s(?:is|on|at|ist|est|es|é|under|unter|al|to|:))?[\s:.=#-]{1,4}"
    r"(?P<value>\(?\+?\d(?:[ ()./-]{0,2}\d){6,14})(?!\w|[.-]\d)"
)
# Writing without spaces: what stands beside is a letter, too.
_CALLED_ELSEWHERE = re.compile(
    r"(?i)(?:电话|電話|手机|手機|携帯|전화|телефон|тел\.)[^\d+(\n\0]{0,12}"
    r"(?P<value>\(?\+?\d(?:[ ()./-]{0,2}\d){6,14})(?!\d)"
)


def luhn(text: str) -> bool:
    """Return whether the digits pass the Luhn check (ISO/IEC 7812)."""
    digits = [int(sign) for sign in text if sign.isdigit()]
    doubled = [d * 2 - 9 * (d > 4) if i % 2 else d for i, d in enumerate(reversed(digits))]
    return bool(digits) and sum(doubled) % 10 == 0


def _card(text: str) -> int:
    """Return the length of a card number (13 to 19 digits, Luhn), else 0."""
    n_digits = sum(sign.isdigit() for sign in text)
    return len(text) if 13 <= n_digits <= 19 and luhn(text) else 0


def iban_rest(compact: str) -> int:
    """Return the remainder of ISO 13616; 1 for a valid IBAN."""
    return int("".join(str(int(sign, 36)) for sign in compact[4:] + compact[:4])) % 97


def _iban(text: str) -> int:
    """Return the length of the IBAN the text begins with, else 0."""
    for end in range(len(text), 14, -1):
        compact = re.sub(r"[ \xa0-]", "", text[:end]).upper()
        cut_in_word = end < len(text) and text[end].isalnum()
        if cut_in_word or not 15 <= len(compact) <= 34 or not text[end - 1].isalnum():
            continue
        if iban_rest(compact) == 1:
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


WRITTEN = (
    Rule("email", _EMAIL, needs=("@",)),
    Rule("email", _SPOKEN, needs=("[at]", "(at)", "{at}")),
    Rule("ip", _IPV6, _address, (":",)),
)
IBAN = (Rule("iban", _IBAN, _iban, ("0",)),)
REST = (
    Rule("card", _CARD, _card, ("0",)),
    Rule("ip", _IPV4, _address, ("0",)),
    Rule("phone", _PHONE, _phone, ("0",)),
    Rule("phone", _CALLED, _phone, ("0",)),
    Rule("phone", _CALLED_ELSEWHERE, _phone, ("0",)),
)
