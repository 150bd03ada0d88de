"""The JSON schemas for editors and producers are the ones the code generates today."""

import json

import pytest
from jsonschema import Draft202012Validator

from tuneloop.schemas import schemas

GENERATED = schemas()


def test_no_schema_is_missing_or_left_over(root):
    on_disk = {path.name for path in (root / "docs/reference").glob("*.schema.json")}
    assert on_disk == set(GENERATED)
    assert {"run-config.schema.json", "event.schema.json"} <= on_disk


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_schema_files_are_current(name, root):
    path = root / "docs/reference" / name
    stored = json.loads(path.read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(GENERATED[name])), "run `make schema`"


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_schemas_are_valid_json_schemas(name):
    Draft202012Validator.check_schema(GENERATED[name])


def test_every_knob_of_the_run_config_is_described():
    def undescribed(schema, path):
        for key, value in schema.get("properties", {}).items():
            if "description" not in value and "const" not in value:
                yield f"{path}.{key}"

    config = GENERATED["run-config.schema.json"]
    missing = [*undescribed(config, "")]
    for name, schema in config.get("$defs", {}).items():
        missing += undescribed(schema, name)
    assert not missing
