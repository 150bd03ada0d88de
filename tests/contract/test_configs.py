"""Every shipped config loads: one test reaches them all."""

import itertools
from pathlib import Path

import pytest

from tuneloop.config.load import load_config, load_model
from tuneloop.config.policy import PolicyConfig
from tuneloop.config.sweep import SweepConfig
from tuneloop.config.system import SystemConfig

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
# configs/accelerate and configs/launch hold settings of other tools.
OTHERS = {"policies": PolicyConfig, "sweeps": SweepConfig, "systems": SystemConfig}
FOUND = sorted(
    p for p in CONFIGS.rglob("*.yaml") if p.parent.name not in {"accelerate", "launch", *OTHERS}
)
PARTS = sorted(p for p in CONFIGS.rglob("*.yaml") if p.parent.name in OTHERS)


def test_the_named_configs_are_shipped():
    assert {"demo.yaml", "smoke.yaml"} <= {path.name for path in FOUND}
    assert not list(CONFIGS.rglob("*.yml")), "the suffix is .yaml, or discovery misses it"


@pytest.mark.parametrize("path", FOUND, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_shipped_config_is_valid(path):
    loaded = load_config(path)
    assert loaded.config.name
    assert path.read_text(encoding="utf-8").startswith("#"), "say on line one what it is for"


@pytest.mark.parametrize("path", PARTS, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_every_shipped_policy_system_and_sweep_is_valid(path):
    loaded, _ = load_model(OTHERS[path.parent.name], path)
    assert getattr(loaded, "name", None) or path.parent.name == "sweeps"
    assert path.read_text(encoding="utf-8").startswith("#"), "say on line one what it is for"


@pytest.mark.parametrize("path", FOUND, ids=lambda path: str(path.relative_to(CONFIGS)))
def test_the_data_a_config_names_is_shipped_or_its_head_says_where_it_comes_from(path):
    config = load_config(path).config
    events = [one.path for one in config.lake.events]
    files = [Path(name) for name in (*events, config.golden.path)]
    if all(name.is_file() for name in files):
        return
    assert path.parent.name == "recipes"
    head = "".join(
        itertools.takewhile(lambda line: line.startswith("#"), path.open(encoding="utf-8"))
    )
    for folder in {name.parent.name for name in files}:
        assert f" {folder}/" in head or f"--out {folder}\n" in head, f"where is {folder}/ from?"
