"""One judge's work from the answers to its certificate."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneloop.artefacts.digest import digest_file, digest_json
from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.artefacts.systems import SystemSpec
from tuneloop.config.engine import EngineConfig
from tuneloop.config.judge import JudgeConfig
from tuneloop.evaluate import certificate as cert
from tuneloop.evaluate.answers import Answers
from tuneloop.evaluate.calibration import agree_with_people
from tuneloop.evaluate.canaries import plant
from tuneloop.evaluate.judge import Judge, Judgment, Pair, collapse_scores, orders_of
from tuneloop.evaluate.judge import protocol_digest as protocol_of
from tuneloop.evaluate.labelled import ANCHORS, read_pairs
from tuneloop.evaluate.tables import Side
from tuneloop.runtime.serving import Engine, ServedSystem

if TYPE_CHECKING:
    from tuneloop.runtime.weights import ResolvedModel

Passed = Mapping[Side, Mapping[str, bool | None]]


def judge_system(engine: EngineConfig, model: ResolvedModel, base: ResolvedModel) -> ServedSystem:
    """Return the judge as a system: plain weights, its own chat template.

    Behind an address the weights cannot be seen: the digest is over the served model's name.
    """
    name, digest = model.name, model.digest
    if engine.backend == "url":
        name = str(engine.served_model)
        digest = digest_json({"served_model": name, "revision": engine.revision})
        model = base  # never loaded
    spec = SystemSpec(name="judge", model=name, base=digest, engine=engine.backend)
    return ServedSystem(spec=spec, base=model)


@dataclass(frozen=True)
class Findings:
    """What one judge said, and its certificate."""

    judgments: list[Judgment]
    certificate: dict[str, Any]


@dataclass(frozen=True)
class JudgePlan:
    """Who judges which prompts, and how.

    `cache` holds the first scores each judge gave the anchors; None: there is nothing to compare
    them with.
    """

    name: str
    system: ServedSystem
    prompts: Sequence[GoldenPrompt]
    config: JudgeConfig
    engine: EngineConfig
    seed: int
    cache: Path | None = None
    warning: str | None = field(default=None)

    def run(self, engine: Engine, answers: Mapping[Side, Answers], passed: Passed) -> Findings:
        """Return the judgments of every prompt, and what the judge was found to be."""
        judge = Judge(engine=engine, system=self.system, config=self.config, name=self.name)
        pairs = self._pairs(answers)
        judgments = judge.compare(list(pairs.values()), step=f"{self.name}")
        judgments += self._resample(judge, pairs, judgments)
        orders = orders_of(self.config.kind)
        judgments += [
            Judgment(prompt.id, order, judge=self.name, reason="no_answer")
            for prompt in self.prompts
            if prompt.id not in pairs
            for order in orders
        ]
        items = self._items(judge, pairs, judgments, answers, passed)
        return Findings(judgments, self._certificate(engine, judge, items))

    def _pairs(self, answers: Mapping[Side, Answers]) -> dict[str, Pair]:
        champion, candidate = answers["champion"], answers["candidate"]
        return {
            p.id: Pair(p.id, p, champion=champion[p.id].text, candidate=candidate[p.id].text)
            for p in self.prompts
            if champion[p.id].status == candidate[p.id].status == "ok"
        }

    def _resample(
        self, judge: Judge, pairs: Mapping[str, Pair], judgments: Sequence[Judgment]
    ) -> list[Judgment]:
        """Return further samples of the prompts that are undecided."""
        undecided = [
            pairs[prompt]
            for prompt, score in collapse_scores(judgments).items()
            if score is not None and abs(score - 0.5) < self.config.undecided_within
        ]
        more: list[Judgment] = []
        for sample in range(1, self.config.n_resamples + 1):
            more += judge.compare(undecided, step=f"{self.name}, undecided", sample=sample)
        return more

    def _items(
        self,
        judge: Judge,
        pairs: Mapping[str, Pair],
        judgments: Sequence[Judgment],
        answers: Mapping[Side, Answers],
        passed: Passed,
    ) -> list[cert.Item]:
        held, seed = self.config.certificate, self.seed
        families = {p.id: p.family or p.id for p in self.prompts}
        items = self._canaries(judge, answers, passed)
        if len(orders_of(self.config.kind)) > 1:
            items += cert.position_items(judgments, families, held, seed=seed)
        lengths = {
            name: (len(pair.champion), len(pair.candidate))
            for name, pair in pairs.items()
            if passed["champion"].get(name) is not None
            and passed["champion"].get(name) == passed["candidate"].get(name)
        }
        scores = collapse_scores(judgments)
        items.append(cert.length_item(scores, lengths, families, held, seed=seed))
        again = judge.compare(
            list(pairs.values())[: held.n_consistency], step=f"{self.name}, again", sample=1
        )
        items.append(cert.consistency_item(judgments, again, families, held, seed=seed))
        return items

    def _canaries(
        self, judge: Judge, answers: Mapping[Side, Answers], passed: Passed
    ) -> list[cert.Item]:
        def good(prompt: GoldenPrompt) -> str | None:
            if prompt.reference is not None:
                return prompt.reference
            sides = [side for side in answers if passed[side][prompt.id]]
            return answers[sides[0]][prompt.id].text if sides else None

        held = self.config.certificate
        canaries = plant(self.prompts, good, n=held.n_canaries)
        planted = [pair for canary in canaries for pair in canary.pairs]
        families = {pair.id: pair.prompt.family or pair.prompt.id for pair in planted}
        judged = judge.compare(planted, step=f"{self.name}, canaries", screen=False)
        names = [canary.name for canary in canaries]
        return cert.canary_items(judged, families, names, held, seed=self.seed)

    def _certificate(self, engine: Engine, judge: Judge, items: list[cert.Item]) -> dict[str, Any]:
        agreement = self._agreement(judge)
        if agreement is not None:
            items.append(cert.people_item(agreement, self.config.certificate))
        drift, anchors = self._drift(judge)
        items.append(drift)
        return {
            "judge": self.name,
            "status": cert.conclude(items),
            "model": self.system.spec.model,
            "model_digest": self.system.spec.base,
            "engine": dict(engine.mode),
            "kind": self.config.kind,
            "protocol": protocol_of(self.config),
            "warning": self.warning,
            "items": [item.row() for item in items],
            "anchors": anchors,
            "agreement": agreement,
            "thresholds": self.config.certificate.model_dump(
                mode="json", exclude={"labelled", "anchors"}
            ),
        }

    def _agreement(self, judge: Judge) -> dict[str, Any] | None:
        if self.config.certificate.labelled is None:
            return None
        path = Path(self.config.certificate.labelled)
        labelled = read_pairs(path)
        judged = judge.compare([one.pair for one in labelled], step=f"{self.name}, labelled pairs")
        found = agree_with_people(labelled, collapse_scores(judged), seed=self.seed)
        return {"file_digest": digest_file(path), **found}

    def _drift(self, judge: Judge) -> tuple[cert.Item, dict[str, Any]]:
        """Ask the anchors, anew where the weights cannot be seen, and compare."""
        given = self.config.certificate.anchors
        path = Path(given) if given else ANCHORS
        pairs = read_pairs(path)
        asked = judge.compare(
            [one.pair for one in pairs], step=f"{self.name}, anchors", screen=False,
            fresh=self.engine.backend == "url",
        )  # fmt: skip
        scores = collapse_scores(asked)
        identity = [self.system.spec.model, self.system.spec.base, protocol_of(self.config),
                    digest_file(path)]  # fmt: skip
        before = _first_scores(self.cache, digest_json(identity), scores)
        item = cert.drift_item(scores, before, self.config.certificate, seed=self.seed)
        right = [cert.side(s) == cert.side(one.human) for one in pairs
                 if (s := scores[one.pair.id]) is not None]  # fmt: skip
        return item, {
            "file_digest": digest_file(path),
            "n": len(pairs),
            "n_missing": len(pairs) - len(right),
            "n_right": sum(right),
            "scores": {name: None if s is None else round(s, 6) for name, s in scores.items()},
        }


def _first_scores(
    cache: Path | None, identity: str, now: Mapping[str, float | None]
) -> Mapping[str, float | None]:
    """Return the first scores kept under `identity`, keeping these where there are none."""
    if cache is None:
        return now
    path = cache / "anchors" / f"{identity}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists() and any(score is not None for score in now.values()):
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(now, sort_keys=True), "utf-8")
        partial.replace(path)
    if not path.exists():
        return now
    held: dict[str, float | None] = json.loads(path.read_text("utf-8"))
    return held
