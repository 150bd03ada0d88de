"""The model card of a hub folder: what it is, from what, how good, and under which terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

UNKNOWN_LICENCE = "other"


def model_card(
    facts: Mapping[str, Any], *, base_name: str, licence: str | None, is_adapter: bool, title: str
) -> str:
    """Return the card as Markdown with the hub's YAML front matter.

    Args:
        facts: What `facts_of` found; empty for a folder that no store knows.
        base_name: What the base is called.
        licence: The base's, as the hub names it; None: not known, and said so.
        is_adapter: Whether the folder holds an adapter or a whole model.
        title: Its heading.
    """
    from huggingface_hub import ModelCardData

    stages = [stage["stage"] for stage in facts.get("chain", [])]
    data = ModelCardData(
        base_model=base_name,
        license=licence or UNKNOWN_LICENCE,
        license_name=None if licence else "unknown",
        library_name="peft" if is_adapter else "transformers",
        pipeline_tag="text-generation",
        tags=["tuneloop", *(["lora"] if is_adapter else []), *stages],
        base_model_relation="adapter" if is_adapter else "finetune",
    )
    lines = ["---", data.to_yaml(), "---", "", f"# {title}", ""]
    lines += _about(base_name, licence, stages, is_adapter)
    lines += _loading(base_name, is_adapter)
    lines += [line for stage in facts.get("chain", []) for line in _training(stage)]
    lines += _data(facts.get("data", []))
    lines += _verdicts(facts.get("verdicts", []))
    lines += _digests(facts)
    return "\n".join(lines) + "\n"


def _about(base: str, licence: str | None, stages: list[str], is_adapter: bool) -> list[str]:
    what = "An adapter (LoRA) for" if is_adapter else "A fine-tuned model, from"
    how = f", trained by {' then '.join(s.upper() for s in stages)}" if stages else ""
    terms = (f"The base is under `{licence}`; what is here is bound by that." if licence else
             "**The base's licence is not known here.** Find it and state it before you share "
             "this.")  # fmt: skip
    return [f"{what} `{base}`{how}. {terms}", ""]


def _loading(base: str, is_adapter: bool) -> list[str]:
    lines = ["## How to load it", "", "```python"]
    if is_adapter:
        lines += [
            "from peft import PeftModel",
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            f'model = AutoModelForCausalLM.from_pretrained("{base}", dtype="auto")',
            'model = PeftModel.from_pretrained(model, "THIS_FOLDER")',
            f'tokenizer = AutoTokenizer.from_pretrained("{base}")',
        ]
    else:
        lines += [
            "from transformers import AutoModelForCausalLM, AutoTokenizer",
            "",
            'model = AutoModelForCausalLM.from_pretrained("THIS_FOLDER", dtype="auto")',
            'tokenizer = AutoTokenizer.from_pretrained("THIS_FOLDER")',
        ]
    return [*lines, "```", ""]


def _training(stage: Mapping[str, Any]) -> list[str]:
    rows, config = stage["rows"], dict(stage["config"])
    lora = config.pop("lora", None) or {}
    adapter = {k: lora[k] for k in ("r", "alpha", "target_modules", "init") if k in lora}
    shown = config | (adapter if config.get("adapter", "lora") == "lora" else {})
    dropped = {k: n for k, n in rows["dropped"].items() if n}
    said = [
        f"- {rows['n_out']:,} of {rows['n_in']:,} rows"
        + (f" (left out: {_listed(dropped)})" if dropped else "")
        + (f", {stage['n_tokens']:,} tokens seen" if stage.get("n_tokens") else "")
        + (f" in {stage['steps']:,} steps" if stage.get("steps") else ""),
        f"- {_listed(shown)}, precision {stage.get('precision') or 'not recorded'}, "
        f"seed {stage['seed']}",
    ]
    if stage["last_loss"]:
        said.append(f"- Last loss: {_listed(stage['last_loss'])}")
    if "forgetting" in stage:
        said.append(f"- General text: {_forgetting(stage['forgetting'])}")
    return [f"## Training: {stage['stage'].upper()}", "", *said, ""]


def _forgetting(found: Mapping[str, Any]) -> str:
    change = found["perplexity"]["change"]
    interval = _interval(change)
    return (f"perplexity {_number(found['perplexity']['before']['estimate'])} before, "
            f"{_number(found['perplexity']['after']['estimate'])} after; ratio "
            f"{_number(change['estimate'])}{interval} over {found['n_rows']:,} rows")  # fmt: skip


def _data(sets: list[Mapping[str, Any]]) -> list[str]:
    lines = ["## Data", ""]
    if not sets:
        return [*lines, "Not recorded here.", ""]
    for found in sets:
        if "missing" in found:
            lines += [f"Set `{found['digest'][:12]}`: {found['missing']}.", ""]
            continue
        lines.append(f"Feedback of users, set `{found['digest'][:12]}`. No row of it is here.")
        if "rows" not in found:
            lines += [
                "",
                "It was built without a card: counts, consent and terms are not known.",
                "",
            ]
            continue
        lines += ["", "| kind | train | validation |", "| --- | ---: | ---: |"]
        for kind, rows in found.get("rows", {}).items():
            lines.append(f"| {kind} | {rows['train']:,} | {rows['validation']:,} |")
        terms = found.get("terms") or {}
        lines += [
            "",
            f"- Consent: {_listed(terms.get('consent_basis') or {}) or 'not stated'}",
            f"- Terms of the answers: {_listed(terms.get('output_terms') or {}) or 'not stated'}",
        ]
        refused = (terms.get("rows_refused") or {}) | (
            {"interactions without consent": terms["interactions_refused"]}
            if terms.get("interactions_refused") else {}
        )  # fmt: skip
        if any(refused.values()):
            lines.append(f"- Not trained on: {_listed({k: n for k, n in refused.items() if n})}")
        if found.get("n_users"):
            lines.append(f"- People behind the rows: {found['n_users']:,}")
        time = found.get("time") or {}
        lines += [f"- Recorded {time.get('first') or '?'} to {time.get('last') or '?'}", ""]
    return lines


def _verdicts(verdicts: list[Mapping[str, Any]]) -> list[str]:
    lines = ["## How it was judged", ""]
    if not verdicts:
        return [*lines, "It was not: no evaluation of it is in the store.", ""]
    for found in verdicts[:3]:
        if "missing" in found:
            lines += [f"Decision `{found['digest'][:12]}`: {found['missing']}.", ""]
            continue
        lines += [f"**{found['verdict']}** (decision `{found['digest'][:12]}`): "
                  f"{'; '.join(found['reasons'])}", "",
                  "| measure | n | missing | candidate minus champion | interval |",
                  "| --- | ---: | ---: | ---: | --- |"]  # fmt: skip
        rows = [({"name": found["primary"].get("metric", "primary")} | found["primary"])]
        for row in rows + found["slices"]:
            estimate = _number(row.get("estimate"), row.get("reason"))
            lines.append(
                f"| {row.get('name')} | {row.get('n', 0):,} | {row.get('n_missing', 0):,} | "
                f"{estimate} | {_interval(row).strip() or '–'} |"
            )
        lines += ["", f"Gates: {_listed(found['gates'])}.", ""]
    return lines


def _digests(facts: Mapping[str, Any]) -> list[str]:
    rows = [("adapter", facts.get("adapter")), ("base", facts.get("base"))]
    rows += [(f"{s['stage']} stage", s["digest"]) for s in facts.get("chain", [])]
    rows += [("data", found["digest"]) for found in facts.get("data", [])]
    known = [f"| {name} | `{digest}` |" for name, digest in rows if digest]
    if not known:
        return []
    return ["## Digests", "", "| what | SHA-256 |", "| --- | --- |", *known, ""]


def _interval(row: Mapping[str, Any]) -> str:
    if row.get("ci_low") is None or row.get("ci_high") is None:
        return ""
    level = f"{row['confidence']:.0%} " if row.get("confidence") else ""
    return f" ({level}{_number(row['ci_low'])} to {_number(row['ci_high'])})"


def _number(value: Any, reason: str | None = None) -> str:
    return f"{value:.4g}" if isinstance(value, int | float) else f"missing: {reason or 'unknown'}"


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in values.items())


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return "/".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
