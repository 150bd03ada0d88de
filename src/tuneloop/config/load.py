"""Loading a run config: bases, overrides, and every problem at once with its place."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tuneloop.config.schema import RunConfig
from tuneloop.errors import ConfigError

Loc = tuple[str | int, ...]


@dataclass(frozen=True)
class Place:
    """Where a value was written: a file and line, or the command line."""

    source: str
    line: int | None = None
    folder: Path | None = None

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


@dataclass(frozen=True)
class LoadedConfig:
    """A config that may be run, and the place of every value somebody wrote."""

    config: RunConfig
    path: Path
    places: dict[Loc, Place]


M = TypeVar("M", bound=BaseModel)


class _Tree:
    """A merged config tree that remembers where each value came from."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.places: dict[Loc, Place] = {}
        self.problems: list[str] = []

    def merge(self, values: dict[str, Any], places: dict[Loc, Place]) -> None:
        """Lay a file's values over what is there; mappings merge, everything else replaces."""
        self._merge(self.values, values, ())
        self.places.update(places)

    def _merge(self, base: dict[str, Any], change: dict[str, Any], loc: Loc) -> None:
        for key, value in change.items():
            if isinstance(value, dict) and isinstance(base.get(key), dict):
                self._merge(base[key], value, (*loc, key))
            else:
                base[key] = value

    def place(self, loc: Loc) -> Place | None:
        """Return the place of `loc`, or of its nearest parent that was written."""
        while loc:
            if loc in self.places:
                return self.places[loc]
            loc = loc[:-1]
        return self.places.get(())


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
    model: type[M], path: Path | None, overrides: Sequence[str] = ()
) -> tuple[M, dict[Loc, Place]]:
    """Load any config model from a file, from overrides, or both.

    Raises:
        ConfigError: with every problem found, each with file, line and nearest valid name.
    """
    tree = _Tree()
    if path is not None:
        _add_file(tree, path, seen=())
    for text in overrides:
        _add_override(tree, text)
    if not tree.problems:
        _resolve_paths(tree)
    config = _validate(tree, model)
    if tree.problems or config is None:
        raise ConfigError(
            tree.problems,
            where=str(path or "command line"),
            hint="docs/reference/config.md lists every key",
        )
    return config, tree.places


STAND_INS: dict[Loc, Any] = {
    ("name",): "x",
    ("model",): {"name": "x"},
    ("model", "name"): "x",
    ("golden",): {"path": "x"},
    ("golden", "path"): "x",
}


def _validate(tree: _Tree, model: type[M]) -> M | None:
    """Return the config, or None with every problem noted.

    pydantic looks at combinations only where each value alone is right. So wrong values are taken
    out, and the rest is looked at again, until nothing new is found.
    """
    values = copy.deepcopy(tree.values)
    found: list[tuple[int, str]] = []
    config: M | None = None
    for _ in range(4):
        try:
            config = model.model_validate(values)
            break
        except ValidationError as error:
            for detail in error.errors():
                place = tree.place(tuple(detail["loc"]))
                line = place.line or 0 if place else 0
                found += [(line, text) for text in _describe(tree, detail, model)]
                _take_out(values, detail)
    tree.problems += [text for _, text in sorted(dict.fromkeys(found))]
    return None if tree.problems else config


def _take_out(values: Any, detail: ErrorDetails) -> None:
    loc = tuple(detail["loc"])
    parent = values
    try:
        for key in loc[:-1]:
            parent = parent[key]
    except (KeyError, IndexError, TypeError):
        return
    if isinstance(parent, dict) and loc:
        parent.pop(loc[-1], None)
        if loc in STAND_INS:
            parent[loc[-1]] = STAND_INS[loc]
    elif isinstance(parent, list) and isinstance(loc[-1], int) and loc[-1] < len(parent):
        parent[loc[-1]] = parent[0] if loc[-1] else "x"


def _add_file(tree: _Tree, path: Path, seen: tuple[Path, ...]) -> None:
    if path.resolve() in seen:
        tree.problems.append(f"{path}: extends itself in a circle")
        return
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except FileNotFoundError:
        tree.problems.append(f"{path}: there is no such file")
        return
    except (OSError, UnicodeDecodeError) as error:
        tree.problems.append(f"{path}: cannot be read: {error}")
        return
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        tree.problems.append(f"{path}{line}: no valid YAML: {getattr(error, 'problem', error)}")
        return
    if node is None:
        return
    if not isinstance(node, yaml.MappingNode):
        tree.problems.append(f"{path}:1: a config is a mapping of keys to values")
        return
    places: dict[Loc, Place] = {(): Place(str(path), 1, path.parent)}
    values = _construct(node, (), path, places, tree.problems)
    bases = values.pop("extends", [])
    for base in [bases] if isinstance(bases, str) else bases:
        _add_file(tree, path.parent / str(base), (*seen, path.resolve()))
    tree.merge(values, places)


def _construct(
    node: yaml.Node, loc: Loc, path: Path, places: dict[Loc, Place], problems: list[str]
) -> Any:
    """Return the plain value of a YAML node, noting the line of every part of it."""
    places.setdefault(loc, Place(str(path), node.start_mark.line + 1, path.parent))
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value)
            line = key_node.start_mark.line + 1
            if key in result:
                problems.append(f"{path}:{line}: {key!r} is given twice")
            places[(*loc, key)] = Place(str(path), line, path.parent)
            result[key] = _construct(value_node, (*loc, key), path, places, problems)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [
            _construct(item, (*loc, index), path, places, problems)
            for index, item in enumerate(node.value)
        ]
    return _scalar(node.value) if _is_number(node) else yaml.SafeLoader("").construct_object(node)


def _is_number(node: yaml.Node) -> bool:
    # YAML 1.1 reads 2e-4 as a text; researchers mean a number.
    return node.tag == "tag:yaml.org,2002:str" and getattr(node, "style", None) is None


def _scalar(text: str) -> Any:
    if text[:1].isdigit() or text[:1] in "+-.":
        try:
            return float(text)
        except ValueError:
            return text
    return text


def _add_override(tree: _Tree, text: str) -> None:
    dotted, equals, value = text.partition("=")
    keys = dotted.strip().split(".")
    place = Place(f"--set {text}", folder=Path.cwd())
    if not equals or not all(keys):
        tree.problems.append(f"--set {text}: write it as key.subkey=value")
        return
    try:
        node = yaml.compose(value, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        tree.problems.append(f"--set {text}: no valid value: {getattr(error, 'problem', error)}")
        return
    parsed = _construct(node, (), Path("--set"), {}, tree.problems) if node else None
    nested: Any = parsed
    for key in reversed(keys):
        nested = {key: nested}
    loc = tuple(keys)
    tree.merge(nested, {loc[: i + 1]: place for i in range(len(loc)) if i == len(loc) - 1})


PATH_KEYS: tuple[Loc, ...] = (
    ("lake", "events"),
    ("golden", "path"),
    ("labels", "path"),
    ("labels", "golden_path"),
)
MODEL_KEYS: tuple[Loc, ...] = (("model", "name"), ("evaluate", "judge", "model"))


def _resolve_paths(tree: _Tree) -> None:
    """Make data paths absolute; model names only where they clearly are paths."""
    for loc in (*PATH_KEYS, *MODEL_KEYS):
        parent: Any = tree.values
        for key in loc[:-1]:
            parent = parent.get(str(key)) if isinstance(parent, dict) else None
        if not isinstance(parent, dict) or loc[-1] not in parent:
            continue
        place = tree.place(loc)
        folder = place.folder if place and place.folder else Path.cwd()
        value = parent[loc[-1]]
        always = loc in PATH_KEYS
        if isinstance(value, str):
            parent[loc[-1]] = _absolute(value, folder, always)
        elif isinstance(value, list):
            parent[loc[-1]] = [
                _absolute(v, folder, always) if isinstance(v, str) else v for v in value
            ]


def _absolute(value: str, folder: Path, always: bool) -> str:
    if not always and not (value.startswith((".", "/", "~")) or value.endswith(".gguf")):
        return value
    return str((folder / Path(value).expanduser()).resolve())


# What the peers call it → what it is called here.
OTHER_NAMES = {
    "learning_rate": "lr",
    "num_train_epochs": "epochs",
    "num_epochs": "epochs",
    "per_device_train_batch_size": "micro_batch_size",
    "batch_size": "global_batch_size",
    "max_seq_length": "max_length",
    "sequence_len": "max_length",
    "lora_r": "r",
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "warmup_ratio": "warmup_fraction",
    "lr_scheduler_type": "scheduler",
    "load_in_4bit": "quantisation",
    "quantization": "quantisation",
    "base_model": "model",
    "model_name_or_path": "model",
    "dataset": "lake",
}


def _describe(tree: _Tree, detail: ErrorDetails, root: type[BaseModel]) -> list[str]:
    """Return the problem as text; a section's conflicts are one problem each."""
    loc = tuple(detail["loc"])
    dotted = ".".join(str(part) for part in loc)
    place = tree.place(loc)
    prefix = f"{place}: " if place else ""
    if detail["type"] == "extra_forbidden":
        valid = _valid_names(root, loc[:-1])
        near = [name for name in [OTHER_NAMES.get(str(loc[-1]), "")] if name in valid]
        near = near or difflib.get_close_matches(str(loc[-1]), valid, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"valid here: {', '.join(valid)}"
        return [f"{prefix}{dotted}: unknown key; {hint}"]
    if detail["type"] == "missing":
        return [f"{prefix}{dotted}: is required"]
    message = detail["msg"].removeprefix("Value error, ")
    given = "" if isinstance(detail["input"], dict) else f", not {detail['input']!r}"
    near_value = _nearest_value(detail)
    where = f"{dotted}: " if dotted else ""
    return [f"{prefix}{where}{part}{given}{near_value}" for part in message.split("\n")]


def _nearest_value(detail: ErrorDetails) -> str:
    if detail["type"] != "literal_error":
        return ""
    expected = str(detail.get("ctx", {}).get("expected", ""))
    options = [part.strip().strip("'") for part in expected.replace(" or ", ", ").split(",")]
    near = difflib.get_close_matches(str(detail["input"]), options, n=1, cutoff=0.5)
    return f"; did you mean {near[0]!r}?" if near else ""


def _valid_names(root: type[BaseModel], loc: Loc) -> list[str]:
    """Return the keys the section at `loc` knows."""
    model: Any = root
    for part in loc:
        field = model.model_fields.get(str(part))
        if field is None:
            return []
        models = [field.annotation, *get_args(field.annotation)]
        model = next((m for m in models if isinstance(m, type) and issubclass(m, BaseModel)), None)
        if model is None:
            return []
    return [field.alias or name for name, field in model.model_fields.items()]
