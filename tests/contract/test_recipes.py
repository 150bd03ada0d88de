"""Every recipe is found, fits the card it names, and says where it was run."""

from pathlib import Path

import pytest

from tuneloop.config.load import load_config
from tuneloop.runtime.shapes import published_shape
from tuneloop.train.memory import Machine, estimate
from tuneloop.train.step import largest_step

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "configs" / "recipes"
# banking77 is an experiment on a data set, made for a CPU, not for a card.
FOUND = sorted(p for p in RECIPES.glob("*.yaml") if p.name != "banking77.yaml")
FAMILIES = {
    "qwen3-0.6b", "qwen3-1.7b", "qwen3-4b", "qwen3-8b", "qwen3-14b", "qwen3-32b", "llama-3.2-1b",
    "llama-3.1-8b", "llama-3.3-70b", "gemma-3-4b", "smollm2-135m", "smollm3-3b", "mistral-7b",
    "gpt-oss-20b", "gpt-oss-120b",
}  # fmt: skip
MAIN = (
    "| recipe | model | method | card | estimate, GiB a card | run on |\n"
    "|---|---|---|---|---|---|\n"
)


def needs(config):
    """The estimate of the chain's most demanding stage, GiB on each card."""
    shape = published_shape(config.model.name)
    assert shape is not None, f"no published shape of {config.model.name}"
    machine = Machine("cuda", "bf16", shards=config.recipe.n_cards)
    stages = {name: config.train.method(name) for name in config.train.chain}
    return max(
        estimate(shape, section, largest_step(section, pairs=name == "dpo"), machine).total_gib
        for name, section in stages.items()
    )


def method_of(config):
    sft = config.train.sft
    return "full" if sft.adapter == "full" else "qlora" if sft.quantisation == "nf4" else "lora"


def line(path):
    config = load_config(path).config
    recipe = config.recipe
    cards = f"{recipe.n_cards} x " if recipe.n_cards > 1 else ""
    return (
        f"| `{path.name}` | {config.model.name} | {method_of(config)} | "
        f"{cards}{recipe.card_gib:.0f} GB | {needs(config):.1f} | {recipe.run_on} |"
    )


def test_discovery_reaches_every_family_and_card():
    names = [path.stem for path in FOUND]
    assert {name for name in FAMILIES if any(n.startswith(name) for n in names)} == FAMILIES
    assert {name.rsplit("-", 1)[1] for name in names} == {"16gb", "24gb", "80gb", "8x80gb"}


@pytest.mark.parametrize("path", FOUND, ids=lambda path: path.stem)
def test_a_recipe_fits_its_card_and_says_where_it_was_run(path):
    config = load_config(path).config
    recipe = config.recipe
    assert recipe is not None, "a recipe states its card"
    assert "recipe:" in path.read_text(encoding="utf-8")
    cards = f"{recipe.n_cards}x" if recipe.n_cards > 1 else ""
    assert path.stem.endswith(f"-{method_of(config)}-{cards}{recipe.card_gib:.0f}gb")
    assert config.name == path.stem
    # Cards hold a little less than their name says, and others' processes take some.
    assert needs(config) < 0.93 * recipe.card_gib
    assert recipe.run_on


def test_the_guide_lists_every_recipe():
    page = (ROOT / "docs" / "guides" / "recipes.md").read_text(encoding="utf-8")
    assert MAIN + "\n".join(map(line, FOUND)) + "\n" in page, "\n" + "\n".join(map(line, FOUND))
