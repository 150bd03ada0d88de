"""A stage's files, kept in a store as an artefact."""

import uuid
from datetime import UTC, datetime

from tuneloop.artefacts.manifest import Manifest

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def keep(store, kind, artefact, files, details=None):
    """Commit files under a key of their own; return the artefact."""
    draft = Manifest(
        kind=kind,
        key=uuid.uuid4().hex,
        digest="",
        files={},
        details=details or {},
        started_at=BEGAN,
    )
    return artefact(store.commit(draft, files).manifest, store)
