"""The repository holds what it promises, and nothing that does not belong there."""

import ast
import importlib.util
import subprocess
import sys
import zipfile

import pytest

TOP = [
    ".ci/run", ".dockerignore", ".gitignore", "CHANGELOG.md", "CONTRIBUTING.md", "Dockerfile.cuda",
    "Makefile", "README.md", "configs", "docs/architecture.md", "docs/decisions",
    "docs/experiments.md", "notebooks", "pyproject.toml", "requirements", "scripts/fetch_model.py",
    "src/tuneloop/py.typed",
]  # fmt: skip
MAX_BYTES = 5_000_000
UNWANTED = {".bin", ".gguf", ".pickle", ".pkl", ".pt", ".pth", ".safetensors", ".whl"}
LOCK_FILES = {"uv.lock", "pylock.toml", "poetry.lock", "Pipfile.lock"}


@pytest.mark.parametrize("path", TOP)
def test_the_promised_files_are_there(path, root):
    assert (root / path).exists()


def test_no_file_is_heavy_or_holds_weights(repo_files):
    assert not [path for path in repo_files if path.stat().st_size > MAX_BYTES]
    assert not [path for path in repo_files if path.suffix in UNWANTED]
    assert not [path for path in repo_files if path.name in LOCK_FILES]


def test_every_package_has_an_init_and_a_room_imports_nothing_in_it(root):
    package = root / "src/tuneloop"
    for folder in {path.parent for path in package.rglob("*.py")}:
        if "metrics" in folder.parts:
            continue  # metric modules are loaded by their path
        init = folder / "__init__.py"
        assert init.exists(), f"{folder} is no package"
        if folder.parent in {package, package.parent}:
            kinds = {type(node) for node in ast.walk(ast.parse(init.read_text("utf-8")))}
            assert not kinds & {ast.Import, ast.ImportFrom}, init


def test_the_wheel_holds_the_whole_package(root, tmp_path):
    if not importlib.util.find_spec("hatchling"):
        pytest.skip("hatchling is not installed: run `make install`")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", str(tmp_path), str(root)], check=True)
    (wheel,) = tmp_path.glob("tuneloop-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    package = root / "src"
    expected = {
        str(path.relative_to(package))
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "tuneloop/py.typed" in expected
    assert expected <= held
    assert {name.split("/")[0].split("-")[0] for name in held} == {"tuneloop"}
