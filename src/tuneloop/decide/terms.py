"""The terms of a decision beside its evidence: policy, error budget, scope, and what follows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tuneloop.artefacts.decision import (
    DecisionRecord,
    ErrorBudget,
    Expiry,
    Gate,
    NextAction,
    PeopleReading,
    Primary,
    SliceResult,
    Verdict,
)
from tuneloop.artefacts.digest import digest_json
from tuneloop.artefacts.labels import HumanLabels
from tuneloop.artefacts.ledger import Question, spend
from tuneloop.artefacts.store import Store
from tuneloop.config.decide import DecideConfig
from tuneloop.config.policy import PolicyConfig
from tuneloop.config.schema import RunConfig
from tuneloop.errors import DecisionError


@dataclass(frozen=True)
class Terms:
    """What a decision is made under. `author` is who ran it; it is in no digest."""

    policy: PolicyConfig | None = None
    budget: ErrorBudget | None = None
    scope: Mapping[str, str] = field(default_factory=dict)
    author: str | None = None
    labels: HumanLabels | None = None

    @classmethod
    def of(cls, record: DecisionRecord) -> Terms:
        """Return the terms a recorded decision was made under."""
        policy = PolicyConfig.model_validate(record.policy) if record.policy else None
        labels = record.people.labels if record.people else None
        return cls(policy=policy, budget=record.error_budget, scope=record.scope, labels=labels)


def open_terms(
    config: RunConfig,
    store: Store,
    asked: tuple[str, str, str],
    *,
    policy: PolicyConfig | None,
    author: str | None,
    labels: HumanLabels | None = None,
) -> Terms:
    """Return the terms of a run's decision; its question is entered in the ledger.

    Args:
        config: The run.
        store: Where the ledger is.
        asked: Digests of the golden set, the champion and the candidate.
        policy: The run's policy.
        author: Who runs it.
        labels: What people said. With other labels it is another question: whoever looks again
            after each batch looks more than once.
    """
    golden, champion, candidate = asked
    c = config.decide
    question = Question(
        golden=golden, champion=champion, candidate=candidate, metric=c.metric,
        objective=c.objective, margin=c.limit, alpha=c.level, labels=labels_digest(labels),
    )  # fmt: skip
    spent = spend(store, question)
    budget = ErrorBudget(
        golden=golden,
        n_before=len(spent),
        alpha_before=round(sum(spent), 9),
        alpha=question.alpha,
        total=policy.error_budget.total if policy and policy.error_budget else None,
    )
    scope = {"tenant": config.tenant, "task": config.task, "env": config.env}
    return Terms(policy=policy, budget=budget, scope=scope, author=author, labels=labels)


def labels_digest(labels: HumanLabels | None) -> str | None:
    """Return what tells a set of labels from another, or None where there is none."""
    return digest_json(labels.model_dump(mode="json")) if labels else None


def effective(config: DecideConfig, policy: PolicyConfig | None) -> DecideConfig:
    """Return a config with what its policy adds: slices, margins, how long it holds.

    Raises:
        DecisionError: if the level is above what the policy allows.
    """
    if policy is None:
        return config
    most = policy.error_budget.max_alpha if policy.error_budget else 1.0
    if config.alpha > most:
        raise DecisionError(
            f"alpha {config.alpha:g} is above the {most:g} that policy {policy.name!r} allows",
            where="decide.alpha",
        )
    margins = dict(config.slice_margins)
    for name, margin in policy.protected_slices.items():
        own = config.margin_of(name) if name in config.protected_slices else margin
        margins[name] = min(margin, own)
    return config.model_copy(
        update={
            "protected_slices": sorted({*config.protected_slices, *policy.protected_slices}),
            "slice_margins": margins,
            "valid_days": policy.valid_days or config.valid_days,
        }
    )


def gate_budget(budget: ErrorBudget | None) -> list[Gate]:
    """Return the gate of the error budget; none where there is no limit."""
    if budget is None or budget.total is None:
        return []
    from tuneloop.statistics.multiplicity import next_alpha

    spent = budget.alpha_before + budget.alpha
    left = next_alpha(budget.alpha, budget.total, [budget.alpha_before])
    used = (
        f"{budget.n_before} different questions to this version of the golden set "
        f"({budget.golden[:12]}) spent {budget.alpha_before:g} of its error budget {budget.total:g}"
    )
    if left is not None:
        detail = f"{used}; this one spends {budget.alpha:g}."
        return [Gate(name="error_budget", status="passed", detail=detail, value=spent,
                     limit=budget.total)]  # fmt: skip
    detail = (
        f"{used}, and {budget.alpha:g} more is above it: a chance find would pass for proof. "
        "Rotate the golden set, or add fresh prompts to it."
    )
    return [Gate(name="error_budget", status="unproven", detail=detail, value=spent,
                 limit=budget.total)]  # fmt: skip


def harden(gates: Sequence[Gate], hard: Sequence[str]) -> list[Gate]:
    """Return the gates with those that a policy asks for unproven where they were skipped.

    Raises:
        DecisionError: if the policy names a gate that there is not.
    """
    names = {gate.name for gate in gates}
    unknown = sorted(set(hard) - names)
    if unknown:
        raise DecisionError(
            f"the policy's hard gates {', '.join(unknown)} are none of this decision's",
            where="hard_gates",
            hint=f"it has: {', '.join(sorted(names))}",
        )
    return [
        gate.model_copy(
            update={"status": "unproven", "detail": f"{gate.detail} The policy asks for it."}
        )
        if gate.name in hard and gate.status == "skipped"
        else gate
        for gate in gates
    ]


def expiry(config: DecideConfig) -> Expiry:
    """Return for how long a verdict may be acted on."""
    return Expiry(days=config.valid_days)


def next_action(
    verdict: Verdict, binding: Gate | None, primary: Primary, slices: Sequence[SliceResult],
    policy: PolicyConfig | None, people: PeopleReading | None = None,
) -> NextAction:  # fmt: skip
    """Return what to do next, by the gate that binds."""
    if verdict == "PROMOTE":
        n = policy.approvals.n if policy else 0
        if n:
            who = "one person" if n == 1 else f"{n} different persons"
            return NextAction(
                kind="approve", n=n, text=f"Have {who} approve it (`tuneloop approve`)."
            )
        return NextAction(kind="promote", text="The alias moves; keep the champion to go back to.")
    if verdict == "REJECT" or binding is None:
        return NextAction(kind="stop", text="Look at the prompts it lost; train or prompt anew.")
    return _by_labels(binding, people) or _unblock(binding, primary, slices)


def _by_labels(gate: Gate, people: PeopleReading | None) -> NextAction | None:
    """Return how many labels would settle it, where people decide or the judge cannot."""
    about_judge = gate.name.startswith("judge") or gate.name == "human_labels"
    primary = gate.name == "primary" and people is not None and people.decides
    if people is None or not people.more_labels or not (about_judge or primary):
        return None
    n, where = people.more_labels, people.on_slice
    text = f"Label {n} more pairs{f' of the slice {where!r}' if where else ''} (`tuneloop label`)"
    if about_judge and not people.decides:
        text += ": then people decide, whatever the judge's faults. Or take a judge that holds"
    return NextAction(kind="label_pairs", n=n, slice=where, text=f"{text}.")


_JUDGE = {
    "judge_missing": "Find out why judgments are missing; run again.",
    "judge_length": "Have people label pairs, or make answers of like length.",
    "judge_win_rate": "Read the prompts where judge and checks disagree, or add prompts to judge.",
}


def _unblock(gate: Gate, primary: Primary, slices: Sequence[SliceResult]) -> NextAction:
    name = gate.name
    if name == "different_systems":
        return NextAction(kind="name_another", text="Name two different systems.")
    if name == "error_budget":
        return NextAction(kind="rotate_golden", text="Rotate the golden set or add fresh prompts.")
    if name == "missing_answers":
        return NextAction(kind="fix_answers", text="Find out why answers are missing; run again.")
    if name.startswith("cheaper:"):
        return NextAction(kind="measure_costs", text="Measure price or latency on more prompts.")
    if name.startswith("judge"):
        text = _JUDGE.get(name, "Take a judge that holds its canaries and orders.")
        return NextAction(kind="fix_judge", text=text)
    if name == "hard_checks":
        return NextAction(kind="run_checks", text="Get an answer to every hard check; run again.")
    if name.startswith("slice:"):
        part = next(s for s in slices if s.name == name.removeprefix("slice:"))
        more = max((part.n_needed or 0) - part.n, 0) or None
        text = f"Add about {more} prompts" if more else "Add prompts, or mend what got worse,"
        return NextAction(
            kind="add_prompts", n=more, slice=part.name, text=f"{text} of the slice {part.name!r}."
        )
    more = max((primary.n_needed or 0) - primary.n, 0) or None
    if more:
        text = f"Add about {more} golden prompts, or make the candidate better."
    else:
        text = "Make the candidate better: more prompts alone will not show what is not there."
    return NextAction(kind="add_prompts" if more else "stop", n=more, text=text)


def policy_record(policy: PolicyConfig | None) -> dict[str, Any] | None:
    """Return a policy as the decision keeps it, whole."""
    return policy.model_dump(mode="json", by_alias=True) if policy else None
