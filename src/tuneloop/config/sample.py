"""Config of sampled answers: the main supply of preference pairs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from tuneloop.artefacts.golden import Check
from tuneloop.artefacts.systems import Sampling
from tuneloop.config.base import Conflict, Section
from tuneloop.config.evaluate import EngineConfig, JudgeConfig

Trigger = Literal["disliked", "corrected", "reworded"]


class SampleConfig(Section):
    """New answers to prompts whose answer people did not want, scored and paired by `build`.

    Liked and disliked answers to one prompt are rare in real logs: most pairs have to be made.
    """

    enabled: bool = False
    """Sample. Needs a model server: minutes on a GPU, longer on a CPU."""
    when: list[Trigger] = Field(default_factory=lambda: ["disliked", "corrected", "reworded"])  # type: ignore[arg-type]
    """Whose prompts are answered anew: the answer was disliked, corrected, or the question was
    asked again in other words."""
    dislike_score: float = Field(default=-0.3, ge=-1, lt=0)
    """Evidence up to which an answer counts as disliked."""
    max_prompts: int = Field(default=200, ge=1)
    """How many prompts, those with the strongest evidence for each trigger first."""
    n_answers: int = Field(default=4, ge=1)
    """New answers a prompt."""
    sampling: Sampling = Sampling(temperature=0.8, top_p=0.95)
    """How they are drawn; each answer of a prompt has a seed of its own."""
    engine: EngineConfig | None = None
    """What answers; None: as in `evaluate.engine`."""
    checks: list[Check] = Field(default_factory=list)
    """Rules every answer of this task must pass; the share of required ones passed is a score."""
    judge: JudgeConfig = JudgeConfig()
    """Compares each new answer with the recorded one, in both orders; `role: off` asks nobody."""
    weight_checks: float = Field(default=1.0, ge=0)
    """Weight of the checks in an answer's score."""
    weight_correction: float = Field(default=1.0, ge=0)
    """Weight of the likeness to the correction, where there is one: equal fields where both are
    JSON objects, else edit similarity."""
    weight_judge: float = Field(default=1.0, ge=0)
    """Weight of the judge's score."""

    def conflicts(self) -> Iterator[Conflict]:
        """Something must say which answer is better, and one judge at most."""
        if self.judge.panel:
            yield Conflict(("judge.panel",), "one judge scores samples: a panel is not asked")
        scored = bool(self.checks) or self.judge.role != "off" or self.when == ["corrected"]
        if self.enabled and not scored:
            yield Conflict(
                ("checks", "judge.role", "when"),
                "answers to prompts without a correction need checks or a judge to be scored by",
            )
