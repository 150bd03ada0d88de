"""Config of the lake."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tuneloop.config.base import Section
from tuneloop.config.ingest import EventFile


class LakeConfig(Section):
    """Where events come from and where they are kept."""

    events: list[EventFile] = Field(default_factory=list)
    """Files to take in: each a path, or `{path, format}`."""
    uri: str | None = None
    """The Delta table; default `lakes/<tenant>/<task>/<env>` inside the store."""
    version: int | None = None
    """Pin an older version of the table instead of the newest."""
    pseudonyms: Literal["keyed", "as_given"] = "keyed"
    """`keyed` replaces whoever gave or caused an event by a keyed hash, whose key lies outside
    the store (`TUNELOOP_SUBJECT_KEY`, else a file of this machine); `as_given` is for sources
    that name pseudonyms already, and gives the same lake on every machine."""
