"""The conditions of a promotion, each with what was measured and a sentence for people."""

from __future__ import annotations

from collections.abc import Sequence

from tuneloop.artefacts.decision import Gate, GateStatus, JudgeReading, Primary, SliceResult
from tuneloop.config.decide import DecideConfig
from tuneloop.config.evaluate import JudgeConfig
from tuneloop.decide.measure import Measurement, rounded
from tuneloop.decide.outcomes import Evidence
from tuneloop.decide.statistics import zero_failures_bound
from tuneloop.decide.wording import Wording

_JUDGE_DEFAULTS = JudgeConfig()


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
    elif of.high < 0:
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


def gate_judge(reading: JudgeReading, config: DecideConfig) -> list[Gate]:
    """Return the gates of a deciding judge; without that role one skipped gate says so."""
    if reading.role != "deciding":
        return [Gate(name="judge", status="skipped", detail=reading.summary)]
    gates = [_gate_canaries(reading), _gate_orders(reading), _gate_judge_missing(reading)]
    return gates if config.metric == "judge" else [*gates, _gate_win_rate(reading, config)]


def _gate_canaries(reading: JudgeReading) -> Gate:
    bad = sorted(n for n, status in reading.canaries.items() if status != "passed")
    failed = any(reading.canaries[name] == "failed" for name in bad)
    if not reading.canaries:
        status: GateStatus = "unproven"
        detail = "The judge decides, but no canary tested it."
    elif bad:
        status = "failed" if failed else "unproven"
        detail = f"The judge cannot be trusted: it did not hold {', '.join(bad)}."
    else:
        status, detail = "passed", f"The judge held all {len(reading.canaries)} canaries."
    return Gate(name="judge_canaries", status=status, detail=detail, value=float(len(bad)), limit=0)


def _gate_orders(reading: JudgeReading) -> Gate:
    limit = float(_limit(reading, "min_order_agreement"))
    found = reading.order_agreement
    if found is None:
        detail = "No prompt was judged in both orders."
        return Gate(name="judge_orders", status="unproven", detail=detail, limit=limit)
    detail = f"The judge's two orders agree on {100 * found:.0f} %; {100 * limit:g} % are needed."
    status: GateStatus = "passed" if found >= limit else "failed"
    return Gate(name="judge_orders", status=status, detail=detail, value=found, limit=limit)


def _gate_judge_missing(reading: JudgeReading) -> Gate:
    limit = float(_limit(reading, "max_missing_fraction"))
    share = reading.missing_fraction
    if share is None:
        detail = "The judge left no judgment."
        return Gate(name="judge_missing", status="unproven", detail=detail, limit=limit)
    detail = f"{100 * share:.1f} % of the judgments are missing; at most {100 * limit:g} % may be."
    status: GateStatus = "passed" if share <= limit else "failed"
    return Gate(name="judge_missing", status=status, detail=detail, value=share, limit=limit)


def _gate_win_rate(reading: JudgeReading, config: DecideConfig) -> Gate:
    rate, limit = reading.win_rate, 0.5 - config.judge_margin
    if rate is None or rate.ci_low is None or rate.estimate is None:
        detail = "The judge's win rate could not be measured."
        return Gate(name="judge_win_rate", status="unproven", detail=detail, limit=limit)
    low = 0.5 + (rate.bounds.ci_low if rate.bounds else rate.ci_low)
    detail = (
        f"The judge prefers the candidate in {100 * (0.5 + rate.estimate):.1f} % of {rate.n}; the "
        f"lower bound {100 * low:.1f} % must be above {100 * limit:g} %."
    )
    status: GateStatus = "passed" if low > limit else "unproven"
    return Gate(
        name="judge_win_rate", status=status, detail=detail, value=rounded(low), limit=limit
    )


def _limit(reading: JudgeReading, name: str) -> float:
    """Return a limit as the evaluation recorded it, or its default."""
    found = reading.evaluation.get(name)
    return float(getattr(_JUDGE_DEFAULTS, name) if found is None else found)
