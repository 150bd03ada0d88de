"""Loading configs: bases, overrides, paths, and every mistake at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuneloop.config.load import load_config
from tuneloop.errors import ConfigError

GOOD = "name: demo\nmodel: {name: tiny-random}\ngolden: {path: golden.jsonl}\n"


def write(folder: Path, text: str, name: str = "run.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def problems(path: Path, overrides=()) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    return caught.value.problems


def test_minimal_config_has_defaults(tmp_path: Path):
    config = load_config(write(tmp_path, GOOD)).config
    assert config.train.sft.enabled
    assert config.golden.path == str(tmp_path / "golden.jsonl")


def test_five_mistakes_five_errors(tmp_path: Path):
    text = """name: demo
golden: {path: g.jsonl}
model: {name: tiny-random}
train:
  sft:
    learning_rate: 1e-4
    precision: bf61
  dpo:
    label_smoothing: 0.1
curate: {dedup: {enabled: true}}
decide: {metric: judge}
"""
    found = problems(write(tmp_path, text))
    assert len(found) == 5
    joined = "\n".join(found)
    for line, part in (
        (6, "did you mean 'lr'"),
        (7, "did you mean 'bf16'"),
        (9, "label_smoothing is read by"),
        (10, "did you mean 'dedupe'"),
        (11, "decide.metric judge needs"),
    ):
        assert any(f"run.yaml:{line}:" in p and part in p for p in found), (line, part, joined)


def test_two_conflicts_in_one_section_are_two_errors(tmp_path: Path):
    text = (
        GOOD + "train: {sft: {global_batch_size: 10, early_stopping_patience: 2, eval_steps: 3}}\n"
    )
    found = problems(write(tmp_path, text))
    assert len(found) == 2
    assert any("not a multiple" in p for p in found)
    assert any("early_stopping_patience" in p for p in found)


def test_base_is_merged_and_its_paths_are_its_own(tmp_path: Path):
    write(tmp_path, GOOD + "train: {sft: {lr: 1e-3, epochs: 3}}\n", "bases/base.yaml")
    path = write(tmp_path, "extends: bases/base.yaml\ntrain: {sft: {epochs: 1}}\n")
    config = load_config(path).config
    assert (config.train.sft.lr, config.train.sft.epochs) == (1e-3, 1)
    assert config.golden.path == str(tmp_path / "bases/golden.jsonl")


def test_error_in_a_base_names_the_base(tmp_path: Path):
    write(tmp_path, GOOD + "sede: 3\n", "base.yaml")
    found = problems(write(tmp_path, "extends: base.yaml\nname: x\n"))
    assert len(found) == 1
    assert "base.yaml:4" in found[0]
    assert "'seed'" in found[0]


def test_circle_of_bases_is_an_error(tmp_path: Path):
    path = write(tmp_path, "extends: run.yaml\n" + GOOD)
    assert any("circle" in p for p in problems(path))


@pytest.mark.parametrize(
    ("override", "expected"),
    [("train.sft.lr=2e-4", 2e-4), ("train.sft.lr=0.01", 0.01)],
)
def test_override_numbers(tmp_path: Path, override: str, expected: float):
    assert load_config(write(tmp_path, GOOD), [override]).config.train.sft.lr == expected


def test_every_flag_can_be_turned_on_and_off(tmp_path: Path):
    path = write(tmp_path, GOOD)
    for value in (True, False):
        config = load_config(path, [f"curate.redact.enabled={str(value).lower()}"]).config
        assert config.curate.redact.enabled is value


def test_bad_override_names_itself(tmp_path: Path):
    found = problems(write(tmp_path, GOOD), ["train.dpo.bta=2", "nonsense"])
    assert any("--set train.dpo.bta: " in p and "'beta'" in p for p in found)
    assert any("--set nonsense" in p for p in found)


def test_twice_given_key_is_an_error(tmp_path: Path):
    assert any("given twice" in p for p in problems(write(tmp_path, GOOD + "name: again\n")))


@pytest.mark.parametrize("text", ["a: [", "- a list\n", "a: \t b\n\t- c"])
def test_no_config_at_all_is_a_clear_error(tmp_path: Path, text: str):
    assert problems(write(tmp_path, text))


def test_missing_file_is_the_one_problem(tmp_path: Path):
    (found,) = problems(tmp_path / "absent.yaml")
    assert "there is no file" in found


def test_missing_base_names_the_line_and_nothing_that_follows_from_it(tmp_path: Path):
    found = problems(write(tmp_path, "seed: 3\nextends: [absent.yaml, gone.yaml]\nsede: 1\n"))
    assert len(found) == 2
    assert all("run.yaml:2: there is no file" in p for p in found)


def test_home_folder_is_resolved(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = write(tmp_path, GOOD + "store: ~/st\nlake: {uri: ~/table}\n")
    config = load_config(path).config
    assert config.store == str(tmp_path / "st")
    assert config.lake.uri == str(tmp_path / "table")
    monkeypatch.setenv("TUNELOOP_STORE", "~/other")
    assert load_config(write(tmp_path, GOOD)).config.store == str(tmp_path / "other")


def test_values_beside_an_override_keep_their_place(tmp_path: Path):
    path = write(tmp_path, GOOD + "evaluate:\n  metrics: [\n    token_f2]\n")
    (found,) = problems(path)
    assert "run.yaml:6:" in found
    (found,) = problems(path, ["evaluate.metrics=[token_f3]"])
    assert found.startswith("--set evaluate.metrics: ")
    (found,) = problems(write(tmp_path, GOOD), ["name.first=x"])
    assert found.startswith("--set name.first: ")


def test_hub_ids_stay_and_paths_become_absolute(tmp_path: Path):
    path = write(tmp_path, GOOD)
    for given, wanted in (
        ("org/model", "org/model"),
        ("./weights", str(Path.cwd() / "weights")),
        ("tiny-random", "tiny-random"),
    ):
        assert load_config(path, [f"model.name={given}"]).config.model.name == wanted
