"""The feedback of people as pieces and votes, and what is known of the accounts behind it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuneloop.config.trust import TrustConfig
from tuneloop.curate.columns import (
    ACTORS,
    Feedback,
    Flags,
    Floats,
    Interactions,
    Ints,
    Preferences,
    Texts,
    signal_code,
)

USER = ACTORS.index("user")
VOTES = tuple(signal_code(name) for name in ("thumb", "stars", "score"))
WRITTEN = tuple(signal_code(name) for name in ("correction", "comment"))
CORRECTION, COMMENT = WRITTEN
LEAST_OPINION = 0.05
"""Below this an opinion is none: three stars of five, or a correction of half the answer."""
REASONS = ("", "account_cap", "one_sided", "brigade", "crew", "contradicts")
"""Why a piece is not believed; a piece's code is the place here, 0 for believed."""


@dataclass(frozen=True)
class Votes:
    """v opinions with a direction, in order of (ts, piece).

    A comparison gives two. So does a correction: against the answer, and for the text that
    should stand in its place.

    Attributes:
        piece: The piece it comes from.
        row: The interaction it is about.
        own: Whether it is for the text that the piece itself brings.
        account: Who.
        up: Whether it speaks for the answer.
        ts: When.
        stated: Whether it was said (thumb, stars, score, preference), not read off a correction.
    """

    piece: Ints
    row: Ints
    own: Flags
    account: Ints
    up: Flags
    ts: Floats
    stated: Flags

    def __len__(self) -> int:
        return len(self.piece)

    def where(self, chosen: Flags | Ints) -> Votes:
        """Return some of them, or all in another order."""
        return Votes(
            piece=self.piece[chosen],
            row=self.row[chosen],
            own=self.own[chosen],
            account=self.account[chosen],
            up=self.up[chosen],
            ts=self.ts[chosen],
            stated=self.stated[chosen],
        )


@dataclass
class Scene:
    """Everything the detectors look at. A piece is a number of `Feedback`, or m + of `Preferences`.

    Attributes:
        ts: When, one a piece.
        account: Who, one a piece.
        watched: Whether it is looked at: users' own words and votes that nobody dropped before.
        lives: First and last time an account was seen, accounts × 2, in seconds.
        reason: Why it is not believed, one a piece; a place in `REASONS`.
        rows: What was found, for people.
    """

    config: TrustConfig
    interactions: Interactions
    feedback: Feedback
    preferences: Preferences
    texts: Texts
    ts: Floats
    account: Ints
    watched: Flags
    lives: Floats
    votes: Votes
    reason: NDArray[np.int8]
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def window_s(self) -> float:
        """The window of a brigade in seconds."""
        return self.config.window_hours * 3600.0

    @property
    def occasional(self) -> Flags:
        """Whether an account's whole life fits into one window."""
        return np.asarray(np.diff(self.lives, axis=1).ravel() <= self.window_s, dtype=bool)

    @property
    def active(self) -> Flags:
        """Pieces that are watched and still believed."""
        return np.asarray(self.watched & (self.reason == 0), dtype=bool)

    def written(self) -> Ints:
        """Return the pieces with a text: corrections and comments."""
        chosen: Flags = np.isin(self.feedback.signal, WRITTEN)
        return np.flatnonzero(chosen & self.active[: len(self.feedback)])

    def flag(self, pieces: Ints, reason: str) -> None:
        """Stop believing these pieces; an earlier reason stays."""
        fresh = pieces[self.reason[pieces] == 0]
        self.reason[fresh] = REASONS.index(reason)


def look(
    interactions: Interactions,
    feedback: Feedback,
    preferences: Preferences,
    texts: Texts,
    config: TrustConfig,
) -> Scene:
    """Return the scene, nothing flagged yet."""
    m = len(feedback)
    ts = np.concatenate([feedback.ts, preferences.ts])
    account = np.concatenate([feedback.account, preferences.account]).astype(np.int64)
    by_user = np.concatenate([feedback.actor, preferences.actor]) == USER
    trust = np.concatenate([feedback.trust, preferences.trust])
    derived = np.concatenate([feedback.derived, np.zeros(len(preferences), dtype=bool)])
    watched = by_user & ~derived & (trust > 0)
    lives = _lives(interactions, feedback, ts, account, watched)
    scene = Scene(
        config, interactions, feedback, preferences, texts,
        ts, account, watched, lives,
        _votes(feedback, preferences, watched, ts),
        np.zeros(len(ts), dtype=np.int8),
    )  # fmt: skip
    assert m + len(preferences) == len(ts)
    return scene


def _lives(
    interactions: Interactions, feedback: Feedback, ts: Floats, account: Ints, watched: Flags
) -> Floats:
    """Return when each account was seen, by its feedback and, where it asked, its interactions."""
    import pyarrow.compute as pc

    n = len(feedback.account_names)
    lives = np.column_stack([np.full(n, np.inf), np.full(n, -np.inf)])
    np.minimum.at(lives[:, 0], account[watched], ts[watched])
    np.maximum.at(lives[:, 1], account[watched], ts[watched])
    subjects = interactions.names["subject"]
    if n and len(subjects):
        names = feedback.account_names.cast(subjects.type)
        known = pc.index_in(subjects, names).fill_null(-1).to_numpy(zero_copy_only=False)
        code = interactions.codes["subject"]
        owner = np.where(code >= 0, known[np.maximum(code, 0)], -1)
        seen = owner >= 0
        np.minimum.at(lives[:, 0], owner[seen], interactions.ts[seen])
        np.maximum.at(lives[:, 1], owner[seen], interactions.ts[seen])
    return lives


def _votes(feedback: Feedback, preferences: Preferences, watched: Flags, ts: Floats) -> Votes:
    m = len(feedback)
    stated = np.isin(feedback.signal, VOTES)
    spoken = (stated | (feedback.signal == CORRECTION)) & watched[:m]
    spoken &= np.abs(np.nan_to_num(feedback.opinion)) >= LEAST_OPINION
    said = np.flatnonzero(spoken)
    fixed = np.flatnonzero((feedback.signal == CORRECTION) & watched[:m] & (feedback.text > 0))
    compared = np.flatnonzero(watched[m:] & (preferences.outcome != 0))
    outcome = preferences.outcome[compared]
    piece = np.concatenate([said, fixed, m + compared, m + compared])
    row = np.concatenate([
        feedback.row[said], feedback.row[fixed],
        preferences.first[compared], preferences.second[compared],
    ]).astype(np.int64)  # fmt: skip
    own = np.zeros(len(piece), dtype=bool)
    own[len(said) : len(said) + len(fixed)] = True
    up = np.concatenate(
        [feedback.opinion[said] > 0, np.ones(len(fixed), bool), outcome == 1, outcome == -1]
    )
    account = np.concatenate([feedback.account, preferences.account])[piece].astype(np.int64)
    by_vote = np.concatenate([stated, np.ones(len(preferences), dtype=bool)])[piece]
    order = np.lexsort((up, piece, ts[piece]))
    return Votes(piece, row, own, account, up, ts[piece], by_vote).where(order)
