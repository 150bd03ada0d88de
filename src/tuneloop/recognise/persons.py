"""Names of people, where the words around them say that they are names."""

from __future__ import annotations

import re
import unicodedata

from tuneloop.recognise.finding import Rule, Span, apart
from tuneloop.recognise.words import NOT_NAMES, ORDINARY, PARTICLES, TITLES, WORDS_TOO

_SHORTENED = re.compile(r"['’](?:m|ve|ll|d|re|t)$")
_LETTER = r"[^\W\d_]"
_WORD = rf"{_LETTER}[^\W\d_'’.-]{{0,24}}(?:['’-]{_LETTER}{{1,24}}){{0,2}}"
_INITIAL = rf"{_LETTER}\."
_OF = r"(?:(?:van|von|de|der|den|la|al|el|bin|di|da|del|dos|ter) ){0,3}"
_MORE = rf"(?:[ \t]{{1,2}}(?:{_INITIAL}|{_WORD})){{0,4}}"
_ANY_CASE = rf"(?P<value>{_WORD}{_MORE})"
_NAME = rf"(?P<value>[^\W\d_a-z][^\W\d_'’.-]{{0,24}}(?:['’-]{_LETTER}{{1,24}}){{0,2}}{_MORE})"


def ordinary(word: str) -> bool:
    """Return whether a word in lower case is a common English one (at a sentence's beginning)."""
    return word in ORDINARY or len(word) < 2 or _SHORTENED.search(word) is not None


def name_length(value: str) -> int:
    """Return the length of the name that the value begins with, else 0.

    A name is up to four words that begin with a capital, with particles (`de`, `van`) between.
    """
    end, n_words = 0, 0
    for word in re.finditer(r"\S+", value):
        bare = word.group().strip(".,'’-")
        if bare.lower() in PARTICLES and bare.islower():
            continue
        initial = len(bare) == 1 and word.group().endswith(".") and n_words > 0
        common = ordinary(bare.lower()) and not initial
        if not bare[:1].isupper() or common or n_words == 4:
            break
        possessive = re.search(r"['’]s$", word.group())
        end, n_words = word.end() - 2 * bool(possessive), n_words + 1
        if possessive:
            break
    return len(value[:end].rstrip(".,'’-")) if end > 1 else 0


def _said(value: str) -> int:
    """After "my name is" a first word in lower case is a name too."""
    first = value.split(maxsplit=1)[0]
    if first.islower() and first not in NOT_NAMES and first not in PARTICLES and len(first) > 1:
        second = value.split()[1:2]
        known = second and (second[0] in NOT_NAMES or not second[0].isalpha())
        return len(first) if not second or known or len(value.split()) > 2 else len(value)
    return name_length(value)


def _two_words(value: str) -> int:
    """After a weak cue ("I'm", "this is") only a first and a last name are a name."""
    n = name_length(value)
    return n if len(value[:n].split()) >= 2 else 0


def _titled(value: str) -> int:
    """A title and the name after it: the title says that a single word is a family name."""
    start = value.index(" ") + 1 if " " in value else value.index("\t") + 1
    n = name_length(value[start:])
    return start + n if n else 0


_INTRODUCED = (
    r"my (?:full )?name(?:'s| is)|my name:|the name(?:'s| is)|name is|i am called|call me"
    r"|mi nombre es|me llamo|je m'appelle|je suis m(?:onsieur|adame|me)?\.?|mon nom est"
    r"|ich hei(?:ß|ss)e"
    r"|mein name ist|mi chiamo|il mio nome è|(?:o )?meu nome é|me chamo|mijn naam is|ik heet"
    r"|nazywam się|mam na imię|jag heter|jeg heter|jeg hedder|nimeni on|benim adım|ime mi je"
)
_LABELLED = (
    r"(?:full |first |last |given |family |sur|account ?holder(?:'s)? |cardholder(?:'s)? "
    r"|customer(?:'s)? "
    r"|patient(?:'s)? |contact |employee |passenger |guest |user )?name|attn|attention|customer"
    r"|patient"
    r"|passenger|account ?holder|cardholder|recipient|sender|contact person|nombre|nom|nome"
    r"|naam|namn|imię"
)
_CLOSED = (
    r"(?:kind |best |warm )?regards|sincerely(?: yours)?|yours (?:truly|sincerely|faithfully)"
    r"|cheers"
    r"|best wishes|(?:many )?thanks|thank you|love|saludos|un saludo|atentamente|cordialement"
    r"|bien à vous"
    r"|mit freundlichen grüßen|viele grüße|liebe grüße|mfg|vg|lg|met vriendelijke groet"
    r"|cordiali saluti"
    r"|atenciosamente|abraços|pozdrawiam|med vänlig hälsning|mvh|signed"
)
_GREETED = (
    r"dear|hi|hello|hey|good (?:morning|afternoon|evening)|hola|estimad[oa]|querid[oa]|bonjour"
    r"|chère?"
    r"|salut|hallo|liebe[r]?|sehr geehrte[r]?|guten tag|ciao|gentile|caro|cara|olá|prezad[oa]"
    r"|beste|geachte"
    r"|hej|cześć|szanown[ya]|thanks|thank you|danke|merci|gracias|grazie|obrigad[oa]|tack|dzięki"
)
_NO_CUE = {"m", "fr", "hr", "sig", "pan", "sir", "madam", "miss", "lord"}  # words, too
_TITLED = "|".join(sorted(TITLES - _NO_CUE))
_NEAR = (
    r"ask(?:ed)? for|spoke (?:to|with)|speak (?:to|with)|talk(?:ed)? to|contact|on behalf of"
    r"|in the name of"
    r"|care of|c/o|signed by|written by|addressed to|sold to|billed to|ship(?:ped)? (?:it )?to"
    r"|deliver(?:ed)? to"
    r"|my (?:wife|husband|son|daughter|mother|father|mum|mom|dad|brother|sister|boss|colleague"
    r"|friend|partner"
    r"|neighbou?r|doctor|manager|landlord|lawyer|boyfriend|girlfriend|uncle|aunt|cousin),?"
)


def _rule(pattern: str, check: object = name_length) -> Rule:
    return Rule("person", re.compile(pattern), check)  # type: ignore[arg-type]


RULES = (
    _rule(rf"(?i:\b(?:{_INTRODUCED})[ \t]{{1,2}}){_ANY_CASE}", _said),
    _rule(rf"(?i:(?:^|[\n.;,("
          rf"|\"{{]|\band )[ \t]?\"?(?:{_LABELLED})\"?[ \t]{{0,2}}[:=][ \t]{{0,2}}\"?){_NAME}"),
    _rule(rf"(?i:(?:^|[\n.!?,] ?)(?:{_CLOSED})[,!.]?(?:\s{{0,3}}\n\s{{0,3}}|, )){_NAME}"),
    _rule(_NAME.replace("(?P<value>", rf"(?P<value>(?i:\b(?:{_TITLED})\.?[ \t]){_OF}"), _titled),
    _rule(rf"(?i:(?:^|[\n\".!?] ?)(?:{_GREETED}),? ){_NAME}(?=\s*(?:[,!:;\n]|[-–—]|$))"),
    _rule(rf"(?i:\b(?:{_NEAR})[ \t]){_NAME}"),
    # As mail programs write it.
    _rule(r"(?i:(?:^|\n|> ?)(?:from|to|cc|bcc|reply-to|sender|von|an|de|para|da|à|van):"
          rf"[ \t]{{0,3}}\"?){_NAME}\"?[ \t]{{1,2}}<"),
    _rule(rf"(?i:\b(?:i am|i['’]?m|this is|it['’]s|hier ist|hier spricht|soy|je suis|ich bin"
          rf"|sono)[ \t])"
          rf"{_NAME}", _two_words),
)  # fmt: skip


def surname(name: str) -> str:
    """Return the folded family name: the last of two words, or the one after a title."""
    words = tokens(name)
    titled = name.split(maxsplit=1)[0].strip(".").lower() in TITLES
    return fold(words[-1]) if words and (len(words) > 1 or titled) else ""


def tokens(name: str) -> list[str]:
    """Return the words of a name that tell who it is: no titles, particles or initials."""
    words = [word.strip(".,'’-") for word in name.split()]
    kept = [w for w in words if len(w) > 1 and w.lower() not in TITLES | PARTICLES]
    return kept or [w for w in words if w]


def fold(word: str) -> str:
    """Return the word without case and accents: `José` and `JOSE` are one name."""
    bare = unicodedata.normalize("NFKD", word.casefold())
    return "".join(sign for sign in bare if not unicodedata.combining(sign))


def again(text: str, names: set[str], taken: list[Span]) -> list[Span]:
    """Return where names that are known by now stand again, in places nothing else has taken.

    A word of a name counts alone where it is written as a name and is no common word.
    """
    words = {word for name in names for word in tokens(name)}
    words = {w for w in words if len(w) > 2 and w[0].isupper() and w.lower() not in WORDS_TOO}
    forms = sorted(names | words, key=lambda form: (-len(form), form))
    if not forms:
        return []
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, forms)) + r")(?!\w)")
    return apart((Span(m.start(), m.end(), "person") for m in pattern.finditer(text)), taken)
