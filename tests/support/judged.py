"""Rows of judgments in the format of `tuneloop compare`, made up or from real files."""

import json
from pathlib import Path

from tuneloop.compare.reading import parse_judgments
from tuneloop.compare.report import compare_judgments
from tuneloop.config.compare import CompareConfig


def read(rows, source="rows"):
    return parse_judgments([json.dumps(row).encode() for row in rows], source=source)


def compared(rows, **keys):
    """Return the comparison of rows; resamples are few unless the test asks for more."""
    return compare_judgments(read(rows), CompareConfig(**{"n_bootstrap": 1000, **keys}))


def single(preferences, **fields):
    """Return one row a prompt, without a position."""
    return [{"prompt_id": f"p{i}", "preference": p, **fields} for i, p in enumerate(preferences)]


def both_orders(pairs, **fields):
    """Return two rows a prompt from (candidate first, candidate second) preferences."""
    return [
        {"prompt_id": f"p{i}", "preference": p, "candidate_position": position, **fields}
        for i, pair in enumerate(pairs)
        for position, p in zip(("first", "second"), pair, strict=True)
    ]


def pandalm(folder, judge):
    """Return PandaLM's pairs: response 2 is the candidate, `human` the majority's verdict.

    What the judge left unreadable counts as a tie, as in the figures that were published.
    """
    people = json.loads((Path(folder) / "pandalm/testset-v1.json").read_text("utf-8"))
    said = json.loads((Path(folder) / f"pandalm/{judge}-testset-v1.json").read_text("utf-8"))
    key = "gpt_result" if "gpt" in judge else "pandalm_result"
    share = {"1": 0.0, "2": 1.0}
    rows = []
    for human, verdict in zip(people, said, strict=True):
        votes = [str(human[f"annotator{i}"]) for i in (1, 2, 3)]
        majority = max(sorted(set(votes)), key=votes.count)
        rows.append(
            {
                "prompt_id": human["idx"],
                "preference": share.get(str(verdict[key]), 0.5),
                "human": share.get(majority, 0.5),
            }
        )
    return rows


def debiased(path):
    """Return an arena file's pairs: the first model of its name is the candidate."""
    path = Path(path)
    candidate = path.name.partition("_vs_")[0]
    rows = []
    for pair in json.loads(path.read_text("utf-8")):
        first = pair["model_a"] == candidate
        human = {"model_a": first, "model_b": not first}.get(pair["human_winner"])
        judge = {"A": first, "B": not first}.get(pair["judge_pick"])
        rows.append(
            {
                "prompt_id": pair["id"],
                "preference": 0.5 if judge is None else float(judge),
                "human": 0.5 if human is None else float(human),
                "candidate_position": "first" if first else "second",
            }
        )
    return rows
