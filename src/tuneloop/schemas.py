"""The JSON schema files under docs/reference, generated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def schemas() -> dict[str, dict[str, Any]]:
    """Return every generated schema by file name."""
    from tuneloop.artefacts.events import event_json_schema
    from tuneloop.artefacts.golden import GoldenPrompt
    from tuneloop.config.schema import config_json_schema

    return {
        "run-config.schema.json": config_json_schema(),
        "event.schema.json": event_json_schema(),
        "golden.schema.json": GoldenPrompt.model_json_schema(),
    }


def write_schemas(folder: Path) -> list[Path]:
    """Write the schema files; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, schema in schemas().items():
        path = folder / name
        path.write_text(json.dumps(schema, indent=1) + "\n", encoding="utf-8")
        paths.append(path)
    return paths
