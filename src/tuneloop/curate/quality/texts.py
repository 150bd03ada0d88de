"""Flags of texts, a batch at a time: RE2 over columns, Python only for the few that are left."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tuneloop.config.privacy import QualityConfig
from tuneloop.curate.quality.flags import BITS, Mask
from tuneloop.curate.quality.repetition import repetitive
from tuneloop.recognise import patterns
from tuneloop.recognise.languages import unwanted

Flags = NDArray[np.bool_]

_REFUSAL_CHARS = 240
TOKEN_LIMIT = ("length", "max_tokens", "MAX_TOKENS", "max_output_tokens")
"""Why generation stopped where an answer met its limit, in the words of those who log it."""
_INJECTION = "|".join((patterns.CONTROL_TOKENS, patterns.ORDERS, patterns.HIDDEN))
_ODD = "|".join(f"(?:{each})" for each in (_INJECTION, patterns.TOXIC, patterns.MAYBE_BROKEN))


def quality_flags(
    question: pa.Array,
    answer: pa.Array,
    config: QualityConfig,
    *,
    finish_reason: pa.Array | None = None,
    words: pa.ListArray | None = None,
) -> Mask:
    """Return the mask of each interaction's flags, of those that the config does not switch off.

    Args:
        question: The user's question of each row.
        answer: The answer of each row; null where there is none.
        config: Which flags, and their thresholds.
        finish_reason: Why generation stopped, where logged.
        words: The words of each answer (`repetition.split_words`), where known.
    """
    mask = np.zeros(len(answer), np.uint32)
    answer = pc.fill_null(answer, "")
    question = pc.fill_null(question, "")
    odd = _odd(answer), _odd(question)
    rules: dict[str, Callable[[], Flags]] = {
        "language": lambda: unwanted(question, config.languages),
        "too_short": lambda: _fewer_words(answer, config.min_words),
        "too_long": lambda: _more_words(answer, config.max_words),
        "repetition": lambda: repetitive(answer, config.repetition_scale, lists=words),
        "refusal": lambda: _refusing(answer),
        "truncated": lambda: _truncated(answer, finish_reason),
        "toxic": lambda: _among(odd[0], answer, toxic),
        "injection": lambda: _among(odd[1], question, injected) | _among(odd[0], answer, injected),
        "encoding": lambda: _among(odd[1], question, broken) | _among(odd[0], answer, broken),
    }
    for name, rule in rules.items():
        if getattr(config, name) != "off":
            mask |= rule().astype(np.uint32) * BITS[name]
    return mask


def text_flags(texts: pa.Array, config: QualityConfig) -> Mask:
    """Return the mask of each text of feedback: injection, encoding and toxic."""
    texts = pc.fill_null(texts, "")
    mask = np.zeros(len(texts), np.uint32)
    odd = _odd(texts)
    rules: dict[str, Callable[[], Flags]] = {
        "injection": lambda: _among(odd, texts, injected),
        "encoding": lambda: _among(odd, texts, broken),
        "toxic": lambda: _among(odd, texts, toxic),
    }
    for name, rule in rules.items():
        if getattr(config, name) != "off":
            mask |= rule().astype(np.uint32) * BITS[name]
    return mask


def matching(texts: pa.Array, pattern: str) -> Flags:
    """Return which texts an RE2 pattern matches."""
    hits = pc.match_substring_regex(texts, pattern)
    return np.asarray(hits.to_numpy(zero_copy_only=False), dtype=np.bool_)


def _odd(texts: pa.Array) -> Flags:
    """Return which texts any of the patterns below may match: most are read by this one alone."""
    return matching(texts, _ODD)


def _among(chosen: Flags, texts: pa.Array, rule: Callable[[pa.Array], Flags]) -> Flags:
    """Return which of the chosen texts a rule flags; the others it cannot."""
    hits = np.zeros(len(texts), np.bool_)
    places = np.flatnonzero(chosen)
    if len(places):
        hits[places] = rule(texts.take(pa.array(places)))
    return hits


def toxic(texts: pa.Array) -> Flags:
    """Return which texts insult, threaten or are obscene."""
    return matching(texts, patterns.TOXIC)


def injected(texts: pa.Array) -> Flags:
    """Return which texts give orders to a trainer or a judge, or hide characters."""
    hits = matching(texts, _INJECTION)
    places = np.flatnonzero(hits)
    if len(places):  # flags of England, Scotland and Wales are spelt with tags
        without = pc.replace_substring_regex(texts.take(places), patterns.FLAG_EMOJI, "")
        hits[places] = matching(without, _INJECTION)
    return hits


def broken(texts: pa.Array) -> Flags:
    """Return which texts were decoded wrongly; `ftfy` has the last word on mojibake."""
    from ftfy.badness import is_bad

    hits = matching(texts, patterns.MAYBE_BROKEN)
    for place in np.flatnonzero(hits).tolist():
        text = texts[place].as_py()
        one = pa.array([text])
        hits[place] = bool(matching(one, patterns.SURELY_BROKEN)[0]) or is_bad(text)
    return hits


def _refusing(answers: pa.Array) -> Flags:
    beginning = pc.utf8_slice_codeunits(pc.utf8_ltrim_whitespace(answers), 0, _REFUSAL_CHARS)
    return matching(beginning, patterns.REFUSAL)


def _truncated(answers: pa.Array, finish_reason: pa.Array | None) -> Flags:
    end = pc.utf8_rtrim_whitespace(answers)
    ends_open = matching(pc.utf8_slice_codeunits(end, -24), patterns.NO_END)
    long = matching(end, r"(?:\S+\s+){7}\S")
    fences = np.asarray(pc.count_substring(end, "```").to_numpy(zero_copy_only=False))
    in_sentence = matching(pc.utf8_slice_codeunits(end, -400), patterns.IN_A_SENTENCE)
    hits = (ends_open & long) | in_sentence | (fences % 2 == 1)
    json_like = matching(end, r"^\s*(?:\{\s*\"|\[\s*[\{\"\d\[])")
    for place in np.flatnonzero(json_like & ~hits).tolist():
        hits[place] = _open_json(end[place].as_py())
    if finish_reason is not None:
        stopped = pc.is_in(finish_reason, pa.array(TOKEN_LIMIT))
        hits |= np.asarray(pc.fill_null(stopped, False).to_numpy(zero_copy_only=False))
    done: Flags = hits
    return done


def _open_json(text: str) -> bool:
    """Return whether a JSON text ends before it is closed; other mistakes are none of ours."""
    try:
        json.JSONDecoder().raw_decode(text.strip())
    except json.JSONDecodeError as error:
        opened = text.count("{") + text.count("[") > text.count("}") + text.count("]")
        at_end = error.pos >= len(text.strip()) - 1
        return (opened and at_end) or "Unterminated string" in error.msg
    except RecursionError:
        return False
    return False


def _fewer_words(texts: pa.Array, least: int) -> Flags:
    if least == 1:
        return ~matching(texts, r"\S")
    return ~matching(texts, rf"(?:\S+\s+){{{min(least - 1, 500)}}}\S")


def _more_words(texts: pa.Array, most: int) -> Flags:
    """Count words only where there are characters enough for them."""
    n_chars = np.asarray(pc.utf8_length(texts).to_numpy(zero_copy_only=False))
    hits = n_chars > 2 * most
    places = np.flatnonzero(hits)
    if len(places):
        n_words = pc.count_substring_regex(texts.take(places), r"\S+")
        hits[places] = np.asarray(n_words.to_numpy(zero_copy_only=False)) > most
    return hits
