"""Every shipped config loads: one test reaches them all."""

from pathlib import Path

import pytest

from tuneloop.config.load import load_config

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
# configs/accelerate holds launch settings of another tool.
FOUND = sorted(p for p in CONFIGS.rglob("*.yaml") if p.parent.name != "accelerate")


def test_the_named_configs_are_shipped():
    assert {"demo.yaml", "smoke.yaml"} <= {path.name for path in FOUND}
    assert not list(CONFIGS.rglob("*.yml")), "the suffix is .yaml, or discovery misses it"


@pytest.mark.parametrize("path", FOUND, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_shipped_config_is_valid(path):
    loaded = load_config(path)
    assert loaded.config.name
    assert path.read_text(encoding="utf-8").startswith("#"), "say on line one what it is for"
