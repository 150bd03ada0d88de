"""What the page shows, gathered from the artefacts and made ready for the templates."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from tuneloop.artefacts.decision import DecisionRecord
from tuneloop.artefacts.store import Artefact
from tuneloop.report.plots import forest_axis, forest_bar, loss_curve

MAX_CHARS = 6_000
SIDES = ("champion", "candidate")


def split_reasons(record: DecisionRecord) -> tuple[list[str], list[str]]:
    """Return the reasons that made the verdict, and what else is known."""
    if record.verdict == "PROMOTE":
        return record.reasons[:1], record.reasons[1:]
    open_ = {gate.detail for gate in record.gates if gate.status in ("failed", "unproven")}
    binding = [r for i, r in enumerate(record.reasons) if i == 0 or r in open_]
    return binding, [r for r in record.reasons if r not in binding]


def forest(record: DecisionRecord) -> dict[str, Any]:
    """Return the primary and every slice on one axis, protected slices first."""
    margins = [s.margin for s in record.slices if s.margin is not None]
    rows = sorted(record.slices, key=lambda s: (not s.protected, s.name))
    axis = forest_axis([record.primary, *rows], max(margins, default=0.0))
    return {
        "axis": axis,
        "has_margin": bool(margins),
        "overall": forest_bar(axis, record.primary),
        "rows": [{"slice": row, "bar": forest_bar(axis, row)} for row in rows],
    }


def funnel(stages: Sequence[tuple[str, str, Artefact]]) -> list[dict[str, Any]]:
    """Return rows in, dropped by reason and out of each stage that counted any.

    Args:
        stages: Name, what it counts, and the artefact, in the order of the pipeline.
    """
    shown = []
    for name, what, artefact in stages:
        counts = artefact.manifest.counts
        dropped = sorted(((n, r) for r, n in counts.dropped.items() if n), reverse=True)
        total = max(counts.n_in, counts.n_out, sum(n for n, _ in dropped), 1)
        shown.append(
            {
                "name": name,
                "what": what,
                "n_in": counts.n_in,
                "n_out": counts.n_out,
                "kept": round(100 * counts.n_out / total, 1),
                "dropped": [
                    {"reason": r, "n": n, "share": round(100 * n / total, 1)} for n, r in dropped
                ],
            }
        )
    return shown


def training(adapters: Sequence[tuple[str, Artefact]]) -> list[dict[str, Any]]:
    """Return each training stage's loss curves and facts."""
    shown = []
    for name, adapter in adapters:
        if "history.json" not in adapter.manifest.files:
            continue
        history = adapter.json("history.json")
        facts = {k: v for k, v in history.items() if k not in ("train", "validation")}
        config = {
            k: v for k, v in adapter.manifest.config.items() if k in ("lr", "epochs", "loss_type")
        }
        general = "forgetting.json" in adapter.manifest.files
        row = {"name": name, "curve": loss_curve(history), "facts": facts | config}
        shown.append(row | {"general": adapter.json("forgetting.json") if general else None})
    return shown


def check_table(checks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return each check with how many answers of either side passed it."""
    found: dict[str, dict[str, Any]] = {}
    for row in checks:
        check = found.setdefault(
            row["check"],
            {"name": row["check"], "kind": row["kind"], "required": False, "hard": False}
            | {side: {"passed": 0, "n": 0, "missing": 0} for side in SIDES},
        )
        check["required"] |= row["required"]
        check["hard"] |= row["hard"]
        side = check[row["side"]]
        if row["passed"] is None:
            side["missing"] += 1
        else:
            side["n"] += 1
            side["passed"] += row["passed"]
    return sorted(found.values(), key=lambda c: (not c["hard"], not c["required"], c["name"]))


def answer_table(answers: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return, by side, how many answers came, were cut off, and are missing by reason."""
    table: dict[str, dict[str, Any]] = {}
    for side in SIDES:
        rows = [row for row in answers if row["side"] == side]
        missing = Counter(str(row["reason"]) for row in rows if row["status"] != "ok")
        table[side] = {
            "n": len(rows) - missing.total(),
            "cut_off": sum(row["finish_reason"] == "length" for row in rows),
            "missing": dict(sorted(missing.items())),
        }
    return table


def pick_examples(
    record: DecisionRecord, rows: Mapping[str, Sequence[Mapping[str, Any]]],
    prompts: Sequence[Mapping[str, Any]], n: int,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return `n` prompts each where the candidate won, lost and tied, with both answers.

    Args:
        record: The decision; its outcomes name the prompts, the clearest first.
        rows: The evaluation's tables by name.
        prompts: The golden prompts as evaluated.
        n: How many of each outcome.
    """
    by_id = {prompt["id"]: prompt for prompt in prompts}
    answers = {(r["prompt_id"], r["side"]): r for r in rows["answers"]}
    checks: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows["checks"]:
        checks[row["prompt_id"], row["side"]].append(row)
    judged: dict[str, dict[str, float | None]] = defaultdict(dict)
    for row in rows["judgments"]:
        judged[row["prompt_id"]][row["order"]] = row["score"]

    def example(prompt_id: str) -> dict[str, Any]:
        prompt = by_id[prompt_id]
        return {
            "id": prompt_id,
            "slices": prompt.get("slices") or [],
            "messages": [m | {"content": cut(m.get("content"))} for m in prompt["messages"]],
            "reference": cut(prompt.get("reference")),
            "judge": judged.get(prompt_id),
            "sides": [
                _side(side, answers.get((prompt_id, side)), checks[prompt_id, side])
                for side in SIDES
            ],
        }

    shown = []
    for outcome in ("won", "lost", "tied", "missing"):
        ids = getattr(record.outcomes, outcome)
        examples = [example(i) for i in ids[:n] if i in by_id]
        shown.append({"outcome": outcome, "n": len(ids), "examples": examples})
    return shown


def _side(
    side: str, answer: Mapping[str, Any] | None, checks: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    text = answer.get("text") if answer else None
    return {
        "name": side,
        "text": cut(text),
        "reason": answer.get("reason") if answer else "never asked",
        "cut_off": bool(answer and answer.get("finish_reason") == "length"),
        "failed": [c for c in checks if c["passed"] is False],
        "passed": [c for c in checks if c["passed"]],
    }


def lineage(artefacts: Sequence[tuple[str, Artefact]]) -> list[dict[str, Any]]:
    """Return kind, digest, key, parents and config of every artefact behind the page."""
    return [
        {
            "name": name,
            "kind": artefact.kind,
            "digest": artefact.digest,
            "key": artefact.manifest.key,
            "parents": artefact.manifest.parents,
            "seed": artefact.manifest.seed,
            "config": json.dumps(artefact.manifest.config, indent=1, sort_keys=True),
        }
        for name, artefact in artefacts
    ]


def cut(text: str | None) -> str | None:
    """Return a text short enough for a page, saying how much is left out."""
    if text is None or len(text) <= MAX_CHARS:
        return text
    return f"{text[:MAX_CHARS]}\n[… {len(text) - MAX_CHARS} more characters]"
