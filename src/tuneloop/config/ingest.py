"""Config of what is taken in."""

from __future__ import annotations

from tuneloop.config.base import Section


class EventFile(Section):
    """A file of events, and what it is."""

    path: str
    """The file: JSON lines, JSON, CSV or Parquet, also gzip and zstd; relative to the file that
    names it. Or a data set of the hub, `hf:name[:config][:split]`."""
    format: str = "auto"
    """Name of its format (docs/reference/formats.md); `auto` tells it from the fields."""
