"""What the store knows of a trained model: its data, its training, and how it was judged."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml

from tuneloop.artefacts.manifest import Parent
from tuneloop.artefacts.store import Artefact, Store
from tuneloop.errors import StoreError

_FRONT_MATTER = re.compile(r"\A---\n(.*?)\n---\n", re.DOTALL)


def facts_of(store: Store, artefact: Artefact) -> dict[str, Any]:
    """Return what a model card says: facts only, no row, no text and no name of anybody.

    Returns:
        `adapter`, `base` (digests), `chain` (each training stage: kind, digest, config, steps,
        tokens, rows, loss), `data` (of each set: digest, counts, terms, consent, gates' counts),
        `verdicts` (each decision on this adapter, the newest first).
    """
    chain = _chain(store, artefact)
    sets: dict[str, Artefact] = {}
    for stage in chain:
        found = _parent(store, stage, "examples")
        if found is not None:
            sets[found.digest] = found
    base = next((p.digest for p in artefact.manifest.parents if p.role == "base"), None)
    return {
        "adapter": artefact.digest,
        "base": base,
        "chain": [_training(stage) for stage in chain],
        "data": [_data(found) for found in sets.values()],
        "verdicts": _verdicts(store, artefact),
    }


def _chain(store: Store, artefact: Artefact) -> list[Artefact]:
    """Return the training stages that led here, in their order."""
    before = _parent(store, artefact, "start")
    return [*(_chain(store, before) if before else []), artefact]


def _parent(store: Store, artefact: Artefact, role: str) -> Artefact | None:
    ref: Parent | None = next((p for p in artefact.manifest.parents if p.role == role), None)
    return store.find(ref.kind, ref.key, digest=ref.digest) if ref and ref.key else None


def _training(stage: Artefact) -> dict[str, Any]:
    config = stage.manifest.config
    names = ("lr", "epochs", "max_steps", "global_batch_size", "max_length", "scheduler",
             "quantisation", "loss_type", "beta", "adapter", "lora")  # fmt: skip
    history = stage.json("history.json") if "history.json" in stage.manifest.files else {}
    last = {part: curve[-1]["loss"] for part in ("train", "validation")
            if (curve := history.get(part))}  # fmt: skip
    found = {
        "stage": stage.kind,
        "digest": stage.digest,
        "config": {name: config[name] for name in names if config.get(name) is not None},
        "steps": history.get("steps"),
        "n_tokens": history.get("n_tokens"),
        "precision": history.get("precision"),
        "rows": stage.manifest.counts.model_dump(),
        "last_loss": last,
        "seed": stage.manifest.seed,
        "versions": stage.manifest.environment.get("versions", {}),
    }
    if "forgetting.json" in stage.manifest.files:
        found["forgetting"] = stage.json("forgetting.json")
    return found


def _data(built: Artefact) -> dict[str, Any]:
    """Return the facts of a set's card; its examples are people's words and stay at home."""
    found: dict[str, Any] = {"digest": built.digest}
    try:
        card = built.json("card.json") if "card.json" in built.manifest.files else {}
    except StoreError as error:  # erased since
        return found | {"missing": error.what}
    for name in ("rows", "curated_rows", "terms", "time"):
        if name in card:
            found[name] = card[name]
    people = (card.get("biases") or {}).get("users") or {}
    if people.get("n_users"):
        found["n_users"] = people["n_users"]
    return found


def _verdicts(store: Store, artefact: Artefact) -> list[dict[str, Any]]:
    """Return each decision whose candidate was this adapter, the newest first."""
    evaluations = {
        (e.manifest.key, e.digest)
        for e in store.list_artefacts("evaluate")
        if any(p.role == "adapter" and p.digest == artefact.digest for p in e.manifest.parents)
    }
    decisions = [
        d for d in store.list_artefacts("decide")
        if any((p.key, p.digest) in evaluations for p in d.manifest.parents)
    ]  # fmt: skip
    decisions.sort(key=lambda d: d.manifest.started_at, reverse=True)
    return [_verdict(d) for d in decisions]


def _verdict(decision: Artefact) -> dict[str, Any]:
    try:
        record = decision.json("decision.json")
    except StoreError as error:
        return {"digest": decision.digest, "missing": error.what}
    return {
        "digest": decision.digest,
        "verdict": record.get("verdict"),
        "reasons": record.get("reasons", []),
        "primary": _measured(record.get("primary") or {}),
        "slices": [{"name": s.get("name")} | _measured(s) for s in record.get("slices") or []],
        "gates": {g["name"]: g["status"] for g in record.get("gates") or []},
    }


def _measured(row: dict[str, Any]) -> dict[str, Any]:
    """Return a measure with its n, its interval and what is missing."""
    names = ("metric", "n", "n_missing", "estimate", "ci_low", "ci_high", "confidence",
             "champion_rate", "candidate_rate", "reason", "method")  # fmt: skip
    return {name: row[name] for name in names if row.get(name) is not None}


def licence_of(folder: Path) -> str | None:
    """Return the licence that a model folder states of itself, as the hub names it, or None."""
    for path in (folder / "source.json", folder / "README.md"):
        if not path.is_file():
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix == ".json":
            stated = json.loads(text).get("license")
        else:
            match = _FRONT_MATTER.match(text)
            stated = yaml.safe_load(match[1]).get("license") if match else None
        if isinstance(stated, str):
            return stated
    return None
