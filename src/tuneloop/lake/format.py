"""What a format is: one object in one file of `lake/formats/`, found by its place alone."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

Record = dict[str, Any]
"""One record of a source: a line, an element of an array, a row."""
Event = dict[str, Any]
"""One native event, not yet validated (see `artefacts/events.py`)."""


class UnfitError(Exception):
    """A record that cannot become an event: a short reason for counting, a detail for people."""

    def __init__(self, reason: str, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


@dataclass
class Source:
    """What an importer knows of the file it reads, and what it remembers between records.

    Attributes:
        name: Name of the file, for ids that must be told apart.
        memory: Whatever a stateful format must remember (one tree of OASST, say); never grows
            with the file.
    """

    name: str
    memory: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        name: What `--format` takes.
        title: What people call it.
        recognise: From one record: how surely it is this format, 0 … 1. Looks at fields only:
            1 for names nobody else has together, 0.5 for what is just enough, 0 for another's,
            below 0 for what speaks against the whole file.
            Records that another format takes for its own (score as high) are ambiguous.
        convert: One record → its events (interactions before the feedback on them). Raises
            UnfitError. Ids are taken from the record, or derived from its content
            (`lake.ids.content_id`), so that the same record always gives the same events.
            `event_ts` may be whatever `lake.times.parse_time` reads, or `lake.times.UNDATED`.
            People are named as the source names them (`subject_key`, `actor.id`): they become
            pseudonyms afterwards, wherever in the event their name is repeated. No events: the
            record is fine and says nothing for us (a span that is no model call).
        fields: Table for the docs: (theirs, ours, note).
        examples: A few records as the format's writer would leave them; tests run them all.
        split: For nested files: one element of the source → the records in it (a trace with
            many spans); None: an element is a record.
    """

    name: str
    title: str
    recognise: Callable[[Mapping[str, Any]], float]
    convert: Callable[[Record, Source], Iterable[Event]]
    fields: tuple[tuple[str, str, str], ...]
    examples: tuple[Record, ...]
    split: Callable[[Record], Iterable[Record]] | None = None


@cache
def formats() -> dict[str, Format]:
    """Return every format by name: each module in `lake/formats/` has one `FORMAT`."""
    from tuneloop.lake import formats as folder

    found: dict[str, Format] = {}
    for module in sorted(pkgutil.iter_modules(folder.__path__), key=lambda m: m.name):
        one: Format = importlib.import_module(f"{folder.__name__}.{module.name}").FORMAT
        found[one.name] = one
    return found
