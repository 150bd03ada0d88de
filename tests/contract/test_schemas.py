"""The generated reference is the one the code generates today, and describes every key."""

import json

import pytest
from jsonschema import Draft202012Validator

from tuneloop.schemas import reference_files

GENERATED = reference_files()
SCHEMAS = {name: json.loads(text) for name, text in GENERATED.items() if name.endswith(".json")}


def test_no_schema_is_missing_or_left_over(root):
    on_disk = {path.name for path in (root / "docs/reference").glob("*.schema.json")}
    assert on_disk == set(SCHEMAS)
    assert {"run-config.schema.json", "event.schema.json"} <= on_disk


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_generated_files_are_current(name, root):
    stored = (root / "docs/reference" / name).read_text("utf-8")
    assert stored == GENERATED[name], "run `make schema`"


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_schemas_are_valid_json_schemas(name):
    Draft202012Validator.check_schema(SCHEMAS[name])


def test_the_reference_is_the_same_on_every_machine(monkeypatch):
    monkeypatch.setenv("TUNELOOP_STORE", "s3://elsewhere")
    assert reference_files() == GENERATED
    assert '| `store` | `".tuneloop"` |' in GENERATED["config.md"]


def test_a_default_that_the_section_above_gives_is_the_one_shown():
    _, _, sampling = GENERATED["simulate.md"].partition("## `champion.sampling`")
    assert "| `max_tokens` | `128` |" in sampling


@pytest.mark.parametrize("name", ["run-config.schema.json", "simulate.schema.json"])
def test_every_key_of_a_config_is_described(name):
    def undescribed(schema, where):
        for key, value in schema.get("properties", {}).items():
            if "description" not in value and "const" not in value:
                yield f"{where}.{key}"

    config = SCHEMAS[name]
    missing = [*undescribed(config, "")]
    for section, schema in config.get("$defs", {}).items():
        missing += undescribed(schema, section)
    assert not missing
