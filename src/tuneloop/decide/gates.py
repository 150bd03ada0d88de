"""The conditions of a promotion, each with what was measured and a sentence for people."""

from __future__ import annotations

from collections.abc import Sequence

from tuneloop.artefacts.decision import Gate, GateStatus, Primary, SliceResult
from tuneloop.config.decide import DecideConfig
from tuneloop.decide.measure import Measurement, rounded
from tuneloop.decide.outcomes import Evidence
from tuneloop.decide.wording import Wording
from tuneloop.statistics.rates import zero_failures_bound


def gate_systems(champion: str, candidate: str) -> Gate:
    """Pass if the two systems differ; a system cannot be better than itself."""
    if champion != candidate:
        return Gate(name="different_systems", status="passed", detail="Two different systems.")
    detail = f"Champion and candidate are the same system ({champion[:12]}): nothing to decide."
    return Gate(name="different_systems", status="failed", detail=detail)


def gate_missing(evidence: Evidence, config: DecideConfig) -> Gate:
    """Pass if few enough prompts lack an answer of either system."""
    n = len(evidence.prompts)
    lacking = {prompt for prompt, _ in evidence.answer_missing}
    share = len(lacking) / n if n else 1.0
    limit = config.max_missing_fraction
    status: GateStatus = "passed" if share <= limit else "failed"
    by_side = {side: sum(s == side for _, s in evidence.answer_missing)
               for side in ("champion", "candidate")}  # fmt: skip
    detail = (
        f"Both systems answered all {n} prompts."
        if not lacking
        else f"{len(lacking)} of {n} prompts lack an answer (champion {by_side['champion']}, "
        f"candidate {by_side['candidate']}); at most {100 * limit:g} % may."
    )
    return Gate(
        name="missing_answers", status=status, detail=detail, value=rounded(share), limit=limit
    )


def gate_hard_checks(evidence: Evidence, config: DecideConfig) -> Gate:
    """Fail on more failed hard checks of the candidate than allowed; one not run is unproven."""
    rows = [r for r in evidence.checks if r["hard"] and r["side"] == "candidate"]
    if not rows:
        return Gate(name="hard_checks", status="skipped", detail="No prompt has a hard check.")
    absent = evidence.answer_missing
    unknown = [r for r in rows if r["status"] != "ok" or (r["prompt_id"], r["side"]) in absent]
    failed = [r for r in rows if r not in unknown and r["passed"] is False]
    limit, n = config.max_hard_failures, len(rows) - len(unknown)
    status: GateStatus = "passed"
    if len(failed) > limit:
        status = "failed"
    elif len(failed) + len(unknown) > limit:
        status = "unproven"
    found, allowed = len(failed) or "none", limit or "none"
    detail = f"The candidate fails {found} of {n} hard checks; {allowed} may fail."
    if failed:
        worst = sorted({r["check"] for r in failed})
        detail += f" They are: {', '.join(worst)}."
    elif n:
        asked = {evidence.units[r["prompt_id"]] for r in rows if r not in unknown}
        bound = zero_failures_bound(len(asked), config.alpha)
        detail += (
            f" After {len(asked)} independent prompts the true rate may still be as high as"
            f" {100 * bound:.2g} %."
        )
    if unknown:
        detail += f" {len(unknown)} could not be run and count as failed until they are."
    return Gate(
        name="hard_checks", status=status, detail=detail, value=float(len(failed)), limit=limit
    )


def gate_primary(of: Measurement, primary: Primary, config: DecideConfig) -> Gate:
    """Pass if proven better, fail if proven worse, else unproven with what it would take."""
    words = Wording.of(primary)
    delta = config.min_improvement
    status: GateStatus = "unproven"
    if of.complete is None or of.against is None:
        detail = f"Nothing could be compared: {primary.reason}."
        return Gate(name="primary", status=status, detail=detail, limit=delta)
    if of.low > delta and max(of.complete.p_value, of.against.p_value) <= config.alpha:
        status = "passed"
        detail = words.better(primary)
    elif of.high < 0 and of.for_ and max(of.complete.p_below, of.for_.p_below) <= config.alpha:
        status = "failed"
        detail = words.worse(primary)
    else:
        detail = words.unproven(primary)
    if of.n_missing:
        detail += words.with_missing(of.low, of.high, of.n_missing)
    return Gate(name="primary", status=status, detail=detail, value=rounded(of.low), limit=delta)


def gate_slices(slices: Sequence[SliceResult], words: Wording) -> list[Gate]:
    """Return one gate per protected slice."""
    gates = []
    for part in slices:
        if not part.protected:
            continue
        detail = f"Protected slice '{part.name}': {part.detail}{words.slice_evidence(part)}."
        if part.n_needed:
            detail += f" About {part.n_needed} {words.units} would settle it."
        status: GateStatus = "unproven" if part.status == "reported" else part.status
        limit = None if part.margin is None else -part.margin
        low = part.bounds.ci_low if part.bounds else part.ci_low
        gates.append(
            Gate(name=f"slice:{part.name}", status=status, detail=detail, value=low, limit=limit)
        )
    return gates
