"""Every mistake is one clear line, whatever else is wrong; no mistake is invented."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from tuneloop.config.evaluate import EngineConfig
from tuneloop.config.load import load_config, load_model
from tuneloop.config.problems import STAND_INS
from tuneloop.config.schema import RunConfig
from tuneloop.config.simulate import SimulateConfig
from tuneloop.errors import ConfigError

GOOD = {"name": "demo", "model.name": "tiny-random", "golden.path": "g.jsonl"}

# What is written (None: a key left out) and what the one problem says.
MISTAKES: list[tuple[dict[str, str | None], str]] = [
    ({"train.sft.learning_rate": "1e-4"}, "did you mean 'lr'"),
    ({"curate.dedup": "{enabled: true}"}, "did you mean 'dedupe'"),
    ({"model.name": None, "model.nam": "x"}, "did you mean 'name'"),
    ({"golden.path": None}, "golden: is required"),
    ({"name": None}, "name: is required"),
    ({"monitor": "{a: 1, b: [2]}"}, "unknown key; valid here: name, "),
    ({"seed": "abc"}, "valid integer"),
    ({"lake": "5"}, "lake: Input should be a section of keys, not 5"),
    ({"lake.events": "[a.jsonl, 5]"}, "lake.events.1: Input should be a section of keys, not 5"),
    ({"decide.alpha": "0.9"}, "less than 0.5"),
    ({"train.dpo.lr": ".inf"}, "finite"),
    ({"evaluate.sampling.temperature": ".nan"}, "finite"),
    ({"train.sft.precision": "bf61"}, "did you mean 'bf16'"),
    ({"tenant": "!env TENANT"}, "tenant: the tag !env is not read here"),
    ({"tenant": "!!python/name:os.system"}, "!!python/name:os.system is not read"),
    ({"model.revision": "&a [*a]"}, "alias of what it is part of"),
    ({"task": "!!int abc"}, "task: no valid value"),
    ({"env": '"a\\0b"'}, "null character"),
    ({"build": "{<<: {max_sft_rows: 5}}"}, "merge keys (<<) are not read"),
    ({"curate.leak": "{on_leak: drop, on_leak: fail}"}, "curate.leak.on_leak: is given twice"),
    ({"train.sft.lora.target_modules": "5"}, "a valid list or a valid string, not 5"),
    ({"train.sft.lora.target_modules": "{a: 1}"}, "a valid list or a valid string"),
    ({"evaluate.engine.api_key_env": "sk-123"}, "NAME of an environment variable"),
    ({"evaluate.engine.api_key_env": "12345"}, "NAME of an environment variable"),
    ({"store": "s3://me:pass@host/bucket"}, "no user or password"),
    ({"lake.uri": "s3://me:pass@host/bucket"}, "no user or password"),
    (
        {
            "evaluate.judge.engine.backend": "url",
            "evaluate.judge.engine.served_model": "m",
            "evaluate.judge.engine.url": "http://token@host/v1",
        },
        "no user or password",
    ),
    # Conflicts, each of which reads right values only.
    ({"train.sft.global_batch_size": "10"}, "not a multiple"),
    ({"train.sft.early_stopping_patience": "2", "train.sft.eval_steps": "3"}, "save_steps equal"),
    ({"train.dpo.label_smoothing": "0.1"}, "label_smoothing is read by"),
    ({"train.sft.enabled": "false", "train.dpo.enabled": "false"}, "there is no candidate"),
    ({"decide.metric": "judge"}, "needs evaluate.judge.role deciding"),
    ({"evaluate.engine.backend": "url"}, "needs url and served_model"),
    # A wrong value that would make a conflict if it were read as its default.
    ({"train.sft.micro_batch_size": "abc", "train.sft.global_batch_size": "4"}, "valid integer"),
    ({"train.sft.micro_batch_sise": "4", "train.sft.global_batch_size": "4"}, "did you mean"),
    ({"decide.metric": "judge", "evaluate.judge.role": "decidin"}, "did you mean 'deciding'"),
    ({"train.dpo.loss_type": "[robust, robst]", "train.dpo.label_smoothing": "0.1"}, "'robust'?"),
    ({"train.sft.enabled": "!no x", "train.dpo.enabled": "false"}, "!no is not read"),
]
OVERRIDES: list[tuple[str, str]] = [
    ("train.dpo.bta=2", "--set train.dpo.bta: train.dpo.bta: unknown key; did you mean 'beta'?"),
    ("nonsense", "--set nonsense: write it as"),
    ("curate.redact.enabled=maybe", "--set curate.redact.enabled: "),
    ("report.n_examples=-1", "--set report.n_examples: "),
    ("report.title=[", "--set report.title: no valid YAML"),
    (
        "train.tracking.project=!x y",
        "--set train.tracking.project: train.tracking.project: the tag",
    ),
    ("=sk-secret", "--set : write it as"),
]


def _apart(mistakes: list[tuple[dict[str, str | None], str]]) -> bool:
    """Whether no mistake touches a key, or a section a whole of which is wrong, of another."""
    keys = [key.split(".") for written, _ in mistakes for key in written]
    return not any(
        one[: len(other)] == other
        for i, one in enumerate(keys)
        for j, other in enumerate(keys)
        if i != j
    )


def _write(path: Path, values: dict[str, str], head: str = "") -> dict[str, int]:
    """Write dotted keys as nested YAML, one key a line; return the line of each."""
    tree: dict[str, Any] = {}
    for key, text in values.items():
        *parents, last = key.split(".")
        section = tree
        for parent in parents:
            section = section.setdefault(parent, {})
        section[last] = text
    lines, places = [head] if head else [], {}

    def emit(section: dict[str, Any], above: str, indent: str) -> None:
        for key, value in section.items():
            lines.append(f"{indent}{key}: {'' if isinstance(value, dict) else value}")
            places[above + key] = len(lines)
            if isinstance(value, dict):
                emit(value, f"{above}{key}.", indent + "  ")

    emit(tree, "", "")
    path.write_text("\n".join(lines) + "\n")
    return places


def _check(mistakes, in_base, overrides) -> None:
    good = {key: text for key, text in GOOD.items() if all(key not in m for m, _ in mistakes)}
    files: list[dict[str, str]] = [dict(good), {}]
    for (written, _), base in zip(mistakes, in_base, strict=True):
        files[not base] |= {key: text for key, text in written.items() if text is not None}
    with tempfile.TemporaryDirectory() as folder:
        run, base_file = Path(folder, "run.yaml"), Path(folder, "base.yaml")
        places = [
            {key: f"{path}:{line}: " for key, line in _write(path, values, head).items()}
            for path, values, head in (
                (base_file, files[0], ""),
                (run, files[1], "extends: base.yaml"),
            )
        ]
        if not mistakes and not overrides:
            load_config(run)
            return
        with pytest.raises(ConfigError) as caught:
            load_config(run, [text for text, _ in overrides])
    found = caught.value.problems
    assert len(found) == len(mistakes) + len(overrides), "\n".join(found)
    for _, part in overrides:
        assert any(part in problem for problem in found), (part, found)
    for (written, part), base in zip(mistakes, in_base, strict=True):
        keys = [key for key, text in written.items() if text is not None]
        starts = tuple(places[not base][key] for key in keys) or (f"{run}:1: ",)
        assert any(p.startswith(starts) and part in p for p in found), (starts, part, found)
    assert "pass@" not in "".join(found)
    assert "sk-" not in "".join(found)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: str(mistake[0]))
def test_one_mistake_is_one_problem(mistake):
    _check([mistake], [True], [])


@pytest.mark.parametrize("override", OVERRIDES, ids=lambda override: override[0])
def test_one_wrong_override_is_one_problem(override):
    _check([], [], [override])


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(MISTAKES), max_size=9, unique_by=str).filter(_apart),
    st.lists(st.booleans(), min_size=9, max_size=9),
    st.lists(st.sampled_from(OVERRIDES), max_size=4, unique=True),
)
def test_n_mistakes_are_n_problems(mistakes, in_base, overrides):
    _check(mistakes, in_base[: len(mistakes)], overrides)


@pytest.mark.parametrize("bases", ["5", "", "[a.yaml, 5]", "{a: 1}", "!env BASE", "[!env BASE]"])
def test_a_wrong_base_is_one_problem_with_its_line(tmp_path, bases):
    path = tmp_path / "run.yaml"
    path.write_text(f"name: x\nextends: {bases}\n")
    (tmp_path / "a.yaml").write_text("sede: 3\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    (problem,) = caught.value.problems
    assert problem.startswith(f"{path}:2: extends")


@settings(max_examples=200, deadline=None)
@given(st.text("ab:[]{}&*!<>|-?,# \n\t'\"=.0e~%@\\\0", max_size=40))
def test_no_text_is_a_traceback(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "run.yaml")
        path.write_text(text)
        with pytest.raises(ConfigError):
            load_config(path)
        with contextlib.suppress(ConfigError):
            load_model(SimulateConfig, None, [f"name={text}", text])


@pytest.mark.parametrize(
    "text", ["[" * 3_000, "a: &a\n  b: *a\n", "\ud800", "a: \ud800", '"\\ud800": 1', "? [a]\n: 1\n"]
)
def test_odd_files_are_no_traceback(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError):
        load_config(path)


def test_every_required_key_has_a_stand_in():
    def required(model: type[BaseModel], loc: tuple[str, ...]):
        for name, field in model.model_fields.items():
            if field.is_required():
                yield (*loc, name)
                if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
                    yield from required(field.annotation, (*loc, name))

    assert set(required(RunConfig, ())) <= set(STAND_INS)
    assert not set(required(SimulateConfig, ()))


def test_conflicts_fail_where_a_section_is_made_in_code():
    with pytest.raises(ValidationError, match="needs url and served_model"):
        EngineConfig(backend="url")


def test_a_secret_is_not_shown_where_a_section_is_made_in_code():
    with pytest.raises(ValidationError) as caught:
        EngineConfig(api_key_env="sk-1", url="http://me:pass@host")
    assert "sk-1" not in str(caught.value)
    assert "pass@" not in str(caught.value)


def test_simulate_conflicts_name_their_line(tmp_path):
    path = tmp_path / "simulate.yaml"
    path.write_text(
        "scenario: labels\nchampion:\n  right_fraction: 0.9\n  wrong_fraction: 0.9\n"
        "people: {corrects: 0, thumbs: 0, stars: 0, comments: 0, behaves: 0}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load_model(SimulateConfig, path)
    assert [p.split(": ")[0].rpartition(":")[2] for p in caught.value.problems] == ["1", "3", "5"]
