"""Ids for records that have none: derived from their content, so that twice is once."""

from __future__ import annotations

from typing import Any

from tuneloop.artefacts.digest import digest_json


def content_id(prefix: str, *parts: Any) -> str:
    """Return `prefix-<16 hex>` that depends on the parts alone (any JSON values)."""
    return f"{prefix}-{digest_json(list(parts))[:16]}"
