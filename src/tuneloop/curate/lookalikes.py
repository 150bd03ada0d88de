"""Texts that look alike are alike: signs nobody sees, accents, and letters of another alphabet.

Only for comparing: what is trained on stays as it was written.
"""

from __future__ import annotations

import unicodedata

import pyarrow as pa
import pyarrow.compute as pc

_LETTERS = {
    # Cyrillic, lower case, also of those whose capitals look like Latin ones.
    "а": "a", "в": "b", "е": "e", "к": "k", "м": "m", "н": "h", "о": "o", "р": "p", "с": "c",
    "т": "t", "у": "y", "х": "x", "і": "i", "ѕ": "s", "ј": "j", "һ": "h", "ԁ": "d", "ԛ": "q",
    "ԝ": "w", "ӏ": "l",
    # Greek
    "α": "a", "β": "b", "ε": "e", "ζ": "z", "η": "h", "ι": "i", "κ": "k", "μ": "m", "ν": "v",
    "ο": "o", "ρ": "p", "τ": "t", "υ": "y", "χ": "x",
    # Latin letters that no accent can be taken from
    "ı": "i", "ł": "l", "ø": "o", "đ": "d", "ɑ": "a", "ɡ": "g",
}  # fmt: skip
"""Source: Unicode Technical Standard 39, confusable characters: those within common alphabets."""
_ACCENTS = range(0x0300, 0x0370)
_VARIANTS = (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
_PLANES = (*range(0x10000), *range(0xE0000, 0xE0080))
_UNSEEN = tuple(n for n in _PLANES if unicodedata.category(chr(n)) == "Cf")
_TABLE: dict[int, str | None] = {
    **dict.fromkeys((*_ACCENTS, *_VARIANTS, *_UNSEEN)),
    **{ord(letter): plain for letter, plain in _LETTERS.items()},
}


def fold(texts: pa.Array) -> pa.Array:
    """Return lower-case texts in one spelling for what looks the same; ASCII stays as it is.

    The same letter always becomes the same one, so that texts in any alphabet that were equal
    still are; accents go from Latin, Greek and Cyrillic letters only.
    """
    wide = pc.invert(pc.string_is_ascii(texts))
    chosen = texts.filter(wide)
    if not len(chosen):
        return texts
    plain = [
        unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", text).translate(_TABLE))
        for text in chosen.to_pylist()
    ]
    return pc.replace_with_mask(texts, wide, pa.array(plain, texts.type))
