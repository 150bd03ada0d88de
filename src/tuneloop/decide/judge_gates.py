"""The conditions a deciding judge must meet before its word counts."""

from __future__ import annotations

from tuneloop.artefacts.decision import Gate, GateStatus, JudgeReading
from tuneloop.config.decide import DecideConfig
from tuneloop.config.judge import JudgeConfig
from tuneloop.decide.measure import rounded

_JUDGE_DEFAULTS = JudgeConfig()


def gate_judge(reading: JudgeReading, config: DecideConfig) -> list[Gate]:
    """Return the gates of a deciding judge; without that role one skipped gate says so."""
    if reading.role != "deciding":
        return [Gate(name="judge", status="skipped", detail=reading.summary)]
    certified = reading.evaluation.get("certified")
    if certified is None:  # an evaluation of before there were certificates
        gates = [_gate_canaries(reading), _gate_orders(reading)]
    elif not certified and reading.evaluation.get("when_invalid") == "rules":
        detail = f"{_uncertified(reading)} The rules alone decide, as the config says."
        return [Gate(name="judge", status="skipped", detail=detail)]
    else:
        gates = [_gate_certificate(reading)]
    gates.append(_gate_judge_missing(reading))
    return gates if config.metric == "judge" else [*gates, _gate_win_rate(reading, config)]


def _gate_certificate(reading: JudgeReading) -> Gate:
    """Pass where at least one judge holds a certificate; only those were counted."""
    held = reading.evaluation.get("certificates") or []
    certified = reading.evaluation["certified"]
    if certified:
        status: GateStatus = "passed"
        detail = "The judge holds its certificate."
        if len(held) > 1:
            detail = f"{len(certified)} of {len(held)} judges hold a certificate; they alone count."
    else:
        failed = any(one["status"] == "failed" for one in held)
        status, detail = ("failed" if failed else "unproven"), _uncertified(reading)
    return Gate(
        name="judge_certificate", status=status, detail=detail, value=float(len(certified)), limit=1
    )


def _uncertified(reading: JudgeReading) -> str:
    """Return a sentence that says what every judge failed."""
    parts = []
    for one in reading.evaluation.get("certificates") or []:
        said = [f"it failed {', '.join(one['failed'])}"] if one["failed"] else []
        said += [f"{', '.join(one['unproven'])} could not be tested"] if one["unproven"] else []
        parts.append(f"{one['judge']} ({one['model']}): {'; '.join(said)}")
    return f"The judge holds no certificate and cannot be trusted: {' / '.join(parts)}."


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
    if found is None:
        of = _JUDGE_DEFAULTS if name in JudgeConfig.model_fields else _JUDGE_DEFAULTS.certificate
        found = getattr(of, name)
    return float(found)
