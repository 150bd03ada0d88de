"""The decision: from an evaluation to a verdict with its reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuneloop.artefacts.manifest import Counts
from tuneloop.artefacts.stage import Evaluation, StageContext, StageOutput
from tuneloop.config.decide import DecideConfig

if TYPE_CHECKING:
    from tuneloop.artefacts.decision import (
        DecisionRecord,
        Gate,
        JudgeReading,
        PeopleReading,
        Primary,
        SliceResult,
        SystemRef,
        Verdict,
    )
    from tuneloop.decide.measure import Measurement
    from tuneloop.decide.outcomes import Evidence, Pair
    from tuneloop.decide.terms import Terms
    from tuneloop.statistics.resampling import Resampling


def decide(
    evaluation: Evaluation,
    config: DecideConfig,
    context: StageContext,
    *,
    terms: Terms | None = None,
) -> StageOutput:
    """Compare champion and candidate and write `decision.json`.

    PROMOTE if every gate passes; REJECT if the candidate is proven worse, on the primary or
    on a protected slice by more than its margin, or breaks a hard rule; else HOLD, with the
    binding constraint first among the reasons.

    Raises:
        DecisionError: if the evaluation has no metric of the configured name.
    """
    from tuneloop.decide.outcomes import read_evidence

    evidence = read_evidence(evaluation)
    context.progress.start("weighing the evidence")
    lineage = {"evaluation": evaluation.digest}
    record = weigh(evidence, config, seed=context.seed, lineage=lineage, terms=terms)
    context.progress.done(record.verdict)
    path = context.work / "decision.json"
    path.write_text(record.model_dump_json(indent=1) + "\n", encoding="utf-8")
    n, scored = len(evidence.prompts), record.primary.n_prompts - record.primary.n_missing
    dropped = {"not scored": n - record.primary.n_prompts, "missing": record.primary.n_missing}
    counts = Counts(n_in=n, dropped={k: v for k, v in dropped.items() if v}, n_out=scored)
    details = {"verdict": record.verdict, "author": terms.author if terms else None}
    usage = evaluation.manifest.details.get("usage")  # timed in passing: in no digest
    return StageOutput(
        files={"decision.json": path}, counts=counts, details=details | {"usage": usage}
    )


def weigh(
    evidence: Evidence,
    config: DecideConfig,
    *,
    seed: int,
    lineage: Mapping[str, str],
    terms: Terms | None = None,
) -> DecisionRecord:
    """Return the decision on an evaluation's rows; the same rows and terms give the same bytes."""
    from tuneloop.artefacts.decision import DecisionRecord
    from tuneloop.decide import costs as c
    from tuneloop.decide import objective as o
    from tuneloop.decide import terms as t
    from tuneloop.decide.measure import rank_outcomes
    from tuneloop.decide.outcomes import values_of
    from tuneloop.statistics.resampling import Resampling

    terms = terms or t.Terms()
    asked = t.effective(config, terms.policy)
    config = asked.model_copy(update={"alpha": asked.level, "n_candidates": 1})
    how = Resampling(alpha=config.alpha, n_bootstrap=config.n_bootstrap, seed=seed)
    pairs = values_of(evidence, config.metric)
    found = _measure(evidence, pairs, config, terms, how)
    primary, slices, judge, people = found.primary, found.slices, found.judge, found.people
    spending = {side: c.read_spending(evidence, side) for side in c.SIDES}
    costs = {side: c.state_costs(of, config.alpha) for side, of in spending.items()}
    cheaper = c.gate_cheaper(**spending, units=evidence.units, config=config)
    gates = _gates(evidence, found, config, terms, cheaper, how)
    hard = terms.policy.hard_gates if terms.policy else []
    verdict, reasons = conclude(gates, judged=config.metric == "judge", hard=hard)
    binding = next((gate for gate in gates if gate.detail == reasons[0]), None)
    return DecisionRecord(
        verdict=verdict,
        reasons=reasons,
        primary=primary,
        slices=slices,
        gates=gates,
        judge=judge,
        systems={side: _system(evidence, side) for side in c.SIDES},
        outcomes=rank_outcomes(pairs),
        lineage=dict(lineage),
        objective=config.objective,
        n_candidates=asked.n_candidates,
        evidence=o.evidence_by_metric(primary, judge, costs, gates),
        costs=costs,
        scope=dict(terms.scope),
        policy=t.policy_record(terms.policy),
        error_budget=terms.budget,
        expiry=t.expiry(config),
        next_action=t.next_action(verdict, binding, primary, slices, terms.policy, people),
        people=people,
    )


@dataclass(frozen=True)
class _Found:
    """What was measured, before any gate."""

    measured: Measurement
    primary: Primary
    slices: list[SliceResult]
    judge: JudgeReading
    people: PeopleReading | None


def _measure(
    evidence: Evidence,
    pairs: Mapping[str, Pair],
    config: DecideConfig,
    terms: Terms,
    how: Resampling,
) -> _Found:
    """Return every figure the gates need; people's in the judge's place where they decide."""
    from tuneloop.decide import objective as o
    from tuneloop.decide.judge import read_judge
    from tuneloop.decide.measure import measure_both, measure_slices, state_primary
    from tuneloop.decide.people import read_people
    from tuneloop.decide.people_gates import put_right, slices_put_right

    units = evidence.units
    measured, other = measure_both(pairs, evidence, how, config)
    primary = state_primary(measured, {p: units[p] for p in pairs}, o.limit_of(config), other)
    slices = measure_slices(pairs, evidence.prompts, units, config, how)
    judge = read_judge(evidence.evaluation.get("judge") or {}, evidence.judgments, units, how)
    people = read_people(evidence, terms.labels, config)
    return _Found(
        measured=measured,
        primary=put_right(primary, people, config),
        slices=slices_put_right(slices, people, config),
        judge=judge,
        people=people,
    )


def _gates(
    evidence: Evidence,
    found: _Found,
    config: DecideConfig,
    terms: Terms,
    cheaper: Sequence[Gate],
    how: Resampling,
) -> list[Gate]:
    """Return every condition of the promotion, in the order in which they bind."""
    from tuneloop.decide import gates as g
    from tuneloop.decide import objective as o
    from tuneloop.decide import people_gates as p
    from tuneloop.decide import terms as t
    from tuneloop.decide.judge_gates import gate_judge
    from tuneloop.decide.length import gate_length
    from tuneloop.decide.wording import Wording

    better = config.objective == "better"
    champion, candidate = (_system(evidence, side) for side in ("champion", "candidate"))
    gate_primary = g.gate_primary if better else o.gate_not_worse
    if found.people and found.people.decides and config.metric == "judge":
        primary = p.gate_primary_by_people(found.primary, found.people, config)
    else:
        primary = gate_primary(found.measured, found.primary, config)
    gates = [
        g.gate_systems(champion.digest, candidate.digest),
        *t.gate_budget(terms.budget),
        g.gate_missing(evidence, config),
        primary,
        *([] if better else cheaper),
        *g.gate_slices(found.slices, Wording.of(found.primary)),
        g.gate_hard_checks(evidence, config),
        *p.excuse_judge(
            [*gate_judge(found.judge, config), *gate_length(evidence, how)], found.people
        ),
        *p.gate_people(found.people, config),
    ]
    hard = terms.policy.hard_gates if terms.policy else []
    return o.name_metrics(t.harden(gates, hard), config.metric)


def conclude(
    gates: Sequence[Gate], *, judged: bool, hard: Sequence[str] = ()
) -> tuple[Verdict, list[str]]:
    """Return the verdict and its reasons, the binding one first.

    What could not be measured well proves nothing in either direction: with too many answers
    missing, the golden set's error budget spent, or a deciding judge that failed, the primary
    and the slices reject as little as they promote. So swapping the systems swaps the verdict,
    but for what is asked of the candidate alone: slices, hard checks, a margin.

    Args:
        gates: In the order in which they bind.
        judged: Whether the primary is the judge's win rate.
        hard: Gates that reject where they failed, because the policy says so.
    """
    by_name = {gate.name: gate for gate in gates}
    same = by_name["different_systems"].status != "passed"
    instrument = [gate for gate in gates if _is_instrument(gate, judged)]
    broken = any(gate.status in ("failed", "unproven") for gate in instrument)
    rejecting = [g for g in gates if g.status == "failed" and _rejects(g, hard, broken)]
    open_ = [gate for gate in gates if gate.status in ("failed", "unproven")]
    spoken = [g.detail for g in sorted(gates, key=_telling) if g.status in ("passed", "skipped")]
    if same:
        return "HOLD", [by_name["different_systems"].detail]
    if rejecting:
        rejecting.sort(key=lambda gate: gate.name != "hard_checks")
        others = [gate for gate in open_ if gate not in rejecting]
        return "REJECT", [gate.detail for gate in (*rejecting, *others)]
    if open_:
        if broken:
            open_.sort(key=lambda gate: gate not in instrument)
        return "HOLD", [gate.detail for gate in open_] + spoken[:-1]
    return "PROMOTE", spoken[:-1]  # that the systems differ goes without saying


def _telling(gate: Gate) -> int:
    """Order of what speaks for a candidate: the gain, what it may not cost, the small print."""
    ranks = {"primary": 0, "hard_checks": 2, "missing_answers": 3, "different_systems": 5}
    return ranks.get(gate.name, 1 if gate.name.startswith("slice:") else 4)


def _is_instrument(gate: Gate, judged: bool) -> bool:
    """Return whether a gate is about what was measured with, and not about the systems."""
    if gate.name in ("missing_answers", "error_budget"):
        return True
    return judged and gate.name.startswith("judge_")


def _rejects(gate: Gate, hard: Sequence[str], broken: bool) -> bool:
    if gate.name == "primary" or gate.name.startswith("slice:"):
        return not broken
    return gate.name == "hard_checks" or gate.name in hard


def _system(evidence: Evidence, side: str) -> SystemRef:
    from tuneloop.artefacts.decision import SystemRef

    recorded: dict[str, Any] = dict(evidence.evaluation["systems"][side])
    digest = recorded.pop("digest")
    return SystemRef(digest=digest, spec=recorded.get("spec", recorded))
