"""The verdict in a few lines of plain text, for the end of a run."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from tuneloop.artefacts.decision import DecisionRecord
from tuneloop.report.numbers import gap, interval, level, share

_WIDTH = 96


def verdict_text(decision: Mapping[str, Any] | DecisionRecord) -> str:
    """Return verdict, reasons, primary with its interval, gates, judge and what to do next.

    Args:
        decision: The contents of `decision.json`.
    """
    record = DecisionRecord.model_validate(decision)
    names = {side: system.spec.get("name", side) for side, system in record.systems.items()}
    lines = [f"{record.verdict}  {names['candidate']} against {names['champion']}", ""]
    said = [r for r in record.reasons if r != record.judge.summary]
    for reason in said:
        lines += _wrap(reason, _WIDTH, "  - ", "    ")
    lines += ["", _row(record.primary.metric, _primary(record))]
    by_status: dict[str, list[str]] = {}
    for gate in record.gates:
        by_status.setdefault(gate.status, []).append(gate.name)
    order = ("failed", "unproven", "passed", "skipped")
    gates = [f"{status}: {', '.join(by_status[status])}" for status in order if status in by_status]
    lines += [_row("gates", "; ".join(gates)), _row("judge", record.judge.summary)]
    lines += [_row("next", record.next_action.text)] if record.next_action else []
    return "\n".join(lines)


def _primary(record: DecisionRecord) -> str:
    p = record.primary
    if p.estimate is None:
        return f"not measured: {p.reason}"
    unit = "prompts" if p.unit == "prompt" else "families"
    champion, candidate = level(p.champion_rate, p.rates), level(p.candidate_rate, p.rates)
    return (
        f"champion {champion}, candidate {candidate}: "
        f"{gap(p.estimate, p.rates)} ({share(p.confidence)} interval {interval(p, p.rates)}), "
        f"{p.n} {unit}, {p.n_missing} missing; {p.method}"
    )


def _row(name: str, text: str) -> str:
    return "\n".join(_wrap(text, _WIDTH, f"{name:<10}", " " * 10))


def _wrap(text: str, width: int, first: str, rest: str) -> list[str]:
    """Wrap without parting a number from its percent sign."""
    glued = text.replace(" %", "\N{NO-BREAK SPACE}%")
    lines = textwrap.wrap(glued, width, initial_indent=first, subsequent_indent=rest)
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]
