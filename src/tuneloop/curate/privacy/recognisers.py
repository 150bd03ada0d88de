"""Presidio's recognisers of national identifiers, for the countries our own rules leave out.

Its analyser runs every recogniser and a whole language pipeline on each text. Here the
recognisers run alone, on texts with the digits for it, and what they say counts where a checksum
holds and a word of its context stands near.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from tuneloop.recognise.finding import Span

_NAMES = (
    "UsItinRecognizer", "UsMbiRecognizer", "NhsRecognizer", "CaSinRecognizer", "AuTfnRecognizer",
    "AuMedicareRecognizer", "InAadhaarRecognizer", "InVoterRecognizer", "SgFinRecognizer",
    "PlPeselRecognizer", "KrRrnRecognizer", "ThTninRecognizer", "TrNationalIdRecognizer",
    "ZaIdNumberRecognizer", "NgNinRecognizer", "PhUmidRecognizer", "DeTaxIdRecognizer",
    "DeSocialSecurityRecognizer", "DeIdCardRecognizer", "ItIdentityCardRecognizer",
)  # fmt: skip
_NEAR_CHARS = 60
_MIN_SCORE = 0.4


@lru_cache(maxsize=1)
def _recognisers() -> list[tuple[Any, tuple[str, ...]]]:
    from presidio_analyzer import predefined_recognizers

    made = [getattr(predefined_recognizers, name)() for name in _NAMES]
    return [(one, tuple(word.lower() for word in one.context or ())) for one in made]


def national_ids(text: str) -> list[Span]:
    """Return the identifiers that presidio knows and the words around them confirm."""
    lower = text.lower()
    spans = []
    for recogniser, context in _recognisers():
        if not any(word in lower for word in context):
            continue
        for found in recogniser.analyze(text, recogniser.supported_entities, None) or []:
            near = lower[max(found.start - _NEAR_CHARS, 0) : found.end + _NEAR_CHARS]
            if found.score >= _MIN_SCORE and any(word in near for word in context):
                spans.append(Span(found.start, found.end, "national_id"))
    return sorted(spans)
