"""Where people's labels take the judge's place: the primary, the slices, the judge's own gates."""

from __future__ import annotations

from collections.abc import Sequence

from tuneloop.artefacts.decision import Gate, GateStatus, PeopleReading, Primary, SliceResult
from tuneloop.config.decide import DecideConfig
from tuneloop.decide.measure import rounded
from tuneloop.decide.people import slice_of, wanted_text, weak_judge

METHOD = "PPI++: the judge on all pairs, people on some"
EXCUSED = " Human labels correct for it."


def put_right(primary: Primary, people: PeopleReading | None, config: DecideConfig) -> Primary:
    """Return the primary with people's numbers, where the judge was to decide and they do."""
    if people is None or not people.decides or config.metric != "judge":
        return primary
    assert people.estimate is not None
    return primary.model_copy(
        update={
            "status": "ok", "reason": None, "method": METHOD, "estimate": people.estimate,
            "ci_low": people.ci_low, "ci_high": people.ci_high, "p_value": None, "bounds": None,
            "n": people.n_pairs, "n_prompts": people.n_pairs + people.n_missing,
            "n_missing": people.n_missing, "champion_rate": 0.5 - people.estimate,
            "candidate_rate": 0.5 + people.estimate, "mde": None, "n_needed": None,
        }
    )  # fmt: skip


def slices_put_right(
    slices: Sequence[SliceResult], people: PeopleReading | None, config: DecideConfig
) -> list[SliceResult]:
    """Return the slices with people's numbers where enough of their pairs have a label.

    Where people decide overall and the judge hardly agrees with them, a protected slice without
    labels enough is unproven: that judge cannot speak for it.
    """
    if people is None or not people.decides or config.metric != "judge":
        return list(slices)
    return [_slice(one, people, config) for one in slices]


def _slice(of: SliceResult, people: PeopleReading, config: DecideConfig) -> SliceResult:
    said = slice_of(people, of.name)
    if said is None or not of.protected or of.margin is None:
        return of
    lacking = min(config.min_labels, said.n_pairs) - said.n_labels
    if lacking > 0 or said.estimate is None or said.ci_low is None or said.ci_high is None:
        if not weak_judge(people, config):
            return of
        detail = (
            f"judge and people hardly agree, and only {said.n_labels} of its {said.n_pairs} pairs"
            f" have a label: {lacking} more labels on it are needed"
        )
        return of.model_copy(update={"status": "unproven", "detail": detail, "n_needed": None})
    margin = f"{100 * of.margin:g} points"
    status, detail = "unproven", f"could be worse by {-100 * said.ci_low:.1f} points by people's"
    detail += f" labels, {margin} allowed; label more of it"
    if said.ci_low > -of.margin:
        status, detail = "passed", f"by people's labels not worse by {margin} or more"
    elif said.ci_high < -of.margin:
        status, detail = "failed", f"by people's labels worse by more than {margin}"
    return of.model_copy(
        update={
            "status": status, "detail": detail, "estimate": said.estimate, "ci_low": said.ci_low,
            "ci_high": said.ci_high, "method": METHOD, "p_value": None, "bounds": None,
            "n": said.n_pairs, "n_needed": None, "p_adjusted": None, "improved": False,
        }
    )  # fmt: skip


def gate_primary_by_people(primary: Primary, people: PeopleReading, config: DecideConfig) -> Gate:
    """Pass where the corrected bound is above the objective's limit, fail where it is below."""
    assert people.lower_bound is not None
    assert people.upper_bound is not None
    limit = config.limit
    status: GateStatus = "unproven"
    said = "Not proven better" if config.objective == "better" else "Could be worse"
    if people.lower_bound > limit:
        status, said = "passed", "The candidate is better"
        if config.objective != "better":
            said = f"The candidate is not worse by {100 * config.margin:g} points or more"
    elif people.upper_bound < min(0.0, limit):
        status, said = "failed", "The candidate is worse"
    detail = (
        f"{said}: corrected by {people.n_labels} human labels its win rate is"
        f" {100 * (0.5 + (primary.estimate or 0.0)):.1f} %, one-sided bounds"
        f" {100 * (0.5 + people.lower_bound):.1f} and {100 * (0.5 + people.upper_bound):.1f} %;"
        f" the lower one must be above {100 * (0.5 + limit):g} %."
    )
    if status == "unproven":
        detail += wanted_text(people) or " More labels alone will not settle it."
    return Gate(name="primary", status=status, detail=detail, value=people.lower_bound, limit=limit)


def gate_people(people: PeopleReading | None, config: DecideConfig) -> list[Gate]:
    """Return the gate of the labels themselves: none where nobody was asked and no judge decides.

    A judge that people contradict decides nothing, once that is proven.
    """
    if people is None:
        return []
    name, kappa_high = "human_labels", (people.agreement or {}).get("kappa_high")
    n, limit = float(people.n_labels), float(config.min_labels)
    if people.decides:
        return [Gate(name=name, status="passed", detail=people.summary, value=n, limit=limit)]
    if kappa_high is not None and kappa_high < config.min_kappa:
        detail = (
            f"People contradict the judge (kappa at most {kappa_high:.2f}): only people can decide,"
            f" and {people.n_labels} labels are too few.{wanted_text(people)}"
        )
        return [Gate(name=name, status="unproven", detail=detail, value=n, limit=limit)]
    return [Gate(name=name, status="skipped", detail=people.summary, value=n, limit=limit)]


def excuse_judge(gates: Sequence[Gate], people: PeopleReading | None) -> list[Gate]:
    """Return the judge's own gates, its faults stated and no obstacle where people decide."""
    if people is None or not people.decides:
        return list(gates)
    return [_excused(gate, people) for gate in gates]


def _excused(gate: Gate, people: PeopleReading) -> Gate:
    if gate.name != "judge_win_rate":
        if gate.status not in ("failed", "unproven"):
            return gate
        return gate.model_copy(update={"status": "skipped", "detail": gate.detail + EXCUSED})
    assert people.lower_bound is not None
    limit = 0.5 if gate.limit is None else gate.limit
    low = 0.5 + people.lower_bound
    status: GateStatus = "passed" if low > limit else "unproven"
    detail = (
        f"Corrected by {people.n_labels} human labels the candidate's win rate is at least"
        f" {100 * low:.1f} %; it must be above {100 * limit:g} %."
    )
    detail += "" if status == "passed" else wanted_text(people)
    return gate.model_copy(update={"status": status, "detail": detail, "value": rounded(low)})
