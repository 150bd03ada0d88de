"""Aliases: two writers cannot both win, and history is kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tuneloop.artefacts.aliases import (
    AliasName,
    Generation,
    advance,
    current,
    generations,
    list_aliases,
)
from tuneloop.artefacts.store import Store
from tuneloop.artefacts.systems import SystemSpec
from tuneloop.errors import DecisionError

ALIAS = AliasName(tenant="t", task="help", env="production")


def generation(number: int, name: str) -> Generation:
    spec = SystemSpec(name=name, model="m", base="b" * 64, adapter=name)
    now = datetime.now(UTC)
    return Generation(number=number, system=spec, digest=spec.digest, reason="r", actor="a", at=now)


def test_race_has_one_winner(tmp_path: Path):
    store = Store(str(tmp_path))

    def attempt(name: str) -> bool:
        try:
            advance(store, ALIAS, generation(1, name))
        except DecisionError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(attempt, [f"s{i}" for i in range(8)])) == 1
    assert len(generations(store, ALIAS)) == 1


def test_current_is_the_newest(tmp_path: Path):
    store = Store(str(tmp_path))
    assert current(store, ALIAS) is None
    for number, name in ((1, "one"), (2, "two")):
        advance(store, ALIAS, generation(number, name))
    assert current(store, ALIAS).system.name == "two"


def test_system_digest_ignores_names_and_covers_the_rest():
    spec = SystemSpec(name="a", model="m", base="b")
    assert spec.digest == spec.model_copy(update={"name": "z", "model": "elsewhere"}).digest
    for change in ({"base": "c"}, {"adapter": "x"}, {"system_prompt": "s"}, {"engine": "url"}):
        assert spec.digest != spec.model_copy(update=change).digest


@pytest.mark.parametrize("field", ["base", "adapter"])
def test_system_is_frozen(field: str):
    with pytest.raises(ValueError, match="frozen"):
        setattr(SystemSpec(name="a", model="m", base="b"), field, "x")


def test_what_else_lies_among_aliases_is_passed_over(tmp_path: Path):
    store = Store(str(tmp_path))
    advance(store, ALIAS, generation(1, "one"))
    store.put("aliases/README", b"")
    store.put("aliases/a/b/c/d/e/f", b"")
    assert list_aliases(store) == [ALIAS]
