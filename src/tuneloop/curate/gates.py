"""Every gate in its order, on columns: what stays, what it is worth, and on which side it is."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tuneloop.artefacts.stage import StageContext
from tuneloop.config.curate import CurateConfig
from tuneloop.curate import split
from tuneloop.curate.caps import above, apply_caps
from tuneloop.curate.columns import Feedback, Flags, signal_code
from tuneloop.curate.duplicates import Questions, Worth, drop_duplicates, near_equal
from tuneloop.curate.meaning import across_meanings, compare_meanings, join_meanings, open_encoder
from tuneloop.curate.order import mix
from tuneloop.curate.overlap import Matches
from tuneloop.curate.passes import Read, read_spoken, reconnect
from tuneloop.curate.quality.contradiction import contradictions
from tuneloop.curate.quality.flags import OF_ANSWER, bits_with, counts, names
from tuneloop.curate.settle import detail, refuse_marked, refuse_share, settle
from tuneloop.curate.signals.derive import derive
from tuneloop.curate.signals.evidence import Evidence, evidence
from tuneloop.curate.signals.opinion import opinions
from tuneloop.curate.trust.gate import Distrusted, distrust
from tuneloop.curate.trust.scene import REASONS

if TYPE_CHECKING:
    from tuneloop.runtime.encoder import Encoder

COMMENT = signal_code("comment")


@dataclass
class Gated:
    """The rows that stay, and everything that was found on the way."""

    read: Read
    feedback: Feedback
    questions: Questions
    kept: Flags
    side: NDArray[np.int8]
    found: Evidence
    groups: split.Groups
    distrusted: Distrusted
    report: dict[str, Any] = field(default_factory=dict)


def pass_gates(read: Read, config: CurateConfig, context: StageContext) -> Gated:
    """Return what is left of what was read."""
    step = context.progress.start
    assembled, texts, dropped = read.assembled, read.texts, read.dropped
    interactions = assembled.interactions
    report: dict[str, Any] = {}
    step("curate: signals")
    with ThreadPoolExecutor(max_workers=1) as beside:  # needs no texts, and mostly no interpreter
        near = beside.submit(near_equal, assembled, config.dedupe)
        read_spoken(read, config)
        feedback = read.joined.feedback
        feedback.opinion = opinions(interactions, feedback, texts)
        feedback = derive(interactions, feedback, texts, config.signals.derive)
        reconnect(read, feedback)
        step("curate: near-duplicates")
        questions = near.result()
    interactions.cluster = questions.clusters().astype(np.int32)
    encoder = open_encoder(config.encoder, leak=config.leak, semantic=config.dedupe.semantic,
                           cache=context.work / "vectors")  # fmt: skip
    if config.dedupe.semantic.enabled and encoder:
        interactions.cluster, found = join_meanings(
            encoder, texts, interactions.question, interactions.cluster, config.dedupe.semantic
        )
        report["semantic_duplicates"] = found.counts
    step("curate: trust")
    _contradictions(read, feedback, config)
    with ThreadPoolExecutor(max_workers=1) as beside:  # sides depend on no feedback
        sides = beside.submit(
            split.draw_sides, assembled, questions, config.split, seed=context.seed
        )
        distrusted = distrust(interactions, feedback, read.joined.preferences, texts, config.trust)
        side = sides.result()
    _note_distrust(read, feedback, distrusted)
    believed = evidence(interactions, feedback, read.joined.preferences, config.signals)
    kept = np.ones(len(interactions), dtype=bool)
    report["quality"] = _drop_flagged(read, kept, believed, config)
    _drop_silent(read, feedback, kept)
    worth = _worth(read, believed)
    if config.dedupe.enabled:
        report["duplicates"] = drop_duplicates(
            interactions, kept, worth, texts, config.dedupe, dropped
        )
    step("curate: golden guard")
    read.guard.encoder = encoder if config.leak.semantic != "off" else None
    report["golden"] = _guard(read, kept, config)
    ties = mix(np.full(len(interactions), context.seed), assembled.key)
    report["caps"] = apply_caps(interactions, kept, (believed.weight, ties), config.caps, dropped)
    step("curate: split")
    groups = _split(read, questions, kept, side, config, report)
    _drop_orphans(read, feedback, kept)
    return Gated(read, feedback, questions, kept, side, believed, groups, distrusted, report)


def _contradictions(read: Read, feedback: Feedback, config: CurateConfig) -> None:
    hits = contradictions(feedback, config.quality) & (feedback.trust > 0)
    if config.quality.contradiction == "drop":
        feedback.trust[hits] = 0.0
        gone = feedback.id.take(pa.array(np.flatnonzero(hits)))
        read.dropped.add("feedback", gone, "quality_contradiction")


def _note_distrust(read: Read, feedback: Feedback, found: Distrusted) -> None:
    preferences = read.joined.preferences
    for code, name in enumerate(REASONS):
        if code:
            for ids, reasons in ((feedback.id, found.feedback_reason),
                                 (preferences.id, found.preference_reason)):  # fmt: skip
                gone = np.flatnonzero(reasons == code)
                read.dropped.add("feedback", ids.take(pa.array(gone)), name)


def _drop_flagged(
    read: Read, kept: Flags, believed: Evidence, config: CurateConfig
) -> dict[str, Any]:
    """Drop rows with defects, and rows whose personal data the policy leaves out.

    A defect of the answer drops the row only where the answer would be taught as a good one:
    disliked, corrected or lost against another, it is an example of what to avoid.
    """
    assembled = read.assembled
    left_out = np.flatnonzero(assembled.flags["left_out"])
    ids = assembled.interactions.id
    read.dropped.add("interaction", ids.take(pa.array(left_out)), "personal_data")
    kept[left_out] = False
    mask = assembled.flags["quality"]
    drop = mask & np.uint32(bits_with(config.quality, "drop"))
    avoided = (drop & np.uint32(~OF_ANSWER & 0xFFFFFFFF)) == 0
    avoided &= _is_avoided(believed)
    drop = np.where(avoided, np.uint32(0), drop)
    for bits in np.unique(drop[kept & (drop > 0)]).tolist():
        gone = np.flatnonzero(kept & (drop == bits))
        defects = names(bits)
        read.dropped.add("interaction", ids.take(pa.array(gone)), f"quality_{defects[0]}",
                         ", ".join(defects))  # fmt: skip
        kept[gone] = False
    return {"found": counts(mask), "kept": counts(mask[kept])}


def _is_avoided(believed: Evidence) -> Flags:
    """Return whose answers no rule would teach: disliked or corrected, and never the better one."""
    pairs = believed.pairs
    wins = np.concatenate([pairs.first[pairs.outcome == 1], pairs.second[pairs.outcome == -1]])
    loses = np.concatenate([pairs.second[pairs.outcome == 1], pairs.first[pairs.outcome == -1]])
    avoided: Flags = (believed.score < 0) | (believed.correction >= 0)
    avoided[loses] = True
    avoided[wins] = False
    return avoided


def _drop_silent(read: Read, feedback: Feedback, kept: Flags) -> None:
    """Drop interactions whose feedback, as far as it is believed, says nothing on quality."""
    n = len(kept)
    preferences = read.joined.preferences
    compared = preferences.trust > 0
    rows = np.concatenate([preferences.first[compared], preferences.second[compared]])
    speaking = (feedback.trust > 0) & (feedback.signal != COMMENT)
    heard, any_left, any_given = (np.zeros(n, dtype=bool) for _ in range(3))
    heard[feedback.row[speaking]] = True
    heard[rows] = True
    any_left[feedback.row[feedback.trust > 0]] = True
    any_given[feedback.row] = True
    any_given[preferences.first] = any_given[preferences.second] = True
    ids = read.assembled.interactions.id
    for why, which in (
        ("comments only", any_left),
        ("none of its feedback is trusted", any_given & ~any_left),
        ("no feedback", ~any_given),
    ):
        gone = np.flatnonzero(kept & ~heard & which)
        read.dropped.add("interaction", ids.take(pa.array(gone)), "no_signal", why)
    kept &= heard


def _worth(read: Read, found: Evidence) -> Worth:
    preferences = read.joined.preferences
    compared = np.zeros(len(found.score), dtype=bool)
    compared[preferences.first] = compared[preferences.second] = True
    return Worth(compared, found.correction >= 0, found.score, found.weight)


def _guard(read: Read, kept: Flags, config: CurateConfig) -> dict[str, Any]:
    """Drop the rows that repeat golden prompts."""
    assembled = read.assembled
    if not config.leak.enabled:
        return {"enabled": False}
    interactions, flags, rows = assembled.interactions, assembled.flags, np.flatnonzero(kept)
    marked = np.flatnonzero(assembled.golden & kept)
    tags = pa.array([["golden"]] * len(marked), pa.list_(pa.string()))
    refuse_marked(interactions.id.take(pa.array(marked)), tags)
    every = Matches(flags["leak_kind"].copy(), flags["leak_index"].copy(),
                    flags["leak_similarity"].copy())  # fmt: skip
    meaning = compare_meanings(read.guard, read.texts, interactions.question, every)
    found = every.take(rows)
    ids = interactions.id.take(pa.array(rows))
    settled = settle(read.guard, found, interactions.question[rows], ids)
    gone = np.flatnonzero(settled.drop)
    details = pa.array([detail(read.guard, found, i) for i in gone.tolist()], pa.string())
    read.dropped.add("interaction", ids.take(pa.array(gone)), "golden_leak", details)
    kept[rows[gone]] = False
    leaks = [
        {"golden_id": read.guard.ids[found.index[i]], "interaction_id": ids[i].as_py(),
         "similarity": round(float(found.similarity[i]), 4)}
        for i in gone.tolist()
    ]  # fmt: skip
    return {"guard": settled.summary, "meaning": meaning.counts, "leaks": leaks}


def _split(
    read: Read, questions: Questions, kept: Flags, side: NDArray[np.int8], config: CurateConfig,
    report: dict[str, Any],
) -> split.Groups:  # fmt: skip
    """Drop what is on both sides and what is too much of one thing; name the groups."""
    interactions, dropped = read.assembled.interactions, read.dropped
    between = np.flatnonzero(kept & (side == split.BOTH))
    dropped.add("interaction", interactions.id.take(pa.array(between)), "split_bridge",
                "connected with held-out and training rows")  # fmt: skip
    kept[between] = False
    if read.guard.encoder and config.leak.enabled:
        report["split_meaning"] = _across(read, kept, side, read.guard.encoder, config)
    held = kept & (side == split.VALIDATION)
    code = np.where(held, interactions.cluster, -1)
    oldest = (-interactions.ts, read.assembled.key)
    surplus = above(code, held, oldest, config.split.max_group_share, config.caps.min_rows)
    dropped.add("interaction", interactions.id.take(pa.array(surplus)), "held_out_surplus",
                "more of one question than validation holds")  # fmt: skip
    kept[surplus] = False
    return split.name_groups(read.assembled, questions, kept, config.split)


def _across(
    read: Read, kept: Flags, side: NDArray[np.int8], encoder: Encoder, config: CurateConfig
) -> dict[str, Any]:
    """Drop the training rows that ask a held-out question in other words."""
    interactions = read.assembled.interactions
    train, held = kept & (side == split.TRAIN), kept & (side == split.VALIDATION)
    found = across_meanings(encoder, read.texts, interactions.question, (train, held), config.leak)
    refuse_share(found.leaks, kept, config.leak)
    gone = np.flatnonzero(found.leaks)
    details = [f"semantic:{value:.2f}" for value in found.similarity[gone].tolist()]
    read.dropped.add("interaction", interactions.id.take(pa.array(gone)), "split_leak",
                     pa.array(details, pa.string()))  # fmt: skip
    kept[gone] = False
    return found.counts | {"n_dropped": len(gone)}


def _drop_orphans(read: Read, feedback: Feedback, kept: Flags) -> None:
    """Note the feedback whose interaction did not come through."""
    gone = np.flatnonzero(~kept[feedback.row] & (feedback.trust > 0) & ~feedback.derived)
    why = "its interaction did not come through"
    read.dropped.add("feedback", feedback.id.take(pa.array(gone)), "target_dropped", why)
    preferences = read.joined.preferences
    gone = np.flatnonzero(
        ~(kept[preferences.first] & kept[preferences.second]) & (preferences.trust > 0)
    )
    why = "one of the two answers did not come through"
    read.dropped.add("feedback", preferences.id.take(pa.array(gone)), "target_dropped", why)
