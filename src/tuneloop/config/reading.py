"""Reading YAML so that every value, and everything wrong with it, has a file and a line."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Loc = tuple[str | int, ...]
# Read as the text that is written: pydantic reads dates, and `<<` or `=` are no values here.
TEXT_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "timestamp", "merge", "value")}
SCALAR_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float")}
GROUP_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("map", "seq")}


@dataclass(frozen=True)
class Place:
    """Where a value was written: a file and line, or the command line."""

    source: str
    line: int | None = None
    folder: Path | None = None

    def __str__(self) -> str:
        return f"{self.source}:{self.line}" if self.line else self.source


@dataclass
class Tree:
    """A merged config that remembers where each value came from and what was wrong with it."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[Loc, Place] = field(default_factory=dict)
    problems: list[tuple[Place, str]] = field(default_factory=list)
    wrong: set[Loc] = field(default_factory=set)
    """Values already found to be wrong; (): the whole, after a file that cannot be read."""
    unsure: set[Loc] = field(default_factory=set)
    """Keys and sections of which a problem makes unclear what was meant."""

    def note(self, place: Place, text: str, *, wrong: Loc | None = None) -> None:
        """Note a problem, and the value that it makes worthless."""
        self.problems.append((place, text))
        if wrong is not None:
            self.wrong.add(wrong)

    def lines(self) -> list[str]:
        """Return every problem once, by file and line, the command line's last."""
        ordered = sorted(self.problems, key=lambda p: (p[0].line is None, p[0].source, p[0].line))
        return list(dict.fromkeys(f"{place}: {text}" for place, text in ordered))

    def merge(self, values: dict[str, Any], places: dict[Loc, Place]) -> None:
        """Lay values over what is there; mappings merge, everything else replaces."""
        self._merge(self.values, values, ())
        self.places.update(places)

    def _merge(self, base: dict[str, Any], change: dict[str, Any], loc: Loc) -> None:
        for key, value in change.items():
            here = (*loc, key)
            if isinstance(value, dict) and isinstance(base.get(key), dict):
                self._merge(base[key], value, here)
            else:
                base[key] = value
                for old in [old for old in self.places if old[: len(here)] == here]:
                    del self.places[old]

    def place(self, loc: Loc) -> Place:
        """Return the place of `loc`, or of its nearest parent that was written."""
        while loc and loc not in self.places:
            loc = loc[:-1]
        return self.places.get(loc, Place("command line"))


@dataclass
class Reader:
    """Turns the YAML of one source into plain values; problems go into the tree."""

    source: Place
    tree: Tree
    places: dict[Loc, Place] = field(default_factory=dict)

    def read(self, text: str, loc: Loc = ()) -> Any:
        """Return the value of a text, None where there is none or it is noted as wrong."""
        self.places[loc] = self._place(0)
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
            return None if node is None else self._value(node, loc, ())
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            what = str(getattr(error, "problem", None) or error).splitlines()[0]
            place = self._place(mark.line) if mark else self.source
            self.tree.note(place, f"no valid YAML: {what}", wrong=loc)
        except RecursionError:
            self.tree.note(self.places[loc], "nested too deeply", wrong=loc)
        return None

    def _place(self, line: int) -> Place:
        """Return the place of a line, counted from 0; an override is one line and has none."""
        source = self.source
        return Place(source.source, source.line and line + 1, source.folder)

    def _value(self, node: yaml.Node, loc: Loc, above: tuple[yaml.Node, ...]) -> Any:
        """Return the plain value of a node, noting the line of every part of it."""
        place = self.places.setdefault(loc, self._place(node.start_mark.line))
        dotted = ".".join(str(part) for part in loc)
        if any(node is parent for parent in above):
            self.tree.note(place, f"{dotted}: an alias of what it is part of", wrong=loc)
        elif node.tag not in TEXT_TAGS | SCALAR_TAGS | GROUP_TAGS:
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            self.tree.note(place, f"{dotted}: the tag {tag} is not read here", wrong=loc)
        elif isinstance(node, yaml.MappingNode):
            return self._mapping(node, loc, (*above, node))
        elif isinstance(node, yaml.SequenceNode):
            return [
                self._value(item, (*loc, index), (*above, node))
                for index, item in enumerate(node.value)
            ]
        else:
            try:
                return _scalar(node)
            except ValueError as error:
                self.tree.note(place, f"{dotted}: no valid value: {error}", wrong=loc)
        return None

    def _mapping(
        self, node: yaml.MappingNode, loc: Loc, above: tuple[yaml.Node, ...]
    ) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            place = self._place(key_node.start_mark.line)
            key = str(key_node.value)
            here = (*loc, key)
            if key_node.tag == "tag:yaml.org,2002:merge":
                text = "merge keys (<<) are not read; put what is shared in a base: extends"
                self.tree.note(place, text)
                self.tree.unsure.add(loc)
            elif not isinstance(key_node, yaml.ScalarNode):
                self.tree.note(place, "a key is one word")
            elif key in result:
                self.tree.note(place, f"{'.'.join(str(part) for part in here)}: is given twice")
                self.tree.unsure.add(here)
            else:
                self.places[here] = place
                result[key] = self._value(value_node, here, above)
        return result


def _scalar(node: yaml.Node) -> Any:
    """Return a number, truth value, None or text.

    Raises:
        ValueError: if it is not what its tag says, or a text nothing could be called.
    """
    text = str(node.value)
    if "\0" in text:
        raise ValueError("it holds a null character")
    text.encode()  # a lone surrogate is no text
    if node.tag in SCALAR_TAGS:
        try:
            return yaml.SafeLoader("").construct_object(node)
        except (KeyError, IndexError):  # such as !!bool maybe
            raise ValueError(f"not of the kind {node.tag.rpartition(':')[2]}") from None
    # YAML 1.1 reads 2e-4 as a text; researchers mean a number.
    plain = node.tag == "tag:yaml.org,2002:str" and getattr(node, "style", None) is None
    if plain and text[:1] in set("+-.0123456789"):
        try:
            return float(text)
        except ValueError:
            return text
    return text
