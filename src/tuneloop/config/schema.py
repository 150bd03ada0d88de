"""The run config: one YAML a run."""

from __future__ import annotations

import os
from typing import Any

from pydantic import Field

from tuneloop.config.base import Section
from tuneloop.config.data import BuildConfig, CurateConfig, LakeConfig
from tuneloop.config.decide import DecideConfig, ReportConfig
from tuneloop.config.evaluate import EvaluateConfig
from tuneloop.config.train import TrainConfig

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"


class ModelConfig(Section):
    """The base model that is trained and served."""

    name: str
    """A folder, a GGUF file, a hub id, or `tiny-random` (made on the fly, for smoke tests)."""
    revision: str | None = None
    """Revision at the hub."""
    trust_remote_code: bool = False
    """Run code that ships with this model; only for models you name and trust."""


class GoldenConfig(Section):
    """The held-out prompts."""

    path: str
    """A golden JSON-lines file; relative to the file that names it."""


class RunConfig(Section):
    """Everything one run needs."""

    name: str = Field(pattern=NAME)
    """The run's name, in reports and paths."""
    seed: int = Field(default=17, ge=0)
    """Seed of every random choice."""
    tenant: str = Field(default="default", pattern=NAME)
    """Whose traffic."""
    task: str = Field(default="default", pattern=NAME)
    """Which task of theirs."""
    env: str = Field(default="production", pattern=NAME)
    """Which environment the champion serves."""
    store: str = Field(default_factory=lambda: os.environ.get("TUNELOOP_STORE", ".tuneloop"))
    """Where artefacts are kept: a folder (relative to where the command runs) or an
    s3://, gs:// or az:// address. TUNELOOP_STORE sets the default."""
    model: ModelConfig
    """The base model."""
    lake: LakeConfig = LakeConfig()
    """Events."""
    golden: GoldenConfig
    """The golden set."""
    curate: CurateConfig = CurateConfig()
    """Curation."""
    build: BuildConfig = BuildConfig()
    """Set building."""
    train: TrainConfig = TrainConfig()
    """Training."""
    evaluate: EvaluateConfig = EvaluateConfig()
    """Evaluation."""
    decide: DecideConfig = DecideConfig()
    """The verdict."""
    report: ReportConfig = ReportConfig()
    """The report."""

    def conflicts(self) -> list[str]:
        """A run needs a candidate, and a judge where the judge is the metric."""
        problems = []
        if not (self.train.sft.enabled or self.train.dpo.enabled):
            problems.append("train.sft and train.dpo are both off: there is no candidate")
        if self.decide.metric == "judge" and self.evaluate.judge.role != "deciding":
            problems.append("decide.metric judge needs evaluate.judge.role deciding")
        return problems


def config_json_schema() -> dict[str, Any]:
    """Return the JSON schema of a run config, for editors."""
    schema = RunConfig.model_json_schema()
    schema["title"] = "tuneloop run config"
    schema["properties"]["extends"] = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "Base config or configs this one changes; relative to this file.",
    }
    schema["required"] = []
    return schema
