"""Config of what is taken in."""

from __future__ import annotations

from typing import Any

from pydantic import GetJsonSchemaHandler, model_validator
from pydantic_core import CoreSchema

from tuneloop.config.base import Section


class EventFile(Section):
    """A list of files to take in: each a path, or `{path, format}`."""

    path: str
    """The file: JSON lines, JSON, CSV or Parquet, also gzip and zstd; relative to the file that
    names it. Or a data set of the hub, `hf:name[:config][:split]`."""
    format: str = "auto"
    """Name of its format (docs/reference/formats.md); `auto` tells it from the fields."""

    @model_validator(mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Return the schema of either form."""
        return {"anyOf": [{"type": "string"}, handler(schema)]}
