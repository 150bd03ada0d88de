"""Pairs of answers that people judged, and pairs whose better answer is plain."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tuneloop.artefacts.golden import GoldenMessage, GoldenPrompt
from tuneloop.errors import DataError
from tuneloop.evaluate.judge import Pair

ANCHORS = Path(__file__).parent / "anchors" / "anchors-v1.jsonl"
"""The pairs that come with tuneloop; a change of them is a new file."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)

    id: str = Field(min_length=1)
    prompt: str | None = None
    messages: list[GoldenMessage] | None = None
    champion: str
    candidate: str
    human: Annotated[float, Field(ge=0, le=1)]
    reference: str | None = None
    checklist: list[str] | None = None
    slices: list[str] = Field(default_factory=list)
    family: str | None = None


@dataclass(frozen=True)
class Labelled:
    """A pair, and what people found: 1 the candidate is better, 0 the champion, ½ neither."""

    pair: Pair
    human: float


def read_pairs(path: Path) -> list[Labelled]:
    """Return the labelled pairs of a JSON-lines file.

    Raises:
        DataError: naming the line, where one is malformed or an id is repeated, or where the
            file holds none.
    """
    found: dict[str, Labelled] = {}
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the labelled pairs cannot be read: {error}", where=str(path)) from error
    for number, text in enumerate(lines, 1):
        if not text.strip():
            continue
        where = f"{path}:{number}"
        one = _parse(text, where)
        if one.id in found:
            raise DataError(f"id {one.id!r} is used twice", where=where)
        found[one.id] = Labelled(_pair(one, where), one.human)
    if not found:
        raise DataError("the file holds no labelled pair", where=str(path))
    return list(found.values())


def _parse(text: str, where: str) -> _Line:
    try:
        return _Line.model_validate(json.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise DataError(f"{field}: {first['msg']}", where=where) from error
    except ValueError as error:
        raise DataError(f"not JSON: {error}", where=where) from error


def _pair(one: _Line, where: str) -> Pair:
    messages = one.messages or ([{"role": "user", "content": one.prompt}] if one.prompt else None)
    if messages is None:
        raise DataError("a labelled pair needs messages or a prompt", where=where)
    fields: dict[str, Any] = {"id": one.id, "messages": messages, "reference": one.reference}
    fields |= {"slices": one.slices, "family": one.family}
    if one.checklist and "checklist" in GoldenPrompt.model_fields:
        fields["checklist"] = one.checklist
    return Pair(one.id, GoldenPrompt(**fields), one.champion, one.candidate)
