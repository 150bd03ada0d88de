"""Fixtures and switches every tier shares."""

import json
import os
from pathlib import Path

import pytest
from smoke import SMOKE, tuneloop

# Tests never reach for a hub or a tracker, whatever the shell says.
os.environ.update(HF_HUB_OFFLINE="1", WANDB_MODE="offline", TOKENIZERS_PARALLELISM="false")
# And leave no key in the home folder of who runs them.
os.environ["TUNELOOP_SUBJECT_KEY"] = "the key of the tests' pseudonyms"

ROOT = Path(__file__).resolve().parent.parent
GPU_TESTS = ROOT / "tests" / "gpu"


def pytest_addoption(parser):
    parser.addoption(
        "--require-gpu", action="store_true", help="turn skips of gpu tests into failures"
    )


def pytest_collection_modifyitems(config, items):
    for item in items:
        if GPU_TESTS in item.path.parents:
            item.add_marker("gpu")


def pytest_runtest_setup(item):
    if item.get_closest_marker("gpu") and not _has_cuda():
        pytest.skip("no CUDA device")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    required = item.config.getoption("--require-gpu") and item.get_closest_marker("gpu")
    if report.skipped and required and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"--require-gpu, but skipped: {call.excinfo.value}"
    return report


def _has_cuda():
    import torch

    return torch.cuda.is_available()


@pytest.fixture(scope="session")
def data_dir():
    """The folder of real data sets named by TUNELOOP_DATA."""
    value = os.environ.get("TUNELOOP_DATA")
    if not value:
        pytest.skip("TUNELOOP_DATA is not set: no real data to test on")
    folder = Path(value)
    assert folder.is_dir(), f"TUNELOOP_DATA is not a folder: {folder}"
    return folder


@pytest.fixture(scope="session")
def root():
    """The repository's top folder."""
    return ROOT


@pytest.fixture(scope="session")
def repo_files():
    """Every file of the repository, without what git, tools and runs leave behind."""
    skipped = {".git", ".venv", ".tuneloop", "__pycache__", "wandb", "build", "dist"}
    skipped |= {".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis"}
    skipped |= {".import_linter_cache", ".ipynb_checkpoints"}
    found = []
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(f for f in folders if f not in skipped and not f.endswith(".egg-info"))
        found.extend(Path(folder) / name for name in sorted(names) if name not in skipped)
    return found


@pytest.fixture(scope="session")
def smoke_store(tmp_path_factory):
    """A store the smoke run fills once for every test that looks at it."""
    return tmp_path_factory.mktemp("smoke") / "store"


@pytest.fixture(scope="session")
def smoke(smoke_store):
    """The JSON of one undisturbed smoke run."""
    return json.loads(tuneloop(smoke_store, "run", "-c", str(SMOKE), "--json").stdout)


@pytest.fixture(scope="module")
def one_thread():
    """One thread: the models are tiny, and threads that share a busy core only wait."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A folder for models."""
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def base(cache):
    """A tiny random Llama."""
    import training

    return training.tiny_base(cache)
