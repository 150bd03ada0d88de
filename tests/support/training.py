"""Tiny training sets, and a process that trains on one and can be made to die at a step.

Run as a script: python training.py sft|dpo|kto DATA WORK CONFIG_JSON [CRASH]
"""

import json
import os
import random
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq

WORDS = ["order", "invoice", "app", "refund", "account", "late", "twice", "help", "today"]


class Folder:
    """Files by name, as an artefact gives them."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def path(self, name):
        return self.folder / name

    @property
    def manifest(self):
        files = {str(p.relative_to(self.folder)) for p in self.folder.rglob("*") if p.is_file()}
        return SimpleNamespace(files=files)


def chat(role, text):
    return [{"role": role, "content": text}]


def write_examples(folder, *, n_train=24, n_validation=6, seed=0):
    """Write the build stage's four Parquet files with random words of varied length."""
    draw = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)

    other = random.Random(seed + 1)

    def text(most, draw=draw):
        return " ".join(draw.choice(WORDS) for _ in range(draw.randint(1, most)))

    for part, n in (("train", n_train), ("validation", n_validation)):
        sft = [
            {
                "prompt": chat("user", text(12)),
                "completion": chat("assistant", text(12)),
                "row_id": f"r{i}",
                "interaction_id": f"i{i}",
                "rule": "liked",
                "weight": 1.0,
            }
            for i in range(n)
        ]
        pairs = [
            {
                "prompt": chat("user", text(12)),
                "chosen": chat("assistant", "yes " + text(9)),
                "rejected": chat("assistant", "no " + text(9)),
                "row_id": f"r{i}",
            }
            for i in range(n)
        ]
        answers = [
            {"prompt": chat("user", text(12, other)),
             "completion": chat("assistant", word + text(9, other)), "label": word == "yes "}
            for i in range(n)
            for word in [other.choice(["yes ", "no "])]
        ]  # fmt: skip
        empty_sft = pa.Table.from_pylist(sft or [_example()]).slice(0, n)
        empty_pairs = pa.Table.from_pylist(pairs or [_pair()]).slice(0, n)
        kto = pa.Table.from_pylist(answers or [_example() | {"label": True}]).slice(0, n)
        pq.write_table(kto, folder / f"kto_{part}.parquet")
        pq.write_table(empty_sft, folder / f"sft_{part}.parquet")
        pq.write_table(empty_pairs, folder / f"preference_{part}.parquet")
    return Folder(folder)


def _example():
    return {"prompt": chat("user", "a"), "completion": chat("assistant", "b")}


def _pair():
    return _example() | {"chosen": chat("assistant", "b"), "rejected": chat("assistant", "c")}


def tiny_base(cache):
    from tuneloop.config.schema import ModelConfig
    from tuneloop.runtime.weights import resolve_model

    return resolve_model(ModelConfig(name="tiny-random"), cache=Path(cache))


def train(
    kind, data, work, base, *, start=None, progress=None, tracking=None, cache=None, **config
):
    """Run one training stage; fp32 and small batches unless the config says otherwise."""
    from tuneloop.artefacts.stage import StageContext
    from tuneloop.config.train import DpoConfig, KtoConfig, SftConfig, TrackingConfig
    from tuneloop.runtime.progress import SilentProgress
    from tuneloop.train.stage import dpo, kto, sft

    settings = {
        "lr": 3e-3, "precision": "fp32", "global_batch_size": 4, "micro_batch_size": 2,
        "logging_steps": 2, "save_steps": 3, "eval_steps": 3, "lora": {"r": 4, "alpha": 8},
        "fill_tokens": None,
    } | config  # fmt: skip
    Path(work).mkdir(parents=True, exist_ok=True)
    context = StageContext(
        work=Path(work), seed=5, progress=progress or SilentProgress(), cache=cache
    )
    tracking = tracking or TrackingConfig()
    if kind == "sft":
        return sft(data, base, start, SftConfig(**settings), tracking, context)
    if kind == "kto":
        return kto(data, base, start, KtoConfig(**settings), tracking, context)
    return dpo(data, base, start, DpoConfig(**settings), tracking, context)


def contents(output):
    """The bytes of every file a stage left."""
    return {name: path.read_bytes() for name, path in output.files.items()}


def crash_at(where, step, *, how):
    """Call `how` when training reaches a step: `training` it, or `saving` its checkpoint."""
    from tuneloop.train import checkpoints
    from tuneloop.train.callback import Watcher

    if where == "training":
        plain = Watcher.on_step_end

        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == step:
                how()
            return plain(self, args, state, control, **kwargs)

        return Watcher, "on_step_end", on_step_end

    mark = checkpoints.mark_complete

    def mark_complete(folder, facts=None):
        if folder.name == f"checkpoint-{step}":
            (folder / "optimizer.pt").write_bytes(b"half")
            how()
        mark(folder, facts)

    return checkpoints, "mark_complete", mark_complete


def main():
    kind, data, work, cache, config, *crash = sys.argv[1:]
    settings = json.loads(config)
    start = settings.pop("start", None)
    if crash:
        owner, name, function = crash_at(
            crash[0], int(crash[1]), how=lambda: os.kill(os.getpid(), signal.SIGKILL)
        )
        setattr(owner, name, function)
    train(kind, Folder(data), work, tiny_base(cache), start=start and Folder(start), **settings)


if __name__ == "__main__":
    main()
