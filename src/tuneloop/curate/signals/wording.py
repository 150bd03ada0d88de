"""Whether two questions of one person are the same question in other words."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tuneloop.curate.columns import Flags, Floats

# Words that questions of any kind share, and which would make them all alike.
_FILLERS = (
    r"\b(an?|the|i|me|my|you|your|we|our|it|its|is|are|am|was|were|be|been|do|does|did|can|could|"
    r"will|would|should|have|has|had|to|of|in|on|at|for|with|and|or|but|so|if|this|that|there|"
    r"what|how|why|when|where|which|who|not|no|please|hi|hello|just|ok|okay)\b"
)
_ANEW = (
    r"^\W*(thanks|thank you|thx|great|perfect|ok(ay)?|and (also|what|how|if)|also|what about|"
    r"how about|next|now|another (question|one|thing)|one more|then)\b"
)
_THANKS = r"\b(thanks|thank you|thx|cheers|great|perfect|that('|’)?s all|got it|solved|bye)\b"


def wording_similarity(before: pa.Array, after: pa.Array) -> Floats:
    """Return the similarity (0 … 1) of texts pair by pair, shape (k,).

    Fillers are taken out, the words put in order of the alphabet, and the two compared by
    characters (Indel distance), so that "reset my password" and "password resetting" are close.
    """
    from rapidfuzz.fuzz import token_sort_ratio
    from rapidfuzz.process import cpdist

    with ThreadPoolExecutor(max_workers=1) as beside:
        other = beside.submit(_content, after)
        first, second = _content(before), other.result()
    if not first:
        return np.empty(0)
    found = cpdist(first, second, scorer=token_sort_ratio, dtype=np.float32)
    return np.asarray(found, dtype=np.float64) / 100.0


def opens_anew(text: pa.Array) -> Flags:
    """Return which texts open as a follow-up does ("thanks", "and what", "also"), shape (k,)."""
    return _matches(text, _ANEW)


def thanks(text: pa.Array) -> Flags:
    """Return which texts thank or take leave, shape (k,)."""
    return _matches(text, _THANKS)


def _content(text: pa.Array) -> list[str]:
    """Return lower-cased words without fillers; a text of fillers alone keeps them."""
    words = pc.replace_substring_regex(pc.utf8_lower(text), r"[^\pL\pN]+", " ")
    bare = pc.utf8_trim_whitespace(pc.replace_substring_regex(words, _FILLERS, ""))
    return list(pc.if_else(pc.equal(bare, ""), words, bare).to_pylist())


def _matches(text: pa.Array, pattern: str) -> Flags:
    hits = pc.match_substring_regex(pc.utf8_lower(text), pattern=pattern)
    return np.asarray(pc.fill_null(hits, False).to_numpy(zero_copy_only=False), dtype=bool)
