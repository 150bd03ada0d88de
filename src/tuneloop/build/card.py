"""The card of a set: what is in it, where it comes from, and what is known to be wrong with it."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from tuneloop.build.chunks import Sets
from tuneloop.build.limits import wilson
from tuneloop.build.rules import KINDS
from tuneloop.build.tally import Tally
from tuneloop.config.sets import BuildConfig

MOST_VALUES = 20
MOST_CHARS = 400
GATES = ("interactions", "feedback")


def make_card(
    sets: Sets, summary: dict[str, Any], curated: dict[str, Any], config: BuildConfig
) -> dict[str, Any]:
    """Return the card as JSON; what curation found is taken from its own summary."""
    tally = sets.tally
    return {
        "rows": {
            kind: {name: summary[kind][name] for name in ("train", "validation", "by_rule")}
            for kind in KINDS
        },
        "rules": {
            name: rule.model_dump(mode="json")
            for name, rule in config.rules.items()
            if rule.enabled
        },
        "curated_rows": tally.counts().model_dump(),
        "skipped": summary["skipped"],
        "whole_conversations": summary["whole_conversations"],
        "caps": summary["caps"],
        "sources": _top(tally.cohorts["source"]),
        "signals": _top(tally.signals),
        "terms": {
            "output_terms": _top(tally.cohorts["output_terms"]),
            "consent_basis": _top(tally.cohorts["consent_basis"]),
            "rows_refused": {
                reason: tally.dropped[reason] for reason in ("output_terms", "consent_basis")
            },
            "interactions_refused": _refused(curated),
        },
        "time": {"first": tally.first, "last": tally.last},
        "gates": {name: curated[name] for name in GATES if name in curated},
        "curation": {k: v for k, v in sorted(curated.items()) if k not in GATES and _is_small(v)},
        "biases": {
            "length": summary["length_bias"],
            "users": _users(tally),
            **{name: _top(tally.cohorts[name]) for name in ("segment", "intent", "system")},
            "systems": _by_system(tally),
            "approval": _approval(curated),
        },
        "replay": summary["replay"],
        "examples": {kind: [_cut(row) for row in summary[kind]["examples"]] for kind in KINDS},
    }


def _top(counts: Counter[str]) -> dict[str, int]:
    """Return the most frequent values, the rest in one."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    rest = sum(n for _, n in ranked[MOST_VALUES:])
    return dict(ranked[:MOST_VALUES]) | ({"(others)": rest} if rest else {})


def _refused(curated: dict[str, Any]) -> int:
    dropped = curated.get("interactions", {}).get("dropped", {})
    return sum(n for reason, n in dropped.items() if "consent" in reason)


def _is_small(value: Any) -> bool:
    return len(json.dumps(value, default=str)) <= 4_000


def _users(tally: Tally) -> dict[str, Any]:
    """Return how many people are behind the rows, and how much one of them weighs."""
    n = sum(tally.users.values())
    ranked = sorted(tally.users.values(), reverse=True)
    tenth = ranked[: max(1, len(ranked) // 10)]
    return {
        "n_users": len(ranked),
        "n_rows_with_user": n,
        "largest_share": round(ranked[0] / n, 6) if n else None,
        "top_tenth_share": round(sum(tenth) / n, 6) if n else None,
    }


def _by_system(tally: Tally) -> dict[str, Any]:
    """Return for each system how often its answers are the good ones, with an interval."""
    systems = sorted({system for system, _ in tally.sides})
    found = {}
    for system in systems[:MOST_VALUES]:
        n = {side: tally.sides[system, side]
             for side in ("taught", "chosen", "rejected", "good", "bad")}  # fmt: skip
        pairs = n["chosen"] + n["rejected"]
        found[system] = n | {
            "share_chosen": round(n["chosen"] / pairs, 6) if pairs else None,
            "share_chosen_interval": wilson(n["chosen"], pairs),
        }
    return found


def _approval(curated: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what share liked the answers, as counted and corrected for who was asked."""
    rows = curated.get("evidence", {}).get("approval", [])
    return list(rows[: MOST_VALUES + 1])


def _cut(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row short enough to be read, with the ids that erasure looks for."""
    names = ("row_id", "rule", "weight", "interaction_ids", "feedback_ids")
    shown: dict[str, Any] = {name: row[name] for name in names}
    for name in ("prompt", "completion", "chosen", "rejected"):
        if name in row:
            shown[name] = [
                {"role": m["role"], "content": _short(m["content"] or m["tool_calls"] or "")}
                for m in row[name]
            ]
    return shown | ({"label": row["label"]} if "label" in row else {})


def _short(text: str) -> str:
    return text if len(text) <= MOST_CHARS else f"{text[:MOST_CHARS]}…"


def card_text(card: dict[str, Any]) -> str:
    """Return the card as Markdown."""
    lines = ["# Card of a training set", "", "| kind | train | validation | by rule |",
             "| --- | ---: | ---: | --- |"]  # fmt: skip
    for kind, rows in card["rows"].items():
        lines.append(f"| {kind} | {rows['train']:,} | {rows['validation']:,} "
                     f"| {_listed(rows['by_rule'])} |")  # fmt: skip
    counts, time = card["curated_rows"], card["time"]
    when = f"{time['first'] or '?'} to {time['last'] or '?'}"
    lines += ["", f"From {counts['n_in']:,} curated rows, of which {counts['n_out']:,} are used, "
              f"recorded {when}.", ""]  # fmt: skip
    for title, value in (
        ("Sources", card["sources"]),
        ("Signals", card["signals"]),
        ("Not looked at", {k: n for k, n in counts["dropped"].items() if n}),
        ("Feedback that made no row", card["skipped"]),
        ("Output terms", card["terms"]["output_terms"]),
        ("Consent", card["terms"]["consent_basis"]),
    ):
        lines += [f"- **{title}**: {_listed(value)}"]
    refused = card["terms"]["rows_refused"]
    lines += [
        f"- **Not trained on**: {refused['output_terms']:,} rows for the terms of their answer, "
        f"{refused['consent_basis']:,} for their basis of consent, "
        f"{card['terms']['interactions_refused']:,} interactions refused",
        *_whole_lines(card["whole_conversations"]),
        *_replay_lines(card["replay"]),
        "",
        "## Biases",
        "",
        *_bias_lines(card["biases"]),
        "",
        "## Gates",
        "",
        *(f"- **{name}**: {value.get('n_in', 0):,} in, {value.get('n_out', 0):,} out; "
          f"{_listed(value.get('dropped') or {})}" for name, value in card["gates"].items()),
        "",
        "## Examples",
        "",
        *_example_lines(card["examples"]),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{n:,} {_plain(name)}" for name, n in counts.items()) or "none"


def _plain(text: str) -> str:
    """Return a name that cannot break out of its place in the page."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("`", "'").replace("<", "&lt;")


def _whole_lines(counts: dict[str, int]) -> list[str]:
    if not counts:
        return []
    n, m = counts["compared"], counts["answers_left_out"]
    return [f"- **Compared as whole conversations**: {n:,}; the {m:,} answers after the compared "
            "ones are in no row"]  # fmt: skip


def _replay_lines(facts: dict[str, Any]) -> list[str]:
    if not facts:
        return []
    return [f"- **Replay**: {facts['n_rows']:,} of {facts['n_read']:,} general conversations "
            f"(file {facts['digest'][:12]}, terms {_plain(facts['terms'] or 'not stated')}). "
            f"{facts['not_checked']}"]  # fmt: skip


def _bias_lines(biases: dict[str, Any]) -> list[str]:
    users, length = biases["users"], (biases["length"] or {}).get("after")
    lines = [f"- **Users**: {users['n_users']:,} behind {users['n_rows_with_user']:,} rows; the "
             f"largest has {users['largest_share'] or 0:.1%}, "
             f"a tenth of them {users['top_tenth_share'] or 0:.1%}"]  # fmt: skip
    if length:
        low, high = length["share_longer_interval"] or (0.0, 1.0)
        lines.append(
            f"- **Length**: chosen answers differ by {length['mean_words']:+.1f} words; "
            f"of {length['n_differ']:,} pairs that differ in length the longer is chosen in "
            f"{length['share_longer'] or 0:.1%} ({low:.1%} to {high:.1%}); "
            f"balanced: {biases['length']['balanced']}"
        )
    for row in biases["approval"]:
        sides = ", ".join(f"{name} {_rate(row.get(name))}" for name in ("raw", "corrected"))
        lines.append(f"- **Approval** of {_plain(row['system'] or 'all traffic')}: {sides}; "
                     f"{row['n_missing']:,} without a propensity")  # fmt: skip
    for name in ("segment", "intent", "system"):
        lines.append(f"- **{name.capitalize()}**: {_listed(biases[name])}")
    return lines


def _rate(rate: dict[str, Any] | None) -> str:
    if rate is None or rate["estimate"] is None:
        return "not known"
    return f"{rate['estimate']:.1%} ({rate['low']:.1%} to {rate['high']:.1%}, n {rate['n']:,})"


def _example_lines(examples: dict[str, list[dict[str, Any]]]) -> list[str]:
    """Return a line an example, its ids in it: whoever is erased takes the line along."""
    lines: list[str] = []
    for kind, rows in examples.items():
        for row in rows[:2]:
            said = [f"{name} {message['role']} {_code(message['content'])}"
                    for name in ("prompt", "completion", "chosen", "rejected")
                    for message in row.get(name, [])]  # fmt: skip
            ids = ", ".join(_plain(i) for i in [*row["interaction_ids"], *row["feedback_ids"]])
            lines.append(f"- {kind} `{row['row_id']}` by {_plain(row['rule'])}, weight "
                         f"{row['weight']:g}, from {ids or 'general data'}: "
                         f"{'; '.join(said)}")  # fmt: skip
    return lines


def _code(text: str) -> str:
    """Return a text as one span of code."""
    return f"`{json.dumps(text, ensure_ascii=False).replace('`', chr(39))}`"
