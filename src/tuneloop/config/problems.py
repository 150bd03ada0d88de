"""Telling everything that is wrong with a config, once, in the user's words."""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tuneloop.config.base import CONFLICTS_LATER, SECRET, Section
from tuneloop.config.reading import Loc, Tree

S = TypeVar("S", bound=Section)

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
# Put where a required value is wrong or missing, so that the rest can be looked at.
STAND_INS: dict[Loc, Any] = {
    ("name",): "x",
    ("store",): "x",  # its default can be wrong, too
    ("model",): {"name": "x"},
    ("model", "name"): "x",
    ("golden",): {"path": "x"},
    ("golden", "path"): "x",
}


def validate(tree: Tree, model: type[S]) -> S | None:
    """Return the config, or None with every problem noted in the tree.

    Conflicts are looked for where each value they read is right: wrong values are taken out, and
    no conflict that would read one of them is reported.
    """
    values = copy.deepcopy(tree.values)
    context = {CONFLICTS_LATER: True}
    try:
        config = model.model_validate(values, context=context)
    except ValidationError as error:
        _note_errors(tree, error.errors(include_url=False), model)
    if tree.wrong:
        for loc in tree.wrong:
            _take_out(values, loc)
        try:
            config = model.model_validate(values, context=context)
        except ValidationError:  # what is wrong with this is told already
            return None
    _note_conflicts(tree, config)
    return None if tree.problems else config


def _take_out(values: dict[str, Any], loc: Loc) -> None:
    """Remove a value; one in a list with its list. A required one is replaced."""
    parent = values
    for depth, key in enumerate(loc):
        below = parent.get(str(key))
        if not isinstance(below, dict) or depth == len(loc) - 1:
            parent.pop(str(key), None)
            if loc[: depth + 1] in STAND_INS:
                parent[str(key)] = STAND_INS[loc[: depth + 1]]
            return
        parent = below


def _note_conflicts(tree: Tree, config: Section) -> None:
    doubtful = tree.wrong | tree.unsure
    for loc, section in _sections(config, ()):
        for keys, message in section.conflicts():
            read = [(*loc, *(key.split(".") if isinstance(key, str) else key)) for key in keys]
            if any(_overlap(key, other) for key in read for other in doubtful):
                continue
            written = [key for key in read if key in tree.places]
            where = "".join(f"{part}." for part in loc)
            prefix = f"{where.rstrip('.')}: " if where else ""
            tree.note(tree.place(written[0] if written else loc), prefix + message)


def _sections(section: Section, loc: Loc) -> Iterator[tuple[Loc, Section]]:
    yield loc, section
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from _sections(value, (*loc, field.alias or name))
        elif isinstance(value, dict):  # sections by name
            for key, below in value.items():
                if isinstance(below, Section):
                    yield from _sections(below, (*loc, field.alias or name, key))


def _overlap(one: Loc, other: Loc) -> bool:
    n = min(len(one), len(other))
    return one[:n] == other[:n]


def _note_errors(tree: Tree, details: Iterable[ErrorDetails], root: type[BaseModel]) -> None:
    """Note each wrong value once; what was noted while reading is not noted again."""
    already = set(tree.wrong)
    grouped: dict[Loc, list[ErrorDetails]] = {}
    # Unknown keys first: they can explain a missing one.
    for detail in sorted(details, key=lambda detail: detail["type"] != "extra_forbidden"):
        loc = _cut(tuple(detail["loc"]), detail["type"], tree.values)
        if not any(_overlap(loc, old) for old in already):
            grouped.setdefault(loc, []).append(detail)
    for loc, group in grouped.items():
        dotted = ".".join(str(part) for part in loc)
        kind = group[0]["type"]
        if kind == "extra_forbidden":
            text = _unknown(tree, loc, root)
        elif kind == "missing":
            if any(loc[: len(key)] == key for key in tree.unsure):
                tree.wrong.add(loc)
                continue
            text = "is required"
        else:
            text = _message(group)
        tree.note(tree.place(loc), f"{dotted}: {text}", wrong=loc)


def _cut(loc: Loc, kind: str, values: Any) -> Loc:
    """Return `loc` up to where pydantic names the branch of a union instead of a key."""
    for depth, part in enumerate(loc):
        is_item = isinstance(values, list) and isinstance(part, int)
        known = is_item or (isinstance(values, dict) and part in values)
        if not known:
            return loc if kind == "missing" else loc[:depth]
        values = values[part]
    return loc


def _unknown(tree: Tree, loc: Loc, root: type[BaseModel]) -> str:
    """Return what an unknown key may have meant; the tree learns that this is unsure."""
    valid = _valid_names(root, loc[:-1])
    near = [name for name in [OTHER_NAMES.get(str(loc[-1]), "")] if name in valid]
    near = near or difflib.get_close_matches(str(loc[-1]), valid, n=1, cutoff=0.6)
    tree.unsure.update((*loc[:-1], name) for name in near)
    hint = f"did you mean {near[0]!r}?" if near else f"valid here: {', '.join(valid)}"
    return f"unknown key; {hint}"


def _valid_names(root: type[BaseModel], loc: Loc) -> list[str]:
    """Return the keys the section at `loc` knows."""
    model: Any = root
    is_name = False  # of one of several sections
    for part in loc:
        if is_name:
            is_name = False
            continue
        field = next(f for name, f in model.model_fields.items() if part in (name, f.alias))
        models = [field.annotation, *get_args(field.annotation)]
        model = next(m for m in models if isinstance(m, type) and issubclass(m, BaseModel))
        is_name = get_origin(field.annotation) is dict
    return [field.alias or name for name, field in model.model_fields.items()]


def _message(group: list[ErrorDetails]) -> str:
    """Return what a value should be, one text for all branches of a union."""
    first = group[0]
    texts: list[str] = []
    for detail in group:
        text = detail["msg"].removeprefix("Value error, ")
        text = "Input should be a section of keys" if detail["type"] == "model_type" else text
        texts.append(text.removeprefix("Input should be ") if texts else text)
    message = " or ".join(dict.fromkeys(texts))
    shown = repr(first["input"])
    secret = first["type"] == SECRET or "://" in shown  # an address can hold a password
    if secret or isinstance(first["input"], dict):
        return message
    return f"{message}, not {shown}{_nearest_value(group)}"


def _nearest_value(group: list[ErrorDetails]) -> str:
    for detail in group:
        if detail["type"] == "literal_error":
            expected = str(detail.get("ctx", {}).get("expected", ""))
            options = [part.strip("' ") for part in expected.replace(" or ", ", ").split(",")]
            near = difflib.get_close_matches(str(detail["input"]), options, n=1, cutoff=0.6)
            return f"; did you mean {near[0]!r}?" if near else ""
    return ""
