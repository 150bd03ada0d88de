"""Loading a run config: bases, overrides, and every problem at once with its place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.config.problems import S, validate
from tuneloop.config.reading import Loc, Place, Reader, Tree
from tuneloop.config.schema import RunConfig
from tuneloop.errors import ConfigError

PATH_KEYS: tuple[Loc, ...] = (
    ("lake", "events"),
    ("golden", "path"),
    ("build", "replay", "path"),
    ("decide", "policy"),
    ("labels", "path"),
    ("labels", "golden_path"),
)
MODEL_KEYS: tuple[Loc, ...] = (
    ("model", "name"),
    ("evaluate", "judge", "model"),
    ("evaluate", "champion"),
    ("evaluate", "candidate"),
    ("model",),  # of a system's file, as the next
    ("adapter",),
)
HOME_KEYS: tuple[Loc, ...] = (("lake", "uri"),)


@dataclass(frozen=True)
class LoadedConfig:
    """A config that may be run, and the place of every value somebody wrote."""

    config: RunConfig
    path: Path
    places: dict[Loc, Place]


def load_config(path: Path, overrides: Sequence[str] = ()) -> LoadedConfig:
    """Load a run config with its bases and `a.b=value` overrides.

    Paths of data files are made absolute, relative to the file that names them; paths given by
    an override are relative to the current folder.

    Raises:
        ConfigError: with every problem found, each with file, line and nearest valid name.
    """
    config, places = load_model(RunConfig, path, overrides)
    return LoadedConfig(config=config, path=path, places=places)


def load_model(
    model: type[S], path: Path | None, overrides: Sequence[str] = ()
) -> tuple[S, dict[Loc, Place]]:
    """Load any config model from a file, from overrides, or both.

    Raises:
        ConfigError: with every problem found, each with file, line and nearest valid name.
    """
    tree = Tree()
    if path is not None:
        _add_file(tree, path, named=None, above=())
    for text in overrides:
        _add_override(tree, text)
    config = None
    if () not in tree.wrong:
        _resolve_paths(tree)
        config = validate(tree, model)
    if config is None:
        raise ConfigError(
            tree.lines(),
            where=str(path or "command line"),
            hint="docs/reference lists every key",
        )
    return config, tree.places


def _add_file(tree: Tree, path: Path, *, named: Place | None, above: tuple[Path, ...]) -> None:
    """Lay a file over the tree, after its bases; one that cannot be read is noted."""
    place = named or Place(str(path))
    try:
        if path.resolve() in above:
            tree.note(place, f"{path} extends itself in a circle", wrong=())
            return
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        tree.note(place, f"there is no file {path}", wrong=())
        return
    except (OSError, ValueError) as error:
        tree.note(place, f"{path} cannot be read: {error}", wrong=())
        return
    reader = Reader(Place(str(path), 1, path.parent), tree)
    values = reader.read(text)
    if values is None:
        values = {}
    elif not isinstance(values, dict):
        tree.note(reader.source, "a config is a mapping of keys to values", wrong=())
        return
    bases = values.pop("extends", [])
    bases = [bases] if isinstance(bases, str) else bases
    place = reader.places.get(("extends",), reader.source)
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        if not any(loc[:1] == ("extends",) for loc in tree.wrong):
            tree.note(place, f"extends: a file or a list of files, not {bases!r}")
        tree.wrong.add(())
        return
    for base in bases:
        _add_file(tree, path.parent / base, named=place, above=(*above, path.resolve()))
    tree.merge(values, reader.places)


def _add_override(tree: Tree, text: str) -> None:
    dotted, equals, value = text.partition("=")
    keys = tuple(dotted.strip().split("."))
    # The value is not shown: it may be a secret in the wrong place.
    place = Place(f"--set {dotted.strip()}", folder=Path.cwd())
    if not equals or not all(keys):
        tree.note(place, "write it as key.subkey=value")
        return
    reader = Reader(place, tree)
    nested: Any = reader.read(value, keys)
    for key in reversed(keys):
        nested = {key: nested}
    tree.merge(nested, reader.places)
    for depth in range(1, len(keys)):
        tree.places.setdefault(keys[:depth], place)


def _resolve_paths(tree: Tree) -> None:
    """Make data paths absolute; model names and addresses only where they clearly are paths."""
    for loc in (*PATH_KEYS, *MODEL_KEYS, *HOME_KEYS):
        parent: Any = tree.values
        for key in loc[:-1]:
            parent = parent.get(str(key)) if isinstance(parent, dict) else None
        if not isinstance(parent, dict) or loc[-1] not in parent:
            continue
        folder = tree.place(loc).folder or Path.cwd()
        value = parent[loc[-1]]
        if isinstance(value, str):
            parent[loc[-1]] = _resolve(value, folder, loc)
        elif isinstance(value, list):
            parent[loc[-1]] = [_resolve_entry(v, folder, loc) for v in value]


def _resolve_entry(value: Any, folder: Path, loc: Loc) -> Any:
    """Resolve a path, or the path of an entry that says more of its file."""
    if isinstance(value, dict) and isinstance(value.get("path"), str):
        return value | {"path": _resolve(value["path"], folder, loc)}
    return _resolve(value, folder, loc) if isinstance(value, str) else value


def _resolve(value: str, folder: Path, loc: Loc) -> str:
    if value.startswith("hf:"):  # a data set of the hub
        return value
    expanded = os.path.expanduser(value)
    is_path = value.startswith((".", "/", "~")) or value.endswith((".gguf", ".yaml", ".yml"))
    if loc in HOME_KEYS or (loc in MODEL_KEYS and not is_path):
        return expanded
    return str((folder / expanded).resolve())
