"""The run config: one YAML a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from pydantic import Field

from tuneloop.config.base import Address, Conflict, Section, holds_credentials
from tuneloop.config.curate import CurateConfig
from tuneloop.config.data import LakeConfig
from tuneloop.config.decide import DecideConfig, ReportConfig
from tuneloop.config.evaluate import EvaluateConfig
from tuneloop.config.golden import GoldenConfig
from tuneloop.config.sample import SampleConfig
from tuneloop.config.sets import BuildConfig
from tuneloop.config.train import METHODS, TrainConfig

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
STORE = ".tuneloop"


class ModelConfig(Section):
    """The base model that is trained and served."""

    name: str
    """A folder, a GGUF file, a hub id, or `tiny-random` (made on the fly, for smoke tests)."""
    revision: str | None = None
    """Revision at the hub."""
    trust_remote_code: bool = False
    """Run code that ships with this model; only for models you name and trust."""
    chat_template: str | None = None
    """A file with a Jinja chat template in place of the model's own, in training as in serving."""


class RecipeConfig(Section):
    """What a shipped recipe was made for, and what is known of it. No stage reads this."""

    card_gib: float = Field(gt=0)
    """Memory of the card it is sized for, GiB; its estimate is below that."""
    n_cards: int = Field(default=1, ge=1)
    """Cards it is sized for; with more than one, weights are sharded over all of them (FSDP)."""
    run_on: str = "never run"
    """The hardware it was run on, and when; `never run` where it was not."""


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
    store: Address = Field(
        default_factory=lambda: os.environ.get("TUNELOOP_STORE", STORE),
        validate_default=True,
        json_schema_extra={"default": STORE},
    )
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
    sample: SampleConfig = SampleConfig()
    """New answers to prompts whose answer people did not want."""
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
    recipe: RecipeConfig | None = None
    """Where this config is a recipe, or extends one: what that was made for."""

    def conflicts(self) -> Iterator[Conflict]:
        """A run needs a candidate, and a judge where the judge is the metric."""
        if self.evaluate.candidate == "trained" and not self.train.chain:
            yield Conflict(
                ("train.order", *(f"train.{name}.enabled" for name in METHODS)),
                f"train.{', train.'.join(METHODS)} are all off: there is no candidate",
            )
        if self.decide.metric == "judge" and self.evaluate.judge.role != "deciding":
            yield Conflict(
                ("decide.metric", "evaluate.judge.role"),
                "decide.metric judge needs evaluate.judge.role deciding",
            )
        if self.decide.metric == "judge" and self.evaluate.judge.when_invalid == "rules":
            yield Conflict(
                ("evaluate.judge.when_invalid", "decide.metric"),
                "evaluate.judge.when_invalid rules needs another decide.metric than judge",
            )
        faster = self.decide.objective != "better" and self.decide.cheaper_by == "latency"
        if faster and not self.evaluate.latency.n_prompts:
            yield Conflict(
                ("decide.cheaper_by", "evaluate.latency.n_prompts"),
                "decide.cheaper_by latency needs evaluate.latency.n_prompts (72 at least)",
            )
        if holds_credentials(self.lake.uri or ""):
            yield Conflict(
                ("lake.uri",), "lake.uri is stored with the run: no user or password in it"
            )


def config_json_schema(model: type[Section], title: str) -> dict[str, Any]:
    """Return the JSON schema of a config, for editors."""
    schema = model.model_json_schema()
    schema["title"] = title
    schema["properties"]["extends"] = {
        "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        "description": "Base config or configs this one changes; relative to this file.",
    }
    schema["required"] = []
    return schema
