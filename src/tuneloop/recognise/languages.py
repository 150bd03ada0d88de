"""Which language a text is in: py3langid, for texts long enough to tell."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tuneloop.errors import DataError

_MIN_LETTERS = 20  # below, a guess is worth little
_MAX_CHARS = 300  # more changes no answer and costs time
_LEAST = 0.1  # probability that a text is in a wanted language


@lru_cache(maxsize=1)
def identifier() -> Any:
    """Return py3langid's identifier, with probabilities; loaded once."""
    from py3langid.langid import (  # type: ignore[import-untyped, unused-ignore]
        MODEL_FILE,
        LanguageIdentifier,
    )

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)


@lru_cache(maxsize=200_000)
def _probability(text: str, languages: frozenset[str]) -> float:
    ranked: list[tuple[str, float]] = identifier().rank(text)
    return sum(p for language, p in ranked if language in languages)


def unwanted(texts: pa.Array, languages: list[str]) -> NDArray[np.bool_]:
    """Return which texts are, by at least 90 %, in none of the languages; none if none is named.

    Raises:
        DataError: A code that the identifier does not know.
    """
    hits = np.zeros(len(texts), np.bool_)
    if not languages:
        return hits
    unknown = sorted(set(languages) - set(identifier().labels))
    if unknown:
        raise DataError(
            f"no language has the code {', '.join(unknown)}",
            where="curate.quality.languages",
            hint=f"one of {', '.join(sorted(identifier().labels))}",
        )
    start = pc.utf8_slice_codeunits(texts, 0, _MAX_CHARS)
    letters = np.asarray(pc.count_substring_regex(start, r"\p{L}").to_numpy(zero_copy_only=False))
    wanted = frozenset(languages)
    for place in np.flatnonzero(letters >= _MIN_LETTERS).tolist():
        hits[place] = _probability(start[place].as_py(), wanted) < _LEAST
    return hits
