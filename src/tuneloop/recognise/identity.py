"""Who somebody is: national identifiers, dates of birth, postal addresses."""

from __future__ import annotations

import re
from collections.abc import Callable

from tuneloop.recognise.finding import Rule, whole
from tuneloop.recognise.numbers import luhn

_CONTROL = "TRWAGMYFPDXBNJZSQVHLCKE"  # the letter of a Spanish DNI or NIE


def _digits(text: str) -> list[int]:
    return [int(sign) for sign in text if sign.isdigit()]


def _dni(text: str) -> int:
    """Spain, DNI and NIE: the letter is the number modulo 23."""
    compact = text.upper().replace("-", "").replace(" ", "")
    number = {"X": "0", "Y": "1", "Z": "2"}.get(compact[0], compact[0]) + compact[1:-1]
    return len(text) if number.isdigit() and _CONTROL[int(number) % 23] == compact[-1] else 0


def _nir(text: str) -> int:
    """France, NIR: the key is 97 minus the number modulo 97 (2A is 19, 2B is 18)."""
    compact = re.sub(r"\s", "", text).upper().replace("2A", "19").replace("2B", "18")
    return (
        len(text) if compact.isdigit() and 97 - int(compact[:-2]) % 97 == int(compact[-2:]) else 0
    )


def _cpf(text: str) -> int:
    """Brazil, CPF: two check digits, each a weighted sum modulo 11."""
    digits = _digits(text)
    for n in (9, 10):
        rest = sum(d * (n + 1 - i) for i, d in enumerate(digits[:n])) * 10 % 11 % 10
        if rest != digits[n]:
            return 0
    return len(text) if len(set(digits)) > 1 else 0


def _resident(text: str) -> int:
    """China, resident identity card: a weighted sum modulo 11 (GB 11643-1999)."""
    total = sum(int(digit) * pow(2, 17 - i, 11) for i, digit in enumerate(text[:17]))
    return len(text) if "10X98765432"[total % 11] == text[17].upper() else 0


def _personnummer(text: str) -> int:
    """Sweden: date of birth, serial number, Luhn over the last ten digits."""
    digits = re.sub(r"\D", "", text)[-10:]
    fits = 1 <= int(digits[2:4]) <= 12 and 1 <= int(digits[4:6]) <= 31 and luhn(digits)
    return len(text) if fits else 0


def _numbered(text: str) -> int:
    """Return the length, less what follows the last digit or capital; 0 below five digits."""
    text = re.sub(r"(?:[ ./-]+|[ ./-]+[A-Z]?[a-z]\w*)+$", "", text)
    return len(text) if sum(sign.isdigit() for sign in text) >= 5 else 0


_CUE = (
    r"passport|reisepass|passeport|pasaporte|passaporto|driv(?:ing|er'?s?) licen[cs]e"
    r"|f(?:ü|ue)hrerschein|permis de conduire|national (?:id|insurance|identity)(?: card)?"
    r"|identity card|id card|personalausweis|ausweis|carte d'identit[ée]|social security|ssn"
    r"|social insurance|sin|sozialversicherungs|tax(?:payer)?(?: identification| id|) "
    r"?(?:number|no)|tax id|steuer-?id|steueridentifikations|itin|nhs|nino|pesel|nip|bsn"
    r"|burgerservice|dni|nie|nif|cpf|cnp|rodn[eé] [cč][ií]slo|codice fiscale|aadhaar|aadhar|pan"
    r"|tfn|medicare|personnummer|cpr|henkil[öo]tunnus|emirates id|curp|rfc"
    r"|(?:num[ée]ro de )?s[ée]cu(?:rit[ée] sociale)?"
)
_CUED = re.compile(
    rf"(?i)\b(?:{_CUE})(?:[ -]?(?:number|nummer|num|no\.?|nr\.?|num[ée]ro|número|n°|#|id))?"
    r"\s?(?:\((?:\w+)\))?\s{0,2}(?:is|was|ist|lautet|est|es|é|:|=|#){0,1}\s{0,2}"
    r"(?P<value>(?-i:[A-Z0-9](?:[ ./-]?[A-Z0-9]){5,21}))(?!\w)"
)


def _id(pattern: str, check: Callable[[str], int] = whole, *needs: str) -> Rule:
    return Rule("national_id", re.compile(pattern), check, needs or ("0",))


IDS = (
    Rule("national_id", _CUED, _numbered, ("0",)),
    # United States: no number begins with 000, 666 or 9, and no part is all zeros.
    _id(r"(?<![\w-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])"),
    # United Kingdom, National Insurance.
    _id(r"(?<!\w)(?!BG|GB|NK|KN|TN|NT"
        r"|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?"
        r"[A-D](?!\w)"),
    _id(r"(?<!\w)(?:[XYZ]-?\d{7}|\d{8})-?[A-Z](?!\w)", _dni),
    _id(r"(?<!\w)[12] ?\d{2} ?(?:0[1-9]|1[0-2]) ?(?:\d{2}"
        r"|2[AB]) ?\d{3} ?\d{3} ?\d{2}(?!\w)", _nir),
    # Italy, codice fiscale.
    _id(r"(?i:(?<!\w)[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z](?!\w))"),
    _id(r"(?<![\w.])\d{3}\.\d{3}\.\d{3}-\d{2}(?!\w)", _cpf),
    _id(r"(?<![\w-])(?:\d{2})?\d{6}[-+]\d{4}(?![\w-])", _personnummer),
    _id(r"(?<!\d)[1-9]\d{5}(?:19|20)\d{9}[\dXx](?![\dA-Za-z])", _resident),
    # Finland; India, PAN (the fourth letter is the kind of holder).
    _id(r"(?<![\w-])(?:0[1-9]|[12]\d|3[01])(?:0[1-9]"
        r"|1[0-2])\d{2}[-+A]\d{3}[0-9A-FHJ-NPR-Y](?![\w-])"),
    _id(r"(?<!\w)[A-Z]{3}[PCHFATBLJG][A-Z]\d{4}[A-Z](?!\w)"),
)  # fmt: skip

_MONTH = (
    r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|mai|juin|juil|ao[uû]t|okt|dez|ene|ago"
    r"|dic"
    r"|gen|mag|giu|lug|set|ott|m[äa]r|avr|f[ée]v|d[ée]c|abr|mayo)[a-zéûä]{0,7}\.?"
)
_DATE = (
    r"(?:\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/. ]{1,2}\d{1,2}[-/. ]{1,2}\d{2,4}"
    rf"|\d{{1,2}}(?:st|nd|rd|th|\.|er|º)?(?: of| de)? {_MONTH},?(?: of| de| del)? ?\d{{2,4}}"
    rf"|{_MONTH} \d{{1,2}}(?:st|nd|rd|th)?,? \d{{4}})"
)
BIRTH = (
    Rule(
        "birth_date",
        re.compile(
            r"(?i)\b(?:born|birth ?(?:day|date)|date of birth|d\.?o\.?b\.?|geboren"
            r"|geburts(?:datum|tag)"
            r"|geb\.?|n[ée]e?|naissance|nac[ií](?:do|da|miento)?|nat[oa]|nascita|nascid[oa]"
            r"|nascimento"
            r"|geboortedatum|urodz\w+|født|född|syntynyt)\b[^\d\n\0]{0,25}?"
            rf"(?P<value>{_DATE})(?!\d)"
        ),
        needs=("0",),
    ),
)

_CAP = r"[A-ZÀ-ÖØ-ÞŁŚŻŠČŽ][\w'’.-]{0,30}"
_US_STATE = (
    r"(?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI"
    r"|S[CD]"
    r"|T[NX]|UT|V[AT]|W[AIVY])"
)
_UK_CODE = r"[A-Z]{1,2}\d[A-Z\d]? \d[ABD-HJLNP-UW-Z]{2}"
_TOWN_WORD = r"(?:St\. )?[A-ZÀ-ÖØ-ÞŁŚŻŠČŽ][\w'’-]{1,30}"
_TOWN = rf"{_TOWN_WORD}(?: {_TOWN_WORD}){{0,2}}"
_UNIT = r"(?:,? (?:[Aa]pt|[Aa]partment|[Ff]lat|[Uu]nit|[Ss]uite|#)\.? ?\w{1,5})?"
_TAIL = (
    rf"{_UNIT}(?:,? (?:in )?(?:{_TOWN}),? {_US_STATE}(?: \d{{5}}(?:-\d{{4}})?)?"
    rf"|(?:, {_TOWN}){{0,2}},? {_UK_CODE}"
    rf"|,? (?:in )?(?:[A-Z]{{1,2}}-)?(?:\d{{4,5}}(?: [A-Z]{{2}})?|\d{{2,3}}[ -]\d{{2,3}}) {_TOWN}"
    rf"|, {_TOWN}(?:,? \d{{4,6}})?)?"
)
_STREET = (
    r"(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Boulevard|Blvd|Court|Ct|Place|Square|Sq"
    r"|Terrace|Way|Close|Crescent|Cres|Parkway|Pkwy|Highway|Hwy|Gardens|Grove|Row|Mews|Hill"
    r"|Circle"
    r"|Trail|Quay|Walk)\b\.?"
)
_OF = (
    r"(?:(?:de la|de las|de los|de l'|de|du|des|del|della|dei|delle|da|do|dos|das|di|la|le"
    r"|les|d'|l'|saint|santa|san)[ ']?){0,2}"
)


def _address(pattern: str, *needs: str) -> Rule:
    return Rule("address", re.compile(pattern), needs=needs or ("0",))


ADDRESSES = (
    _address(rf"(?<![\w.])\d{{1,5}}[A-Za-z]? (?:[NSEW]\.? )?(?:{_CAP} ){{1,4}}{_STREET}{_TAIL}"),
    _address(
        rf"(?:{_CAP} ){{0,2}}(?:[A-ZÄÖÜÅØ][\w-]{{1,30}}(?i:straße|strasse|str\.|weg|platz|allee"
        r"|gasse|damm|ufer|straat|laan|gracht|plein|gatan|vägen|vej|gade|gata|veien|katu)"
        rf"|Stra(?:ß|ss)e|Str\.|Weg|Platz|Allee|Ring|Gasse) \d{{1,4}} ?[a-z]?\b{_TAIL}"
    ),
    _address(rf"\b(?:Am|An der|Auf dem|Unter den|Zum|Zur"
             rf"|Im) {_CAP}(?: {_CAP})? \d{{1,4}}[a-z]?, \d{{5}} {_TOWN}"),
    _address(
        r"(?<![\w.])\d{1,4}(?: ?(?:bis|ter))?,? (?:rue|avenue|av\.|boulevard|bd|place|chemin"
        r"|allée"
        rf"|impasse|quai|cours|route) {_OF}{_CAP}(?: {_OF}{_CAP}){{0,3}}{_TAIL}"
    ),
    _address(
        r"\b(?:[Cc]alle|C/|[Aa]venida|Avda\.?|[Pp]laza|[Pp]aseo|[Cc]arrer|[Vv]ia|[Vv]iale"
        r"|[Pp]iazza"
        rf"|[Cc]orso|[Rr]ua|[Tt]ravessa|ul\.|ulica|al\."
        rf"|os\.) ?{_OF}{_CAP}(?: {_OF}{_CAP}){{0,3}},? "
        rf"(?:n\.?º ?|nº ?|n\. ?)?\d{{1,4}}(?:/\d{{1,4}})?[a-zA-Z]?\b{_TAIL}"
    ),
    _address(r"\b[Pp]\.? ?[Oo]\.? ?[Bb]ox \d{1,6}" + _TAIL),
    _address(rf"\b{_TOWN}, {_US_STATE} \d{{5}}(?:-\d{{4}})?(?!\w)"),
    _address(rf"(?<!\w){_UK_CODE}(?!\w)"),
)  # fmt: skip
