"""Curate a lake in a process of its own: `python curate_once.py FOLDER RUNNER`."""

import json
import sys
from datetime import UTC, datetime
from pathlib import Path

from tuneloop.artefacts.manifest import Manifest
from tuneloop.artefacts.stage import GoldenSet, LakeVersion, StageContext
from tuneloop.artefacts.store import Store
from tuneloop.config.curate import CurateConfig
from tuneloop.curate.stage import curate
from tuneloop.runtime.progress import SilentProgress


def kept(store, kind, artefact, files, details=None):
    draft = Manifest(kind=kind, key=kind, digest="", files={}, details=details or {},
                     started_at=datetime.now(UTC))  # fmt: skip
    return artefact(store.commit(draft, files).manifest, store)


def main(folder: Path, runner: str) -> None:
    store = Store(str(folder / f"store-{runner}"))
    details = {"uri": str(folder / "lake"), "version": 0}
    lake = kept(store, "lake", LakeVersion, {"lake.json": folder / "lake.json"}, details)
    golden = kept(store, "golden", GoldenSet, {"golden.jsonl": folder / "golden.jsonl"})
    config = CurateConfig.model_validate(
        {"runner": runner, "redact": {"engine": "patterns"}, "leak": {"semantic": "off"}}
    )
    work = folder / runner
    work.mkdir()
    out = curate(lake, golden, config, StageContext(work, 17, SilentProgress()))
    (work / "counts.json").write_text(json.dumps(out.counts.model_dump(), sort_keys=True))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
