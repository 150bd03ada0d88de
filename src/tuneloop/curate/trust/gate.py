"""The gate: every detector in its order, and what they found."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tuneloop.config.trust import TrustConfig
from tuneloop.curate.columns import Feedback, Findings, Interactions, Preferences, Texts
from tuneloop.curate.trust.scene import REASONS, Scene, look

MAX_CREWS = 50
"""Crews that are looked at in a large log."""


@dataclass
class Distrusted(Findings):
    """What was found, and of each piece why it is not believed.

    Attributes:
        feedback_reason: A place in `REASONS`, one a piece of feedback; 0 believed.
        preference_reason: The same, one a comparison.
    """

    feedback_reason: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))
    preference_reason: NDArray[np.int8] = field(default_factory=lambda: np.zeros(0, np.int8))


def distrust(
    interactions: Interactions,
    feedback: Feedback,
    preferences: Preferences,
    texts: Texts,
    config: TrustConfig,
) -> Distrusted:
    """Set `trust` of feedback and comparisons that cannot be believed to 0; return why.

    Only users are watched: reviewers, judges and rules are known to whoever set them up. What
    curation derived from the behaviour of an account that lost everything goes with it.
    Needs `opinion` of the feedback and `cluster` of the interactions.
    """
    m = len(feedback)
    if not config.enabled or not m + len(preferences):
        none = np.zeros(m, np.int8), np.zeros(len(preferences), np.int8)
        return Distrusted("trust", {}, [], *none)
    scene = look(interactions, feedback, preferences, texts, config)
    _detect(scene)
    _drop_derived(scene)
    feedback.trust[scene.reason[:m] > 0] = 0.0
    preferences.trust[scene.reason[m:] > 0] = 0.0
    counts = {
        name: int((scene.reason == code).sum())
        for code, name in enumerate(REASONS)
        if code and (scene.reason == code).any()
    }
    return Distrusted("trust", counts, scene.rows, scene.reason[:m], scene.reason[m:])


def _detect(scene: Scene) -> None:
    """Look for one thing after another; in a large log, at everything only where need be.

    What votes are about is read for a sample of accounts and for the crews that the questions
    show. Where the sample holds accounts that contradict everybody else, all are judged.
    """
    from tuneloop.curate.trust.accounts import cap_accounts, drop_one_sided
    from tuneloop.curate.trust.brigades import drop_brigades
    from tuneloop.curate.trust.consensus import account_codes, consensus_of, sample_accounts
    from tuneloop.curate.trust.crews import crews_of, drop_crews
    from tuneloop.curate.trust.features import MAX_RICH, asked_words, read_questions
    from tuneloop.curate.trust.novelty import novel
    from tuneloop.curate.trust.reliability import drop_contradicting

    drop_one_sided(scene)
    cap_accounts(scene)
    with ThreadPoolExecutor(max_workers=1) as beside:
        large = len(scene.votes) > MAX_RICH
        asked = beside.submit(read_questions, scene, scene.votes) if large else None
        texts = novel(scene)
        drop_brigades(scene, texts)
    votes = scene.votes.where(scene.active[scene.votes.piece])
    everybody = np.ones(len(scene.lives), dtype=bool)
    if not len(votes):
        return
    if asked is None or len(votes) <= MAX_RICH:
        consensus = consensus_of(scene, everybody)
        crews = crews_of(scene, consensus.votes, consensus.asked)
        drop_crews(scene, texts, consensus, crews)
        drop_contradicting(scene, consensus)
        return
    who = sample_accounts(votes, account_codes(scene))
    with ThreadPoolExecutor(max_workers=1) as beside:  # mostly there are no crews
        likely = beside.submit(consensus_of, scene, who.copy())
        crews = crews_of(scene, votes, asked_words(asked.result(), votes))
        consensus = likely.result()
    if crews:
        for crew in crews[:MAX_CREWS]:
            who[crew.accounts] = True
        consensus = consensus_of(scene, who)
    drop_crews(scene, texts, consensus, crews[:MAX_CREWS])
    if drop_contradicting(scene, consensus):
        drop_contradicting(scene, consensus_of(scene, everybody))


def _drop_derived(scene: Scene) -> None:
    """Flag derived signals of accounts all of whose own feedback was flagged, as that was."""
    own = scene.watched
    n = np.bincount(scene.account[own], minlength=len(scene.lives))
    lost = np.bincount(scene.account[own & (scene.reason > 0)], minlength=len(scene.lives))
    worst = np.zeros(len(scene.lives), dtype=np.int8)
    np.maximum.at(worst, scene.account[own], scene.reason[own])
    gone = (n > 0) & (lost == n)
    m = len(scene.feedback)
    derived = np.flatnonzero(scene.feedback.derived & gone[scene.account[:m]])
    scene.reason[derived] = worst[scene.account[derived]]
