"""One judging from the answers to the summary: pairs, canaries, both orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuneloop.artefacts.digest import digest_json
from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.artefacts.systems import SystemSpec
from tuneloop.config.evaluate import EngineConfig, JudgeConfig
from tuneloop.evaluate.answers import Answers
from tuneloop.evaluate.canaries import assess, plant
from tuneloop.evaluate.judge import Judge, Judgment
from tuneloop.evaluate.judge_prompt import ORDERS, Pair, protocol_digest
from tuneloop.evaluate.judge_summary import summarise
from tuneloop.evaluate.tables import Side
from tuneloop.runtime.serving import Engine, ServedSystem

if TYPE_CHECKING:
    from tuneloop.runtime.weights import ResolvedModel


def judge_system(engine: EngineConfig, model: ResolvedModel, base: ResolvedModel) -> ServedSystem:
    """Return the judge as a system: plain weights, its own chat template.

    Behind an address the weights cannot be seen: the digest is over the served model's name.
    """
    name, digest = model.name, model.digest
    if engine.backend == "url":
        name = str(engine.served_model)
        digest = digest_json({"served_model": name})
        model = base  # never loaded
    spec = SystemSpec(name="judge", model=name, base=digest, engine=engine.backend)
    return ServedSystem(spec=spec, base=model)


@dataclass(frozen=True)
class JudgePlan:
    """Who judges which prompts, and how."""

    system: ServedSystem
    prompts: Sequence[GoldenPrompt]
    config: JudgeConfig
    seed: int

    def run(
        self,
        engine: Engine,
        answers: Mapping[Side, Answers],
        passed: Mapping[Side, Mapping[str, bool | None]],
    ) -> tuple[list[Judgment], dict[str, Any]]:
        """Return the judgments of every prompt in both orders, and their summary."""
        judge = Judge(engine=engine, system=self.system, config=self.config)
        champion, candidate = answers["champion"], answers["candidate"]
        pairs, judgments = [], []
        for prompt in self.prompts:
            a, b = champion[prompt.id], candidate[prompt.id]
            if a.status == b.status == "ok":
                pairs.append(Pair(prompt.id, prompt, champion=a.text, candidate=b.text))
            else:
                judgments += [Judgment(prompt.id, order, reason="no_answer") for order in ORDERS]
        judgments += judge.compare(pairs, step="judge")
        summary = {
            "role": self.config.role,
            "model": self.system.spec.model,
            "model_digest": self.system.spec.base,
            "engine": dict(engine.mode),
            "protocol": protocol_digest(self.config.rubric),
            "rubric": self.config.rubric,
            **summarise(self.prompts, judgments, passed, seed=self.seed),
            "canaries": self._canaries(judge, answers, passed),
            # What a deciding judge is held to; the decision reads it here.
            "min_order_agreement": self.config.min_order_agreement,
            "max_missing_fraction": self.config.max_missing_fraction,
        }
        return judgments, summary

    def _canaries(
        self,
        judge: Judge,
        answers: Mapping[Side, Answers],
        passed: Mapping[Side, Mapping[str, bool | None]],
    ) -> list[dict[str, Any]]:
        def good(prompt: GoldenPrompt) -> str | None:
            if prompt.reference is not None:
                return prompt.reference
            sides = [side for side in answers if passed[side][prompt.id]]
            return answers[sides[0]][prompt.id].text if sides else None

        canaries = plant(self.prompts, good, n=self.config.n_canaries)
        pairs = [pair for canary in canaries for pair in canary.pairs]
        judged = judge.compare(pairs, step="judge, canaries", screen=False)
        held: dict[str, list[Judgment]] = {}
        for judgment in judged:
            held.setdefault(judgment.prompt_id.split("/")[1], []).append(judgment)
        tolerance = self.config.canary_tolerance
        return [assess(c, held.get(c.name, []), tolerance=tolerance) for c in canaries]
