"""Merging and exporting from a store: folders, GGUF through a converter, a card with the facts."""

import json
import stat
from datetime import UTC, datetime

import pytest
import torch
import yaml

from tuneloop.artefacts.manifest import Counts, Manifest, Parent
from tuneloop.artefacts.store import Store
from tuneloop.cli import app
from tuneloop.config.schema import ModelConfig
from tuneloop.errors import TuneloopError
from tuneloop.publish.export import ExportOptions, export_trained
from tuneloop.publish.facts import facts_of, licence_of
from tuneloop.publish.trained import find_base, find_trained
from tuneloop.publish.write import CONVERTER_VARIABLE
from tuneloop.runtime.weights import resolve_model


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    return resolve_model(ModelConfig(name="tiny-random"), cache=tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def adapter(base, tmp_path_factory):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    model = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    model = get_peft_model(
        model, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear")
    )
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["base_model_name_or_path"] = f"sha256:{base.digest}"
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "README.md").unlink()
    return folder


SECRET_WORDS = "the words of a person"


@pytest.fixture
def store(base, adapter, tmp_path):
    """A store with a set, an adapter made from it, and a verdict on the adapter."""
    store = Store(str(tmp_path / "store"))
    files = tmp_path / "files"
    files.mkdir()

    def commit(kind, contents, *parents, **more):
        paths = {}
        for name, content in contents.items():
            paths[name] = content
            if isinstance(content, dict):
                paths[name] = files / name
                paths[name].write_text(json.dumps(content))
        draft = Manifest(
            kind=kind, key=f"{kind}-key", digest="", files={}, started_at=datetime.now(UTC),
            parents=list(parents), **more,
        )  # fmt: skip
        return store.commit(draft, paths)

    def parent(role, artefact):
        return Parent(role=role, kind=artefact.kind, digest=artefact.digest,
                      key=artefact.manifest.key)  # fmt: skip

    card = {
        "rows": {"sft": {"train": 600, "validation": 20, "by_rule": {}}},
        "terms": {"consent_basis": {"contract": 620}, "output_terms": {"own": 620},
                  "rows_refused": {"consent_basis": 7, "output_terms": 0}},
        "time": {"first": "2026-01-01", "last": "2026-02-01"},
        "examples": {"sft": [{"prompt": SECRET_WORDS}]},
    }  # fmt: skip
    built = commit("build", {"card.json": card})
    names = {f"adapter/{p.name}": p for p in adapter.iterdir()}
    history = {"train": [{"step": 1, "loss": 2.5}], "validation": [], "steps": 9, "n_tokens": 999}
    sft = commit(
        "sft", names | {"history.json": history}, parent("examples", built),
        Parent(role="base", kind="model", digest=base.digest),
        counts=Counts(n_in=620, dropped={"too_long": 3}, n_out=617), config={"lr": 1e-3},
    )  # fmt: skip
    evaluation = commit("evaluate", {"evaluation.json": {}}, parent("adapter", sft))
    decision = {
        "verdict": "HOLD", "reasons": ["too few prompts"],
        "primary": {"metric": "pass", "n": 280, "n_missing": 4, "estimate": 0.031,
                    "ci_low": -0.01, "ci_high": 0.07, "confidence": 0.9},
        "slices": [], "gates": [{"name": "format", "status": "passed"}],
    }  # fmt: skip
    commit("decide", {"decision.json": decision}, parent("evaluation", evaluation))
    return store


def digest(store):
    return next(store.list_artefacts("sft")).digest


def options(format_, out, base, **more):
    return ExportOptions(format_, out, base=str(base.folder), **more)


def logits(folder):
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        return model.eval()(input_ids=torch.arange(5, 45)[None]).logits


def test_the_card_carries_data_metrics_verdict_and_licence(store, base, tmp_path):
    out = tmp_path / "hub"
    report = export_trained(store, digest(store)[:12], options("hub", out, base))
    assert report["licence_unknown"] is True
    text = (out / "README.md").read_text()
    front = yaml.safe_load(text.split("---")[1])
    assert front["license"] == "other"
    assert front["license_name"] == "unknown"
    assert front["base_model"] == base.folder.name
    assert front["library_name"] == "peft"
    for said in ("**HOLD**", "too few prompts", "| pass | 280 | 4 | 0.031 | (90% -0.01 to 0.07) |",
                 "617 of 620 rows", "too long 3", "contract 620", "consent basis 7",
                 "| sft | 600 | 20 |", base.digest, digest(store), "not known here"):  # fmt: skip
        assert said in text, said
    assert SECRET_WORDS not in text
    assert str(tmp_path) not in text
    config = json.loads((out / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == base.folder.name
    licensed = tmp_path / "licensed"
    more = options("hub", licensed, base, licence="apache-2.0", merged=True)
    assert export_trained(store, digest(store), more)["licence_unknown"] is False
    front = yaml.safe_load((licensed / "README.md").read_text().split("---")[1])
    assert (front["license"], front["library_name"]) == ("apache-2.0", "transformers")
    assert (licensed / "model.safetensors").is_file()


def test_facts_hold_no_row(store):
    artefact = next(store.list_artefacts("sft"))
    assert SECRET_WORDS not in json.dumps(facts_of(store, artefact), default=str)


def test_merge_by_digest_finds_the_base_in_the_run_or_by_name(store, base, tmp_path):
    trained = find_trained(store, digest(store)[:10])
    with pytest.raises(TuneloopError, match="nothing says what the base") as caught:
        find_base(trained, store, None)
    assert base.digest[:12] in caught.value.hint
    record = {"model": {"name": str(base.folder)}}
    store.put("runs/r/1/config.json", json.dumps(record).encode())
    store.put("runs/r/1/stages/sft.json", json.dumps({"digest": digest(store)}).encode())
    assert find_base(trained, store, None).digest == base.digest


def test_another_base_is_refused_by_its_digest(store, base, tmp_path):
    import shutil

    other = tmp_path / "other"
    shutil.copytree(base.folder, other)
    config = json.loads((other / "generation_config.json").read_text())
    (other / "generation_config.json").write_text(json.dumps(config | {"temperature": 0.3}))
    with pytest.raises(TuneloopError, match="is another model"):
        find_base(find_trained(store, digest(store)), store, str(other))


CONVERTER = """
import pathlib, sys
if "--fail" in pathlib.Path(__file__).name:
    sys.exit("unknown architecture")
out = sys.argv[sys.argv.index("--outfile") + 1]
assert (pathlib.Path(sys.argv[1]) / "model.safetensors").is_file()
pathlib.Path(out).write_bytes(b"GGUF" + bytes(8))
"""


def test_gguf_goes_through_the_public_converter(monkeypatch, store, base, tmp_path):
    monkeypatch.delenv(CONVERTER_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    out = tmp_path / "out/model.gguf"
    with pytest.raises(TuneloopError, match="is not installed") as caught:
        export_trained(store, digest(store), options("gguf", out, base))
    assert CONVERTER_VARIABLE in caught.value.hint
    for name in ("convert.py", "convert--fail.py"):
        (tmp_path / name).write_text(CONVERTER)
    monkeypatch.setenv(CONVERTER_VARIABLE, str(tmp_path / "convert--fail.py"))
    with pytest.raises(TuneloopError, match="unknown architecture"):
        export_trained(store, digest(store), options("gguf", out, base))
    assert list(out.parent.iterdir()) == []
    monkeypatch.setenv(CONVERTER_VARIABLE, str(tmp_path / "convert.py"))
    report = export_trained(store, digest(store), options("gguf", out, base, outtype="f16"))
    assert out.read_bytes().startswith(b"GGUF")
    assert report["merge"]["distance"] <= report["merge"]["tolerance"]
    assert [p.name for p in out.parent.iterdir()] == ["model.gguf"]


def test_nothing_is_overwritten_and_nothing_is_ignored(store, base, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there/file").write_text("mine")
    with pytest.raises(TuneloopError, match="something already"):
        export_trained(store, digest(store), options("safetensors", tmp_path / "there", base))
    assert (tmp_path / "there/file").read_text() == "mine"
    with pytest.raises(TuneloopError, match="would ignore --push"):
        export_trained(store, digest(store), options("gguf", tmp_path / "x", base, push="a/b"))
    with pytest.raises(TuneloopError, match="no format 'onnx'"):
        export_trained(store, digest(store), options("onnx", tmp_path / "x", base))


def test_the_merge_verb_writes_a_model_that_answers_as_both(store, base, adapter, tmp_path, capsys):
    out = tmp_path / "merged"
    arguments = ["merge", str(adapter), "--base", str(base.folder), "--out", str(out), "--json"]
    app(arguments, standalone_mode=False)
    said = json.loads(capsys.readouterr().out)
    assert said["distance"] <= said["tolerance"]
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    plain = AutoModelForCausalLM.from_pretrained(base.folder, dtype=torch.float32)
    both = PeftModel.from_pretrained(plain, str(adapter)).eval()
    with torch.no_grad():
        expected = both(input_ids=torch.arange(5, 45)[None]).logits
    assert torch.allclose(logits(out), expected, atol=1e-4)
    assert all(stat.S_IMODE(p.stat().st_mode) & stat.S_IWUSR for p in out.iterdir())


def test_a_folder_states_its_licence_or_does_not(tmp_path):
    assert licence_of(tmp_path) is None
    (tmp_path / "README.md").write_text("---\nlicense: mit\ntags: [a]\n---\n# Model\n")
    assert licence_of(tmp_path) == "mit"
    (tmp_path / "README.md").write_text("# Model\n\nlicense: mit\n")
    assert licence_of(tmp_path) is None
