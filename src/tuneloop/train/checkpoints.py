"""Checkpoints that can be trusted: complete or not there."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

MARK = "complete.json"
STATE = "trainer_state.json"
_NAME = re.compile(r"^checkpoint-(\d+)$")


def mark_complete(folder: Path) -> None:
    """Say that a checkpoint is whole, listing its files; the last write of every checkpoint."""
    sizes = {str(p.relative_to(folder)): p.stat().st_size for p in _files(folder)}
    partial = folder / f".{MARK}"
    partial.write_text(json.dumps(sizes, indent=1), encoding="utf-8")
    partial.replace(folder / MARK)


def is_complete(folder: Path) -> bool:
    """Return whether every file the mark lists is there in full.

    A folder without a mark was being written when the process died; one with missing files was
    being deleted.
    """
    try:
        sizes: dict[str, int] = json.loads((folder / MARK).read_text(encoding="utf-8"))
        return all((folder / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def newest_complete(folder: Path, *, clean: bool = True) -> Path | None:
    """Return the checkpoint to resume from, or None.

    Args:
        folder: Where checkpoints lie.
        clean: Delete the half-written ones, so that nothing takes them for whole.
    """
    found: dict[int, Path] = {}
    for path in folder.glob("checkpoint-*"):
        match = _NAME.match(path.name)
        if match and is_complete(path):
            found[int(match[1])] = path
        elif clean:
            shutil.rmtree(path, ignore_errors=True)
    return found[max(found)] if found else None


def stopped_at(checkpoint: Path) -> bool:
    """Return whether early stopping had ended the run at this checkpoint.

    The trainer forgets that on resuming, and would train on.
    """
    state = json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    control = state["stateful_callbacks"]["TrainerControl"]["args"]
    return bool(control["should_training_stop"]) and state["global_step"] < state["max_steps"]


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and p.name not in (MARK, f".{MARK}"))
