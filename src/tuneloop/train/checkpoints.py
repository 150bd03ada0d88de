"""Checkpoints that can be trusted: whole and of this training, or not taken."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tuneloop.artefacts.digest import digest_file
from tuneloop.errors import TrainingError

MARK = "complete.json"
STATE = "trainer_state.json"
_NAME = re.compile(r"^checkpoint-(\d+)$")


class Checkpoint(NamedTuple):
    """A whole checkpoint, and what was noted in it."""

    folder: Path
    facts: Mapping[str, Any]


def mark_complete(folder: Path, facts: Mapping[str, Any] | None = None) -> None:
    """Say that a checkpoint is whole, listing its files; the last write of every checkpoint.

    Args:
        folder: The checkpoint.
        facts: What training it is of (`fingerprint`), and what else it needs to go on.
    """
    files = {str(p.relative_to(folder)): [p.stat().st_size, digest_file(p)] for p in _files(folder)}
    partial = folder / f".{MARK}"
    partial.write_text(json.dumps({"files": files, **(facts or {})}, indent=1), encoding="utf-8")
    partial.replace(folder / MARK)


def read_whole(folder: Path) -> Checkpoint | str:
    """Return a checkpoint, or in what way it is not whole.

    One without a mark was being written when its process died. One whose files are not those of
    the mark was damaged afterwards, or was being deleted.
    """
    try:
        facts = json.loads((folder / MARK).read_text(encoding="utf-8"))
        files = dict(facts.pop("files"))
    except FileNotFoundError:
        return "it was not finished"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return f"{MARK} cannot be read"
    for name, (size, digest) in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name} is missing"
        if path.stat().st_size != size:
            return f"{name} has {path.stat().st_size} of {size} bytes"
        if digest_file(path) != digest:
            return f"{name} is not what was written"
    return _with_its_best(Checkpoint(folder, facts))


def newest_whole(
    folder: Path, *, clean: bool = True, say: Callable[[str], None] = lambda _: None
) -> Checkpoint | None:
    """Return the checkpoint to resume from, or None.

    Args:
        folder: Where checkpoints lie.
        clean: Delete the newer ones that are not whole, so that nothing takes them for it.
        say: Told of each of those.
    """
    by_step = {int(m[1]): p for p in folder.glob("checkpoint-*") if (m := _NAME.match(p.name))}
    bad: list[str] = []
    whole = None
    for step in sorted(by_step, reverse=True):
        found = read_whole(by_step[step])
        if isinstance(found, Checkpoint):
            whole = found
            break
        bad.append(f"{by_step[step].name} cannot be used: {found}")
        if clean:
            shutil.rmtree(by_step[step], ignore_errors=True)
    for line in bad:
        goes_on = f"going on from {whole.folder.name}" if whole else "starting from the beginning"
        say(f"{line}; {goes_on}")
    return whole


def check_same_training(checkpoint: Checkpoint, fingerprint: Mapping[str, Any]) -> None:
    """Refuse to go on from a checkpoint of other data, another base or another config.

    Raises:
        TrainingError: naming everything that differs.
    """
    then: dict[str, Any] = dict(checkpoint.facts.get("fingerprint") or {})
    parts = [name for name in fingerprint if name != "config"]
    differs = [_NAMES[name] for name in parts if then.get(name) != fingerprint[name]]
    old, new = then.get("config") or {}, fingerprint.get("config") or {}
    for key in sorted(old.keys() | new.keys()):
        if old.get(key) != new.get(key):
            differs.append(f"config {key} ({old.get(key)} then, {new.get(key)} now)")
    if differs:
        raise TrainingError(
            f"{checkpoint.folder.name} is of another training; changed since: {', '.join(differs)}",
            where=str(checkpoint.folder.parent),
            hint="put that back to go on, or delete the folder to begin again",
        )


_NAMES = {
    "data": "the training or validation rows",
    "base": "the base model",
    "start": "the adapter it starts from",
    "seed": "the seed",
}


def stopped_at(checkpoint: Path) -> bool:
    """Return whether early stopping had ended the run at this checkpoint.

    The trainer forgets that on resuming, and would train on.
    """
    state = _state(checkpoint)
    control = state["stateful_callbacks"]["TrainerControl"]["args"]
    return bool(control["should_training_stop"]) and state["global_step"] < state["max_steps"]


def _with_its_best(checkpoint: Checkpoint) -> Checkpoint | str:
    """Return the checkpoint if the best one so far, which the run may end with, is whole too.

    Without it the trainer would keep the last weights, and not say so.
    """
    if not (checkpoint.folder / STATE).is_file():
        return checkpoint
    best = _state(checkpoint.folder).get("best_global_step")
    other = checkpoint.folder.with_name(f"checkpoint-{best}")
    if best and other != checkpoint.folder and isinstance(found := read_whole(other), str):
        return f"the best one before it, {other.name}, cannot be used: {found}"
    return checkpoint


def _state(checkpoint: Path) -> dict[str, Any]:
    state: dict[str, Any] = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    return state


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in (MARK, f".{MARK}"))
