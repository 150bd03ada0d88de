"""The two passes over the lake, and what they leave behind."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.artefacts.stage import Scope, StageContext
from tuneloop.config.curate import CurateConfig
from tuneloop.curate import parts, prepare, said
from tuneloop.curate.admit import Rules
from tuneloop.curate.assemble import Assembled, assemble
from tuneloop.curate.clean import Cleaner, masked_golden
from tuneloop.curate.columns import Feedback
from tuneloop.curate.dropped import Dropped
from tuneloop.curate.join import Joined, Said, join, latest
from tuneloop.curate.leak import Guard
from tuneloop.curate.privacy.redact import make_redactor
from tuneloop.curate.privacy.report import RedactionReport, Sample
from tuneloop.curate.quality.flags import BITS, FLAGS, bits_with
from tuneloop.curate.source import Lake
from tuneloop.curate.texts import StoredTexts


@dataclass
class Read:
    """What the passes leave: numbers in memory, texts on disk.

    Attributes:
        n_interactions: How many came in, those of other tenants too.
        n_feedback: The same for feedback.
        redactions: What redaction found, merged.
        guard: What keeps golden prompts out.
    """

    assembled: Assembled
    joined: Joined
    texts: StoredTexts
    dropped: Dropped
    n_interactions: int
    n_feedback: int
    redactions: RedactionReport
    guard: Guard


def read(
    lake: Lake,
    golden: list[GoldenPrompt],
    config: CurateConfig,
    context: StageContext,
    scope: Scope | None,
) -> Read:
    """Read the lake once: feedback first, whose texts are redacted with their interactions."""
    folder, progress = context.work / "parts", context.progress
    folder.mkdir(parents=True, exist_ok=True)
    dropped = Dropped(others=lake.others())
    progress.start("curate: feedback", total=lake.size("feedback"))
    work = said.ReadFeedback(folder)
    names = lake.work("feedback", said.COLUMNS, work, progress)
    in_force = latest(folder, names, dropped, max_chars=config.max_answer_chars)
    progress.start("curate: interactions", total=lake.size("interaction"))
    redactor = make_redactor(config.redact, seed=context.seed)
    guard = Guard(masked_golden(golden, redactor), config.leak)
    rules = Rules(config, scope, max(lake.watermark(), _seconds(config.as_of)))
    cleaner = Cleaner(config, redactor, guard)
    preparing = prepare.Prepare(folder, rules, cleaner, folder / "spoken.arrow")
    names = lake.work("interaction", prepare.COLUMNS, preparing, progress)
    progress.start("curate: join")
    assembled = assemble(folder, names)
    joined, texts = _join(folder, names, in_force, assembled, dropped)
    known = assembled.known
    refused = np.flatnonzero(known.row < 0)
    dropped.add("interaction", known.id.take(refused), known.reason.take(refused),
                known.detail.take(refused))  # fmt: skip
    return Read(
        assembled=assembled,
        joined=joined,
        texts=texts,
        dropped=dropped,
        n_interactions=len(known) + dropped.others.get("interaction", 0),
        n_feedback=in_force.n_in + dropped.others.get("feedback", 0),
        redactions=_redactions(folder, names, config.redact.n_samples),
        guard=guard,
    )


def _seconds(when: datetime | None) -> float:
    if when is None:
        return 0.0
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()


def _join(
    folder: Path, names: list[str], in_force: Said, assembled: Assembled, dropped: Dropped
) -> tuple[Joined, StoredTexts]:
    """Join feedback to its interactions, and give corrections what their texts say of them."""
    joined = join(in_force, assembled, dropped)
    texts = StoredTexts(
        [folder / f"{name}.text" for name in names],
        [folder / f"{name}.spoken" for name in names],
        assembled.key, assembled.interactions.question, assembled.places,
    )  # fmt: skip
    feedback = joined.feedback
    texts.connect(joined.key, feedback)
    return joined, texts


def read_spoken(read_: Read, config: CurateConfig) -> None:
    """Fill in the values of corrections and edits, and stop believing texts that must not stay."""
    feedback, texts = read_.joined.feedback, read_.texts
    must_go = bits_with(config.quality, "drop")
    reason = np.zeros(len(feedback), dtype=np.int8)
    source = texts.open_said(["text", "text_hash", "kept", "flags"])
    for number in range(parts.N_RANGES):
        pieces, table = texts.said_range(source, number)
        kept = table["kept"].to_numpy()
        has_kept = ~np.isnan(kept)
        feedback.value[pieces[has_kept]] = kept[has_kept]
        feedback.text[pieces] = table["text_hash"].to_numpy()
        left_out = table["text"].is_null().to_numpy(zero_copy_only=False)
        reason[pieces[left_out]] = len(FLAGS) + 1
        mask = table["flags"].to_numpy() & np.uint32(must_go)
        for place, flag in enumerate(FLAGS, 1):
            hit = pieces[(mask & BITS[flag.name]) > 0]
            reason[hit[reason[hit] == 0]] = place
    for code in np.unique(reason[reason > 0]).tolist():
        gone = np.flatnonzero(reason == code)
        name = "personal_data" if code > len(FLAGS) else f"quality_{FLAGS[code - 1].name}"
        feedback.trust[gone] = 0.0
        read_.dropped.add("feedback", feedback.id.take(gone), name)


def reconnect(read_: Read, feedback: Feedback) -> None:
    """Number the texts by `feedback` with its derived signals."""
    key = np.zeros(len(feedback), dtype=np.uint64)
    key[~feedback.derived] = read_.joined.key
    read_.texts.connect(key, feedback)


def _redactions(folder: Path, names: list[str], n_samples: int) -> RedactionReport:
    whole = RedactionReport(n_samples)
    for name in names:
        data = json.loads((folder / f"{name}.found").read_text("utf-8"))
        one = RedactionReport(n_samples)
        for counter, entries in ((one.found, data["found"]), (one.replaced, data["replaced"])):
            counter.update({(field, kind): n for field, kind, n in entries})
        one.samples = {
            kind: [Sample(*sample) for sample in samples]
            for kind, samples in data["samples"].items()
        }
        whole.merge(one)
    return whole
