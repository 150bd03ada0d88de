"""The judge: pairs of answers become scores, by one of four kinds of question.

- `pairwise` and `reference` show both answers, in both orders, and read A, B or T.
- `pointwise` grades each answer alone, 1 to 5; `checklist` asks of each requirement whether each
  answer meets it. The score is ½ plus half the difference of the two grades.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from tuneloop.artefacts.digest import digest_json
from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.config.judge import JudgeConfig, JudgeKind
from tuneloop.evaluate.asking import JudgeReason, Question, Reading, ask
from tuneloop.evaluate.injection import tries_injection
from tuneloop.evaluate.judge_prompt import Messages, prompt_digest, render, task_text
from tuneloop.runtime.serving import Engine, ServedSystem

Order = Literal["champion_first", "candidate_first", "each_alone"]
BOTH: tuple[Order, Order] = ("champion_first", "candidate_first")
ALONE: tuple[Order] = ("each_alone",)
Side = Literal["champion", "candidate"]
SIDES: tuple[Side, Side] = ("champion", "candidate")
PROMPT_FILES: Mapping[JudgeKind, str] = {
    "pairwise": "pairwise-v1",
    "reference": "reference-v1",
    "pointwise": "pointwise-v1",
    "checklist": "checklist-v1",
}
PREFERENCES = ("A", "B", "T")
GRADES: Mapping[str, float] = {str(grade): (grade - 1) / 4 for grade in range(1, 6)}
MET: Mapping[str, float] = {"Y": 1.0, "N": 0.0}


@dataclass(frozen=True)
class Pair:
    """Two answers to compare; `prompt` is what both were asked."""

    id: str
    prompt: GoldenPrompt
    champion: str
    candidate: str

    def shown(self, order: Order) -> tuple[str, str]:
        """Return the first and the second answer in this order."""
        if order == "candidate_first":
            return self.candidate, self.champion
        return self.champion, self.candidate

    def speaks_to_judge(self) -> bool:
        """Whether either answer tries to move its judge."""
        known = f"{task_text(self.prompt.messages)}\n{self.prompt.reference or ''}"
        return any(tries_injection(text, known) for text in (self.champion, self.candidate))


@dataclass(frozen=True)
class Judgment:
    """One comparison by one judge in one order, one sample of it; see `tables.py`."""

    prompt_id: str
    order: Order
    judge: str = "judge"
    sample: int = 0
    status: Literal["ok", "missing"] = "missing"
    reason: JudgeReason | None = None
    score: float | None = None
    p_a: float | None = None
    p_b: float | None = None
    p_tie: float | None = None
    grade_champion: float | None = None
    grade_candidate: float | None = None
    off_label: float | None = None
    decided_by: Literal["logprobs", "structured"] | None = None
    reasoning: str | None = None

    def row(self) -> dict[str, Any]:
        """Return the row of `judgments.parquet`."""
        return asdict(self)


def orders_of(kind: JudgeKind) -> Sequence[Order]:
    """Return the orders in which a pair is shown."""
    return BOTH if kind in ("pairwise", "reference") else ALONE


def protocol_digest(config: JudgeConfig) -> str:
    """Return the SHA-256 over all fixed words the judge reads, and how its label is read."""
    kind, rubric = config.kind, config.rubric
    return digest_json([kind, prompt_digest(PROMPT_FILES[kind]), rubric, config.reasoning_tokens])


@dataclass(frozen=True)
class Judge:
    """Who judges, where, and by which protocol."""

    engine: Engine
    system: ServedSystem
    config: JudgeConfig
    name: str = "judge"

    def compare(
        self,
        pairs: Sequence[Pair],
        *,
        step: str,
        screen: bool = True,
        sample: int = 0,
        fresh: bool = False,
    ) -> list[Judgment]:
        """Return a judgment of each pair in each order.

        Args:
            pairs: What is compared.
            step: What the progress bar says.
            screen: Leave out pairs in which an answer speaks to its judge (`injection`).
            sample: 0 for the likeliest judgment, others are drawn.
            fresh: Take nothing from earlier runs.
        """
        asked = [(pair, order) for pair in pairs for order in orders_of(self.config.kind)]
        barred = {pair.id: self._bar(pair, screen) for pair in pairs}
        questions: list[Question] = []
        spans: list[slice] = []
        for pair, order in asked:
            begin = len(questions)
            if barred[pair.id] is None:
                questions += self._questions(pair, order, sample)
            spans.append(slice(begin, len(questions)))
        readings = ask(self.engine, self.system, questions, self.config, step=step, fresh=fresh)
        return [
            self._judgment(pair, order, sample, barred[pair.id], readings[span])
            for (pair, order), span in zip(asked, spans, strict=True)
        ]

    def _bar(self, pair: Pair, screen: bool) -> JudgeReason | None:
        """Return why a pair is not asked about."""
        if self.config.kind == "reference" and pair.prompt.reference is None:
            return "no_reference"
        if self.config.kind == "checklist" and not checklist_of(pair.prompt):
            return "no_checklist"
        return "injection" if screen and pair.speaks_to_judge() else None

    def _questions(self, pair: Pair, order: Order, sample: int) -> Iterator[Question]:
        kind = self.config.kind
        if order != "each_alone":
            yield Question(self._render(pair, pair.shown(order)), PREFERENCES, sample)
            return
        for text in pair.shown(order):
            if kind == "pointwise":
                yield Question(self._render(pair, [text]), tuple(GRADES), sample)
                continue
            for item in checklist_of(pair.prompt):
                yield Question(self._render(pair, [text], requirement=item), tuple(MET), sample)

    def _render(self, pair: Pair, answers: Sequence[str], **more: str) -> Messages:
        values = {
            "rubric": self.config.rubric,
            "task": task_text(pair.prompt.messages),
            "reference": pair.prompt.reference,
            **more,
        }
        return render(PROMPT_FILES[self.config.kind], answers, values)

    def _judgment(
        self,
        pair: Pair,
        order: Order,
        sample: int,
        barred: JudgeReason | None,
        readings: Sequence[Reading],
    ) -> Judgment:
        missing = barred or next((r.reason for r in readings if r.status == "missing"), None)
        fields: dict[str, Any] = {
            "reasoning": "\n\n".join(r.reasoning for r in readings if r.reasoning) or None,
            "off_label": _mean([r.off_label for r in readings if r.off_label is not None]),
        }
        if order != "each_alone" and readings and (mass := readings[0].mass):
            fields |= {"p_a": mass["A"], "p_b": mass["B"], "p_tie": mass["T"]}
        if missing is None:
            how = [r.decided_by for r in readings]
            fields |= {"status": "ok", **_scored(order, readings)}
            fields["decided_by"] = "structured" if "structured" in how else "logprobs"
        return Judgment(
            prompt_id=pair.id, order=order, judge=self.name, sample=sample, reason=missing, **fields
        )


def checklist_of(prompt: GoldenPrompt) -> list[str]:
    """Return a golden prompt's requirements."""
    return list(getattr(prompt, "checklist", None) or [])


def _scored(order: Order, readings: Sequence[Reading]) -> dict[str, float | None]:
    """Return the candidate's score: P(candidate) + P(tie) / 2, or from the two grades."""
    if order != "each_alone":
        shares = readings[0].shares
        own = shares["B" if order == "champion_first" else "A"]
        return {"score": own + shares["T"] / 2}
    half = len(readings) // 2
    grades = [_mean([_grade(r) for r in part]) for part in (readings[:half], readings[half:])]
    champion, candidate = (0.0 if g is None else g for g in grades)
    score = 0.5 + (candidate - champion) / 2
    return {"score": score, "grade_champion": champion, "grade_candidate": candidate}


def _grade(reading: Reading) -> float:
    worth = GRADES if set(reading.shares) == set(GRADES) else MET
    return sum(share * worth[label] for label, share in reading.shares.items())


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def collapse_scores(judgments: Sequence[Judgment]) -> dict[str, float | None]:
    """Return each prompt's score: over samples, then orders, then judges.

    A judge counts where it judged every order; where none did, the score is missing.
    """
    cells: dict[str, dict[str, dict[str, list[float]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for j in judgments:
        held = cells[j.prompt_id][j.judge][j.order]
        if j.score is not None:
            held.append(j.score)
    scores: dict[str, float | None] = {}
    for prompt, judges in cells.items():
        whole = [
            sum(sum(s) / len(s) for s in orders.values()) / len(orders)
            for orders in judges.values()
            if all(orders.values())
        ]
        scores[prompt] = _mean(whole)
    return scores
