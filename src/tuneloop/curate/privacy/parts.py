"""Columns taken apart into texts that can be redacted, and put together again."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tuneloop.artefacts.digest import canonical_json
from tuneloop.recognise.finding import Span, apart
from tuneloop.recognise.prefilter import matching

FIELDS = {
    "prompt": "prompt", "question": "prompt", "answer": "answer", "answer_reasoning": "answer",
    "correction": "correction", "edit": "correction", "comment": "comment",
    "system_prompt": "system_prompt", "tools": "tools", "answer_tool_calls": "tools",
    "metadata": "metadata", "context": "metadata",
}  # fmt: skip
"""Column → field of the policy; other columns are metadata."""
_JSON = frozenset({"tools", "answer_tool_calls", "metadata", "context"})
_ROLES = {"system": "system_prompt", "developer": "system_prompt", "tool": "tools"}
ALL_BITS = 2**63 - 1
_MODEL_BIT = 2**62  # no rule has it: only the language model looks
_MAX_DEPTH = 64
_ITEMS = "[]"  # the texts of a list
_INSIDE = "\0"  # a step of a path into the JSON that a string holds


@dataclass
class Part:
    """Texts of one column.

    Attributes:
        column: The column's name.
        inner: The message's field they come from; `[]` for a list of texts, empty for one each.
        texts: The texts.
        rows: The row of each.
        fields: The field of the policy of each.
        is_json: JSON, whose strings and numbers are looked at one by one.
    """

    column: str
    inner: str
    texts: pa.Array
    rows: NDArray[np.int64]
    fields: list[str] | str
    is_json: bool

    def bits(
        self, prefilter: Callable[[pa.Array], NDArray[np.uint64]], *, with_model: bool
    ) -> NDArray[np.uint64]:
        """Return which rules to try on each text; 0 where none."""
        bits = prefilter(self.texts)
        if with_model:
            bits |= matching(self.texts, r"\p{Lu}").astype(np.uint64) * np.uint64(_MODEL_BIT)
        if self.is_json:  # an escaped line break is none to RE2, and a key is a cue
            bits[matching(self.texts, r"\\|\"\s*:")] = ALL_BITS
        return bits

    def leaves(self, place: int, text: str | None, bits: int) -> Iterable[Leaf]:
        """Yield the pieces of one text: itself, or the values of its JSON."""
        if text is None:
            return
        name = self.fields if isinstance(self.fields, str) else self.fields[place]
        row = int(self.rows[place])
        if self.is_json:
            try:
                tree = json.loads(text)
            except (ValueError, RecursionError):
                pass
            else:
                for path, key, value in _walk(tree, ()):
                    yield Leaf(self, place, row, name, value, bits, f"{key}: " if key else "", path)
                return
        yield Leaf(self, place, row, name, text, bits)


@dataclass
class Leaf:
    """One text, what is found in it, and what becomes of it.

    Attributes:
        cue: What stands before it and says what it is: the key of a JSON value.
        path: Where it is in the JSON; None for a text of its own.
        surnames: Folded family names of the row: alone in a text, one stays a family name.
    """

    part: Part
    place: int
    row: int
    field_name: str
    text: str
    bits: int
    cue: str = ""
    path: tuple[str | int, ...] | None = None
    spans: list[Span] = field(default_factory=list)
    new: str = ""
    masked: str = ""
    surnames: frozenset[str] = frozenset()

    @property
    def has_digits(self) -> bool:
        """Whether there is anything for a recogniser of numbers."""
        return any(sign.isdigit() for sign in self.text)

    def add(self, spans: Iterable[Span]) -> None:
        """Add spans that overlap nothing found before."""
        new = apart(spans, self.spans)
        if new:
            self.spans = sorted([*self.spans, *new])


def _walk(tree: Any, path: tuple[str | int, ...]) -> Iterable[tuple[Any, str, str]]:
    """Yield (path, key, value as text) of each string and number."""
    key = next((step for step in reversed(path) if isinstance(step, str) and step != _INSIDE), "")
    if len(path) > _MAX_DEPTH:
        yield path, key, canonical_json(tree)
        return
    if isinstance(tree, dict):
        for name, value in tree.items():
            yield from _walk(value, (*path, name))
    elif isinstance(tree, list):
        for i, value in enumerate(tree):
            yield from _walk(value, (*path, i))
    elif isinstance(tree, str):
        inner = _nested(tree)
        if inner is None:
            yield path, key, tree
        else:
            yield from _walk(inner, (*path, _INSIDE))
    elif isinstance(tree, int | float) and not isinstance(tree, bool):
        yield path, key, str(tree)


def _nested(text: str) -> Any:
    """Return the object or list that a text is the JSON of, as arguments of calls are."""
    if text[:1] in ("{", "["):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            pass
    return None


def _put(tree: Any, path: tuple[str | int, ...], text: str) -> Any:
    """Return the tree with the text in its place."""
    if not path:
        return text
    step, rest = path[0], path[1:]
    if step == _INSIDE:
        return canonical_json(_put(json.loads(tree), rest, text))
    tree[step] = _put(tree[step], rest, text)
    return tree


def parts_of(columns: Mapping[str, pa.Array | list[str]]) -> list[Part]:
    """Return the texts of all columns."""
    parts: list[Part] = []
    for name, given in columns.items():
        column = pa.array(given) if isinstance(given, list) else given
        if isinstance(column, pa.ChunkedArray):
            column = column.combine_chunks()
        kind = FIELDS.get(name, "metadata")
        if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
            parts += _message_parts(name, column)
        elif column.type != pa.null():
            rows = np.arange(len(column), dtype=np.int64)
            parts.append(Part(name, "", column, rows, kind, name in _JSON))
    return parts


def _message_parts(name: str, column: pa.Array) -> list[Part]:
    flat = column.flatten()
    rows = np.asarray(pc.list_parent_indices(column), dtype=np.int64)
    if not pa.types.is_struct(flat.type):
        return [Part(name, _ITEMS, flat, rows, FIELDS.get(name, "metadata"), name in _JSON)]
    roles = pc.struct_field(flat, "role").to_pylist()
    fields = [_ROLES.get(role, FIELDS.get(name, "prompt")) for role in roles]
    contents = Part(name, "content", pc.struct_field(flat, "content"), rows, fields, False)
    names = {flat.type.field(i).name for i in range(flat.type.num_fields)}
    if "tool_calls" not in names:
        return [contents]
    return [
        contents,
        Part(name, "tool_calls", pc.struct_field(flat, "tool_calls"), rows, "tools", True),
    ]


def columns_of(
    columns: Mapping[str, pa.Array | list[str]],
    parts: list[Part],
    leaves: list[Leaf],
    left_out: Mapping[str, NDArray[np.bool_]],
    masked: frozenset[str],
) -> tuple[dict[str, pa.Array], dict[str, pa.Array]]:
    """Return the columns with the leaves' new texts, and the masked ones."""
    changed: dict[int, dict[int, list[Leaf]]] = defaultdict(lambda: defaultdict(list))
    for leaf in leaves:
        if leaf.spans:
            changed[id(leaf.part)][leaf.place].append(leaf)
    new: dict[str, pa.Array] = {}
    hidden: dict[str, pa.Array] = {}
    for name, given in columns.items():
        column = pa.array(given) if isinstance(given, list) else given
        new[name] = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    for part in parts:
        places = changed[id(part)]
        out = left_out[part.column]
        texts = {place: _joined(group, "new") for place, group in places.items()}
        texts |= {p: None for p in places if out[part.rows[p]]}
        fresh = _replaced(part.texts, texts)
        if part.inner:
            new[part.column] = _with_inner(new[part.column], part.inner, fresh)
        else:
            new[part.column] = fresh
            if part.column in masked:
                texts = {place: _joined(group, "masked") for place, group in places.items()}
                hidden[part.column] = _replaced(part.texts, texts)
    return new, hidden


def _joined(leaves: list[Leaf], which: str) -> str | None:
    """Return the text of a place: of its one leaf, or the JSON with all of its leaves."""
    if leaves[0].path is None:
        return str(getattr(leaves[0], which))
    part, place = leaves[0].part, leaves[0].place
    tree = json.loads(part.texts[place].as_py())
    for leaf in leaves:
        text = getattr(leaf, which)
        if text != leaf.text:
            tree = _put(tree, leaf.path or (), text)
    return canonical_json(tree)


def _replaced(texts: pa.Array, new: dict[int, str | None]) -> pa.Array:
    if not new:
        return texts
    places = sorted(new)
    mask = np.zeros(len(texts), np.bool_)
    mask[places] = True
    fresh = pa.array([new[place] for place in places], type=texts.type)
    return pc.replace_with_mask(texts, pa.array(mask), fresh)


def _with_inner(column: pa.Array, inner: str, fresh: pa.Array) -> pa.Array:
    """Return the lists with their items, or one field of the messages in them, replaced."""
    flat = column.flatten()
    if inner == _ITEMS:
        values = fresh
    else:
        names = [flat.type.field(i).name for i in range(flat.type.num_fields)]
        fields = [fresh if name == inner else pc.struct_field(flat, name) for name in names]
        values = pa.StructArray.from_arrays(fields, names=names)
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    mask = pc.is_null(column) if column.null_count else None
    return pa.ListArray.from_arrays(offsets, values, mask=mask).cast(column.type)
