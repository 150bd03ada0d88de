"""What passes between the pipeline and a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tuneloop.artefacts.manifest import Counts
from tuneloop.artefacts.store import Artefact


class Progress(Protocol):
    """A progress bar a stage may drive; every long step has one."""

    def start(self, description: str, *, total: int | None = None) -> None:
        """Begin a step of `total` units (None: unknown)."""

    def advance(self, n: int = 1) -> None:
        """Count `n` units done."""

    def done(self, note: str = "") -> None:
        """End the step, leaving `note` behind."""

    def say(self, text: str) -> None:
        """Print one line without breaking the bar."""


@dataclass(frozen=True)
class StageContext:
    """What a stage gets beside its inputs and its config.

    `work` is a local folder of this execution alone, kept when the process is killed: a stage
    finds there what it left (checkpoints, finished answers) and goes on. `cache` is the store's
    folder of what may be made again and is kept across runs; None: nothing is.
    """

    work: Path
    seed: int
    progress: Progress
    cache: Path | None = None


@dataclass(frozen=True)
class StageOutput:
    """What a stage made: local files by their name in the artefact, and what happened to rows.

    `details` holds small facts for people and reports. Only `files` is in the digest, so no
    file may contain a time, a duration, a host or a path.
    """

    files: Mapping[str, Path]
    counts: Counts = field(default_factory=Counts)
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scope:
    """Whose events a run learns from: one tenant's, of one task in one environment.

    An event that does not state its task or environment is in every one of its tenant's.
    """

    tenant: str
    task: str
    env: str


class LakeVersion(Artefact):
    """Pins one version of the lake. Files: `lake.json`, `dead_letter.jsonl`.

    `details` says where the table is: `uri`, `version`.
    """


class GoldenSet(Artefact):
    """Files: `golden.jsonl`."""


class CuratedSet(Artefact):
    """Files: `curated.parquet`, `preferences.parquet`, `dropped.parquet`, `summary.json`."""


class SampledSet(Artefact):
    """Files: `samples.parquet`, `summary.json`."""


class ExampleSet(Artefact):
    """Files: `{sft,preference,kto}_{train,validation}.parquet`, `summary.json`."""


class Adapter(Artefact):
    """Files: `adapter/…` (PEFT, safetensors), `history.json`, `merged/…` on request.

    After full fine-tuning, and of what goes on from it, `model/…` instead: a whole model.
    """


WHOLE = "model/config.json"
"""The file by which an `Adapter` is known as a whole model."""


class Evaluation(Artefact):
    """Files: `{answers,checks,metrics,judgments}.parquet`, `{evaluation,certificate}.json`."""


class Decision(Artefact):
    """Files: `decision.json`."""


class Report(Artefact):
    """Files: `report.html`."""
