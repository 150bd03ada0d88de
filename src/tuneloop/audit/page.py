"""An audit as one document, as lines for a terminal, and as a page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from tuneloop.audit.events import Log
from tuneloop.audit.pairs import count_pairs
from tuneloop.audit.people import concentration
from tuneloop.audit.wins import audit_judgments
from tuneloop.compare.reading import Judgment
from tuneloop.config.compare import CompareConfig

SHOWN_SHARE = 0.01
"""Kinds of traffic with a smaller share are not listed as unseen."""


def audit(log: Log, judgments: Sequence[Judgment], config: CompareConfig) -> dict[str, Any]:
    """Return everything an export and past judgments say, each figure with n and interval."""
    found = audit_judgments(judgments, config)
    found["golden"]["unseen"] = _unseen(log, judgments)
    return {
        "schema_version": 1,
        "export": {
            "format": log.format,
            "n_records": log.n_records,
            "n_rejected": sum(log.rejected.values()),
            "rejected": dict(sorted(log.rejected.items())),
            "examples": log.example,
            "n_repeated": log.n_repeated,
            "n_interactions": len(log.answers),
            "n_feedback": len(log.words),
            "signals": dict(sorted(log.signals.items())),
        },
        "wins": {k: v for k, v in found.items() if k not in ("golden", "judge")},
        "golden": found["golden"],
        "people": concentration(log, seed=config.seed),
        "judge": found["judge"],
        "pairs": count_pairs(log),
        "confidence": config.confidence,
        "seed": config.seed,
    }


def _unseen(log: Log, judgments: Sequence[Judgment]) -> list[dict[str, Any]]:
    """Return kinds of traffic (segment, intent) that no slice of the judgments names."""
    named = {str(v) for j in judgments for v in (j.slice or {}).values() if v is not None}
    if not named:
        return []
    kinds = Counter(kind for answer in log.answers.values() for kind in set(answer.kinds))
    n = max(len(log.answers), 1)
    return [
        {"name": kind, "n": count, "share": count / n}
        for kind, count in kinds.most_common()
        if kind not in named and count / n >= SHOWN_SHARE
    ]


def audit_lines(found: dict[str, Any]) -> list[str]:
    """Return an audit as people read it in a terminal."""
    return [line for part in headlines(found) for line in (part["title"], *part["lines"], "")][:-1]


def headlines(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the five answers, each with a title and its lines; the page has the same."""
    return [
        _wins(found["wins"]),
        _golden(found["golden"]),
        _people(found["people"]),
        _judge(found["judge"]),
        _pairs(found["pairs"], found["export"]),
    ]


def _wins(wins: dict[str, Any]) -> dict[str, Any]:
    n, claimed, noise = len(wins["comparisons"]), wins["n_claimed"], wins["n_noise"]
    title = f"1. Of {claimed} past wins {noise} not proven ({n} comparisons)"
    lines = []
    for one in wins["comparisons"]:
        naive, said = one["naive"], f"  {one['finding']:<7} {one['comparison']}: "
        if naive["win_rate"] is None:
            lines.append(f"{said}no usable judgment ({one['n_missing']} missing)")
            continue
        lines.append(
            f"{said}{_rate(naive)} as {naive['n']:,} independent rows; by"
            f" {one['n_clusters']:,} clusters {_rate(one)}; {one['n_missing']:,} missing →"
            f" {one['verdict']}"
        )
        lines.append(f"          {one['reason']}")
    if n > 1:
        lines.append(
            f"  With {n} comparisons about {wins['expected_false']:g} would win by luck alone;"
            f" counted together (Holm), {wins['n_proven_together']} stand."
        )
    return {"title": title, "lines": lines}


def _golden(golden: dict[str, Any]) -> dict[str, Any]:
    rows = golden["rows"]
    points = rows[0]["points"]
    seen = "nothing" if points is None else f"less than {points:.1f} points"
    title = f"2. Your golden set cannot see {seen}"
    lines = [f"  {'':<28}{'prompts':>8} {'clusters':>9}   smallest true difference (80 % power)"]
    for row in rows:
        text = "nothing was scored"
        if row["points"] is not None:
            text = f"{row['points']:.1f} points"
            if "points_low" in row:
                text += f" ({row['points_low']:.1f} to {row['points_high']:.1f})"
            text += f"; {row['reason']}" if "reason" in row else ""
        lines.append(f"  {row['name']:<28}{row['n_prompts']:>8,} {row['n_clusters']:>9,}   {text}")
    lines += [
        f"  in no slice: {one['name']}, {100 * one['share']:.1f} % of the traffic"
        f" ({one['n']:,} interactions)"
        for one in golden["unseen"]
    ]
    return {"title": title, "lines": lines}


def _people(people: dict[str, Any]) -> dict[str, Any]:
    if people["status"] != "ok":
        title = "3. Who gives the feedback is not known"
        return {"title": title, "lines": [f"  {people['reason']} (n = {people['n_feedback']:,})"]}
    n = people["n_people"]
    title = f"3. Half of the feedback comes from {people['half_from']:,} of {n:,} people"
    rows = [
        ("share of the busiest person", "top_1_share"),
        ("share of the busiest ten", "top_10_share"),
        ("share of the busiest tenth", "top_tenth_share"), ("Gini coefficient", "gini"),
        ("effective number of people", "effective_people"),
    ]  # fmt: skip
    lines = [f"  {label:<30}{_figure(people, key)}" for label, key in rows]
    missing = f"; {people['n_missing']:,} more name nobody" if people["n_missing"] else ""
    lines.append(f"  n = {people['n_attributed']:,} signals{missing}")
    return {"title": title, "lines": lines}


def _judge(judge: dict[str, Any]) -> dict[str, Any]:
    position, agreement = judge["position"], judge["agreement"]
    length = judge["length_controlled"]
    lines, leans = [], []
    if position["first_rate"] is not None:
        rate = {"win_rate": position["first_rate"], "ci_low": position["first_rate_low"],
                "ci_high": position["first_rate_high"]}  # fmt: skip
        lines.append(
            f"  for the answer shown first: {_rate(rate)}, n = {position['n_judgments']:,}"
        )
        low, high = rate["ci_low"], rate["ci_high"]
        if low is not None and not low <= 0.5 <= high:
            leans.append("to the first place" if low > 0.5 else "to the second place")
    if position["consistency"] is not None:
        same = {"win_rate": position["consistency"], "ci_low": position["consistency_low"],
                "ci_high": position["consistency_high"]}  # fmt: skip
        lines.append(
            f"  both orders judged alike: {_rate(same)}, n = {position['n_both_orders']:,}"
        )
    if length:
        lines.append(
            f"  with length held equal {_rate(length)}, raw {100 * judge['win_rate']:.1f} %"
            f" (slope {length['slope']:+.2f}), n = {length['n']:,}"
        )
        if not length["ci_low"] <= judge["win_rate"] <= length["ci_high"]:
            leans.append("to length")
    if agreement and agreement["kappa"] is not None:
        lines.append(
            f"  agreement with people: {100 * agreement['accuracy']:.1f} %, kappa"
            f" {agreement['kappa']:.2f} ({agreement['kappa_low']:.2f} to"
            f" {agreement['kappa_high']:.2f}), n = {agreement['n']:,}"
        )
        if agreement["kappa_high"] < 0.2:
            leans.append("away from people")
    lines += [f"  not measured: {k} ({v})" for k, v in judge["not_measured"].items()]
    lines.append(f"  {judge['n_missing']:,} of {judge['n_rows']:,} judgments are missing")
    title = (
        f"4. Your judge leans {' and '.join(leans)}"
        if leans
        else "4. No lean of your judge is proven"
    )
    return {"title": title, "lines": lines}


def _pairs(pairs: dict[str, Any], export: dict[str, Any]) -> dict[str, Any]:
    title = f"5. You have {pairs['n_usable']:,} usable pairs on {pairs['n_prompts']:,} prompts"
    lines = [f"  stated {pairs['n_stated']:,}: " + _listed(pairs["by_source"])]
    if pairs["lost"]:
        lines.append(f"  lost: {_listed(pairs['lost'])}")
    if pairs["usable_share"] is not None:
        share = {"win_rate": pairs["usable_share"], "ci_low": pairs["usable_share_low"],
                 "ci_high": pairs["usable_share_high"]}  # fmt: skip
        lines.append(f"  usable: {_rate(share)} of what is stated, n = {pairs['n_stated']:,}")
    lines.append(
        f"  from {pairs['n_interactions']:,} interactions with {pairs['n_distinct_prompts']:,}"
        f" distinct prompts ({export['format']}; {export['n_records']:,} records,"
        f" {export['n_rejected']:,} unusable)"
    )
    lines += [
        f"    unusable: {n:,} {reason} ({export['examples'].get(reason, '')})"
        for reason, n in export["rejected"].items()
    ]
    return {"title": title, "lines": lines}


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {name}" for name, n in counts.items()) or "none"


def _rate(of: dict[str, Any]) -> str:
    text = "unknown" if of["win_rate"] is None else f"{100 * of['win_rate']:.1f} %"
    if of.get("ci_low") is None:
        return text
    return f"{text} ({100 * of['ci_low']:.1f} to {100 * of['ci_high']:.1f})"


def _figure(people: dict[str, Any], key: str) -> str:
    scale, unit = (100, " %") if key.endswith("share") else (1, "")
    shown = ".2f" if key == "gini" else ".1f"
    text = f"{scale * people[key]:{shown}}{unit}"
    if f"{key}_low" not in people:
        return text
    low, high = scale * people[f"{key}_low"], scale * people[f"{key}_high"]
    return f"{text} ({low:{shown}} to {high:{shown}})"


def audit_page(found: dict[str, Any], *, title: str) -> str:
    """Return the page. Autoescape is on: what logs and judgments say is data, never markup."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tuneloop.audit"), autoescape=True,
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    template = environment.get_template("audit.html.j2")
    return template.render(parts=headlines(found), found=found, title=title)
