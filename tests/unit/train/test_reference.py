"""The reference's log-probabilities are kept across runs, and only for what they are of."""

import pytest
import training

from tuneloop.train import reference


@pytest.fixture(scope="module")
def examples(tmp_path_factory):
    return training.write_examples(tmp_path_factory.mktemp("examples"), n_train=8, n_validation=2)


@pytest.fixture
def computed(monkeypatch):
    """Counts how often they are computed."""
    calls, plain = [], reference._log_probs

    def log_probs(trainer, tokens, progress):
        calls.append(len(tokens.rows))
        return plain(trainer, tokens, progress)

    monkeypatch.setattr(reference, "_log_probs", log_probs)
    return calls


def test_a_second_run_finds_them_and_gives_the_same(base, examples, tmp_path, computed):
    def run(name, **config):
        return training.train("dpo", examples, tmp_path / name, base, cache=tmp_path / "cache",
                              max_steps=2, **config)  # fmt: skip

    first = training.contents(run("first"))
    assert computed == [8, 2]
    assert training.contents(run("second")) == first
    run("third", lr=1e-4, beta=0.3)
    assert computed == [8, 2]
    run("other", micro_batch_size=1)  # rounds otherwise
    assert computed == [8, 2, 8, 2]
    for path in (tmp_path / "cache").iterdir():
        assert not path.name.startswith(".")
        path.write_bytes(path.read_bytes()[:-3] + b"\x00\x01\x02")
    assert training.contents(run("broken")) == first
    assert computed == [8, 2, 8, 2, 8, 2]


def test_other_rows_are_computed_again(base, examples, tmp_path, computed):
    others = training.write_examples(tmp_path / "rows", n_train=8, n_validation=2, seed=3)
    for name, rows in (("a", examples), ("b", others)):
        training.train("dpo", rows, tmp_path / name, base, cache=tmp_path / "cache", max_steps=1)
    assert computed == [8, 2, 8, 2]
