"""The files a simulation leaves: all of them, or none."""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.config.schema import RunConfig
from tuneloop.config.simulate import SimulateConfig
from tuneloop.errors import DataError
from tuneloop.simulate.labels import LabelTable
from tuneloop.simulate.scenario import GoldenPart, Scenario
from tuneloop.simulate.traffic import Log

FILES = ("events.jsonl", "golden.jsonl", "truth.jsonl", "run.yaml")


def write_all(
    out: Path,
    *,
    log: Log,
    golden: GoldenPart,
    scenario: Scenario,
    config: SimulateConfig,
    rng: random.Random,
) -> int:
    """Write all files into `out` and return how many lines of the log are no valid events.

    They are written beside it and moved in one by one, run.yaml last: a killed simulation
    leaves no run that could be started on half a log.

    Raises:
        DataError: if the folder cannot be written.
    """
    lines, n_malformed = _event_lines(log.events, config, rng)
    run = run_config(config, scenario, golden)
    RunConfig.model_validate(run)
    contents = {
        "events.jsonl": lines,
        "golden.jsonl": (_golden_line(prompt) for prompt in golden.prompts),
        "truth.jsonl": (_json(row) for row in log.truth),
        "run.yaml": [_yaml(run)],
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=".simulate-", dir=out))
        try:
            for name, texts in contents.items():
                with (work / name).open("w", encoding="utf-8", newline="\n") as file:
                    file.writelines(f"{text}\n" for text in texts)
            (out / "run.yaml").unlink(missing_ok=True)
            for name in FILES:
                os.replace(work / name, out / name)
        finally:
            shutil.rmtree(work, ignore_errors=True)
    except OSError as error:
        raise DataError(f"the simulation cannot be written: {error}", where=str(out)) from error
    return n_malformed


# A quarter of an hour on two cores at 50 tokens a row; small tables are seen more often.
ROW_PASSES = 17_000
MAX_EPOCHS = 5


def run_config(config: SimulateConfig, scenario: Scenario, golden: GoldenPart) -> dict[str, Any]:
    """Return a run config that trains a small model on the log, sized for two CPU cores."""
    sft = {"lr": 1e-3, "epochs": 2.0, "global_batch_size": 16, "micro_batch_size": 8}
    run: dict[str, Any] = {
        "name": config.name,
        "tenant": config.tenant,
        "task": config.task,
        "model": {"name": config.base_model},
        "lake": {"events": ["events.jsonl"], "pseudonyms": "as_given"},
        "golden": {"path": "golden.jsonl"},
    }
    if isinstance(scenario, LabelTable):
        # Half as many tokens as bytes hold any label; short rows fill a batch of 16.
        n = min(config.n_interactions or scenario.n_rows, scenario.n_rows)
        epochs = float(min(max(round(ROW_PASSES / n), 1), MAX_EPOCHS))
        n_tokens = min(max(12, scenario.longest_label_bytes // 2 + 6), 96)
        return run | {
            "train": {
                "sft": sft | {"epochs": epochs, "micro_batch_size": 16, "max_length": 512},
                "dpo": {"enabled": False},
            },
            "evaluate": {"sampling": {"max_tokens": n_tokens}},
        }
    return run | {
        "build": {"max_sft_rows": 900, "max_preference_rows": 96},
        "train": {
            "sft": sft | {"max_length": 320},
            "dpo": {
                "lr": 2e-5,
                "epochs": 1.0,
                "global_batch_size": 16,
                "micro_batch_size": 4,
                "max_length": 448,
            },
        },
        "evaluate": {"sampling": {"max_tokens": 96}},
        "decide": {"protected_slices": golden.protected},
    }


def _event_lines(
    events: Sequence[dict[str, Any]], config: SimulateConfig, rng: random.Random
) -> tuple[list[str], int]:
    """Return the lines of the log: events, some of them twice, and lines that are none."""
    lines = [_json(event) for event in events]
    noise = config.noise
    n_twice = round(len(lines) * noise.duplicate_fraction)
    n_malformed = round(len(lines) * noise.malformed_fraction)
    extra = [rng.choice(lines) for _ in range(n_twice)]
    extra += [_broken(rng.choice(events), rng) for _ in range(n_malformed)]
    # Inserted from the back, so that positions chosen on the whole log stay right.
    places = sorted(rng.sample(range(len(lines) + 1), k=min(len(extra), len(lines))))
    rng.shuffle(extra)
    for place, line in zip(reversed(places), extra, strict=False):
        lines.insert(place, line)
    return lines, n_malformed


def _broken(event: dict[str, Any], rng: random.Random) -> str:
    """Return a line as broken exporters write it; never a valid event."""
    kind = rng.randrange(4)
    if kind == 0:
        return _json(event)[: rng.randrange(10, 60)]
    if kind == 1:
        return _json({key: value for key, value in event.items() if key != "id"})
    if kind == 2:
        return _json(event | {"event_ts": "yesterday"})
    signal = {"signal": "stars", "value": rng.choice([0, 9, "five"])}
    broken = {"type": "feedback", "target": {"id": event["id"]}, **signal}
    return _json(broken | {"id": f"{event['id']}-x", "event_ts": event["event_ts"]})


def _golden_line(prompt: GoldenPrompt) -> str:
    return _json(prompt.model_dump(mode="json", exclude_defaults=True))


def _json(row: Any) -> str:
    return json.dumps(row, ensure_ascii=False)


def _yaml(run: dict[str, Any]) -> str:
    head = (
        "# Made by `tuneloop simulate`; run with `tuneloop run -c run.yaml`.\n"
        "# Paths are relative to this file. truth.jsonl is for measuring, no stage reads it.\n"
    )
    return head + yaml.safe_dump(run, sort_keys=False, allow_unicode=True, width=100).rstrip("\n")
