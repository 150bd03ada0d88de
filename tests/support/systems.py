"""Served systems for tests: bases without weights, and the tiny random Llama."""

import json
from pathlib import Path

from tuneloop.artefacts.systems import SystemSpec
from tuneloop.runtime.serving import ServedSystem
from tuneloop.runtime.weights import ResolvedModel


def served(name="base", *, base="b" * 64, folder=Path("base"), adapter=None, **spec):
    """Return a system; `adapter` is (digest, folder)."""
    digest, adapter_folder = adapter or (None, None)
    return ServedSystem(
        spec=SystemSpec(name=name, model="m", base=base, adapter=digest, **spec),
        base=ResolvedModel(folder=folder, digest=base, name="m"),
        adapter_folder=adapter_folder,
    )


def adapter_folder(folder, **config):
    """Write an adapter's description, without weights."""
    folder.mkdir(parents=True, exist_ok=True)
    described = {"r": 16, "bias": "none", "use_dora": False, "modules_to_save": None} | config
    (folder / "adapter_config.json").write_text(json.dumps(described))
    return folder
