"""Finding what corrections and comments bring in by themselves."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tuneloop.curate.columns import Flags, Hashes, Ints
from tuneloop.curate.similar import Corpus, normalise
from tuneloop.curate.trust.brigades import traffic_of
from tuneloop.curate.trust.bursts import Occurrences, find_bursts
from tuneloop.curate.trust.crews import find_crews
from tuneloop.curate.trust.scene import Scene
from tuneloop.curate.trust.wording import PHRASE, Novel, context, written_texts

MAX_CHECKED = 10_000
"""With more texts than this, only those that share something suspicious are compared with
prompt and answer; what the others say counts as said by anybody."""
_MIX = np.uint64(0x9E3779B97F4A7C15)
Ngrams = tuple[Ints, Hashes]
"""Place of the text and code of the n-gram, in reading order."""


def novel(scene: Scene) -> Novel:
    """Return the novel n-grams of every correction and comment."""
    pieces = scene.written()
    said = written_texts(scene.texts, pieces, len(scene.feedback))
    allowed = pa.array(scene.config.allow, type=pa.large_string())
    corpus = Corpus.of(normalise(pa.concat_arrays([said, allowed])))
    ngrams = [corpus.ngrams(size) for size in (PHRASE, 1)]
    kept = [_worth_a_look(owner, code, len(pieces), scene) for owner, code in ngrams]
    suspects = np.arange(len(pieces))
    if len(pieces) > MAX_CHECKED:
        suspects = _suspects(scene, pieces, ngrams, kept)
    looked_at = np.zeros(len(pieces) + len(allowed), dtype=bool)
    looked_at[suspects] = True
    for (owner, _), keep, fresh in zip(
        ngrams, kept, _fresh(scene, pieces, said, suspects), strict=True
    ):
        keep[looked_at[owner]] &= fresh
    phrases, words = (
        _once(pieces[owner[keep]], code[keep], scene.config.min_accounts)
        for (owner, code), keep in zip(ngrams, kept, strict=True)
    )
    return Novel(pieces, said, phrases, words)


def _worth_a_look(owner: Ints, code: Hashes, n: int, scene: Scene) -> Flags:
    """Return which n-grams are in enough texts and not allowed."""
    keep = owner < n
    if keep.all():
        keep[keep] = _common(code, scene.config.min_accounts)
    else:
        allowed = np.unique(code[~keep])
        keep[keep] = _common(code[keep], scene.config.min_accounts)
        keep &= ~_within(code, allowed)
    return keep


def _suspects(scene: Scene, pieces: Ints, ngrams: list[Ngrams], kept: list[Flags]) -> Ints:
    """Return the places of texts that share a burst or a crew, were all they say novel."""
    traffic, least = traffic_of(scene), scene.config.min_accounts
    found = [np.zeros(0, dtype=np.int64)]
    for (owner, code), keep in zip(ngrams, kept, strict=True):
        shared = _once(pieces[owner[keep]], code[keep], least)
        found += [crew.pieces for crew in find_crews(scene, shared)]
        if code is ngrams[0][1]:  # phrases
            bursts = find_bursts(shared, traffic, min_accounts=least, max_p=scene.config.max_p)
            found += [burst.events for burst in bursts]
    return np.searchsorted(pieces, np.unique(np.concatenate(found)))


def _fresh(scene: Scene, pieces: Ints, said: pa.Array, suspects: Ints) -> list[Flags]:
    """Return, for each n-gram of the suspects' texts, whether prompt and answer lack it."""
    rows, of_piece = np.unique(scene.feedback.row[pieces[suspects]], return_inverse=True)
    known = context(scene.texts, rows.astype(np.int64), len(scene.interactions))
    theirs = said.take(pa.array(suspects))
    corpus = Corpus.of(normalise(pa.concat_arrays([theirs, known])))
    row_of = np.concatenate([of_piece, np.arange(len(rows))]).astype(np.uint64)
    found = []
    for size in (PHRASE, 1):
        owner, code = corpus.ngrams(size)
        # Each code mixed with its row, so that one lookup serves all rows.
        mixed = code ^ (row_of[owner] * _MIX)
        mine = owner < len(suspects)
        found.append(~_within(mixed[mine], mixed[~mine]))
    return found


def _common(code: Hashes, least: int) -> Flags:
    """Return which codes may occur often enough: a sieve that loses no frequent one."""
    slot = (code >> np.uint64(40)).astype(np.int64)  # 24 bits
    return np.asarray(np.bincount(slot, minlength=1 << 24)[slot] >= least, dtype=bool)


def _within(some: Hashes, others: Hashes) -> Flags:
    """Return which of some are among the others; a sieve first, since most are not."""
    taken = np.zeros(1 << 24, dtype=bool)
    taken[(others >> np.uint64(40)).astype(np.int64)] = True
    within = taken[(some >> np.uint64(40)).astype(np.int64)]
    ordered, sought = np.sort(others), some[within]
    place = np.minimum(np.searchsorted(ordered, sought), max(len(ordered) - 1, 0))
    within[within] = ordered[place] == sought if len(ordered) else False
    return within


def _once(piece: Ints, code: Hashes, least: int) -> Occurrences:
    """Return one occurrence a text and n-gram; n-grams numbered, those in few texts left out."""
    order = np.lexsort((piece, code))
    piece, code = piece[order], code[order]
    again = np.append(False, (code[1:] == code[:-1]) & (piece[1:] == piece[:-1]))[: len(code)]
    piece, code = piece[~again], code[~again]
    feature = np.cumsum(np.append(False, code[1:] != code[:-1])[: len(code)])
    common = np.bincount(feature)[feature] >= least if len(feature) else again
    return Occurrences(feature[common].astype(np.int64), piece[common])
