"""Agreement, majority and Dawid–Skene on PandaLM's three annotators, and on people made up.

    python scripts/bench/annotators.py FOLDER [--json OUT.json]

FOLDER holds PandaLM's `testset-v1.json` and, where there, the verdicts of two LLM judges.
Two of the three annotators are also replaced by ever worse ones, to show what weighing people
is good for: with three careful annotators a majority is all one needs.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from tuneloop.curate.signals.agreement import Votes, krippendorff_alpha, pairwise_kappas
from tuneloop.curate.signals.dawid_skene import dawid_skene, information, majority

JUDGES = ("gpt-3.5-turbo", "pandalm-7b")
POOLING = 10.0
N_SEEDS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows = json.loads((options.folder / "testset-v1.json").read_text("utf-8"))
    labels = np.array([[row[f"annotator{k}"] for k in (1, 2, 3)] for row in rows])
    report = {"people": people(labels), "judges": judges(options.folder, labels, rows),
              "worse": [worse(labels, right) for right in (0.9, 0.7, 0.5, 0.34)]}  # fmt: skip
    text = json.dumps(report, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text, "utf-8")


def votes_of(labels: np.ndarray) -> Votes:
    """Return votes from an array of (items, people)."""
    item, person = np.divmod(np.arange(labels.size), labels.shape[1])
    return Votes(item, person, labels.ravel(), np.ones(labels.size), 3)


def people(labels: np.ndarray) -> dict[str, Any]:
    """Return agreement, and where Dawid–Skene and the majority part."""
    votes = votes_of(labels)
    fitted, most = dawid_skene(votes, pooling=POOLING), majority(votes)
    best = fitted.posterior.argmax(axis=1)
    clear = most >= 0
    beyond, _ = information(fitted)
    return {
        "n_items": len(labels),
        "kappas": pairwise_kappas(votes, np.arange(labels.shape[1])),
        "alpha": round(krippendorff_alpha(votes) or 0.0, 4),
        "majority": {str(k): int((most == k).sum()) for k in range(3)},
        "three_ways": int((~clear).sum()),
        "dawid_skene": {str(k): int((best == k).sum()) for k in range(3)},
        "against_majority": int((clear & (best != most)).sum()),
        "beyond_chance": [round(float(v), 3) for v in beyond],
        "confusion": np.round(fitted.confusion, 3).tolist(),
        "mean_top_posterior": round(float(fitted.posterior.max(axis=1).mean()), 4),
    }


def judges(folder: Path, labels: np.ndarray, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return each judge's accuracy against the majority and against Dawid–Skene."""
    votes = votes_of(labels)
    most = np.maximum(majority(votes), 0)
    best = dawid_skene(votes, pooling=POOLING).posterior.argmax(axis=1)
    found = {}
    for name in JUDGES:
        path = folder / f"{name}-testset-v1.json"
        if path.is_file():
            said = {row["idx"]: row for row in json.loads(path.read_text("utf-8"))}
            verdict = np.array([_verdict(said[row["idx"]]) for row in rows])
            found[name] = {
                "against_majority": round(float((verdict == most).mean()), 4),
                "against_dawid_skene": round(float((verdict == best).mean()), 4),
            }
    return found


def _verdict(row: dict[str, Any]) -> int:
    """Return 1 or 2; whatever else a judge wrote counts as 0, a tie."""
    [value] = [v for k, v in row.items() if k.endswith("_result")] or [0]
    text = str(value).strip().split("\n")[0]
    return int(text) if text in ("1", "2") else 0


def worse(labels: np.ndarray, right: float) -> dict[str, Any]:
    """Replace the second and third annotator by ones who are right this often; who wins back?

    The truth is the real majority; the shares are means over seeds.
    """
    truth = majority(votes_of(labels))
    keep = truth >= 0
    shares = []
    for seed in range(N_SEEDS):
        rng = np.random.default_rng(seed)
        noisy = labels[keep].copy()
        for person in (1, 2):
            wrong = (truth[keep] + rng.integers(1, 3, keep.sum())) % 3
            noisy[:, person] = np.where(rng.random(keep.sum()) < right, truth[keep], wrong)
        votes = votes_of(noisy)
        most = majority(votes)
        best = dawid_skene(votes, pooling=POOLING).posterior.argmax(axis=1)
        shares.append([(most == truth[keep]).mean(), (best == truth[keep]).mean()])
    majority_share, skene_share = np.mean(shares, axis=0)
    return {"right": right, "majority": round(float(majority_share), 4),
            "dawid_skene": round(float(skene_share), 4)}  # fmt: skip


if __name__ == "__main__":
    main()
