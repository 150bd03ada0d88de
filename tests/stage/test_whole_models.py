"""All three training stages to a verdict, fully trained: the whole model is what is served.

On the smoke run's tiny random Llama, through the real command line.
"""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
import torch
from safetensors.torch import load_file
from smoke import SMOKE, tuneloop

from tuneloop.artefacts.store import Store

SETTINGS = [
    "train.sft.adapter=full", "train.sft.lr=1e-3", "train.sft.max_steps=3",
    "train.dpo.max_steps=2", "train.kto.enabled=true", "train.kto.max_steps=2",
    "train.kto.global_batch_size=8", "train.kto.micro_batch_size=4",
    "build.rules.liked.makes=[sft, kto]",
    "evaluate.max_prompts=4", 'evaluate.judge.role="off"', "evaluate.sampling.max_tokens=4",
]  # fmt: skip
OVERRIDES = [word for setting in SETTINGS for word in ("--set", setting)]
WEIGHTS = "model/model.safetensors"
CHAIN = ("sft", "dpo", "kto")

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("whole")


@pytest.fixture(scope="module")
def run(folder):
    """The JSON of one run of sft, dpo and kto, the first of them on every weight."""
    done = tuneloop(folder / "store", "run", "-c", str(SMOKE), *OVERRIDES, "--json")
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def store(folder, run):
    return Store(str(folder / "store"))


def trained(store, run, stage):
    return store.by_digest(run["stages"][stage]["digest"])[0]


def test_the_chain_ends_in_a_verdict_on_a_whole_model(store, run):
    assert run["decision"]["verdict"] in ("PROMOTE", "HOLD", "REJECT")
    for stage in CHAIN:
        artefact = trained(store, run, stage)
        kept = {name.split("/")[0] for name in artefact.manifest.files}
        assert kept == {"model", "history.json"}, stage
    starts = {p.role: p.digest for p in trained(store, run, "kto").manifest.parents}
    assert starts["start"] == run["stages"]["dpo"]["digest"]


def test_what_answered_is_the_model_that_was_left(store, run, monkeypatch):
    """The candidate of the verdict is served from the last stage's folder, the champion not."""
    from tuneloop.config.load import load_config
    from tuneloop.runtime.serving.vllm import vllm_command
    from tuneloop.runtime.weights import resolve_model
    from tuneloop.systems import Systems

    monkeypatch.setenv("TUNELOOP_STORE", store.root)
    config = load_config(SMOKE, SETTINGS).config
    systems = Systems(config, store, resolve_model(config.model))
    kto = trained(store, run, "kto")
    candidate = systems.candidate(kto)
    evaluation = trained(store, run, "evaluate").json("evaluation.json")
    assert evaluation["systems"]["candidate"]["digest"] == candidate.spec.digest
    assert candidate.spec.adapter == kto.digest
    assert candidate.adapter_folder is None
    served = load_file(candidate.base.folder / "model.safetensors")
    left = load_file(kto.path(WEIGHTS))
    base = load_file(systems.base.folder / "model.safetensors")
    assert all(torch.equal(served[name], left[name]) for name in left)
    assert any(not torch.equal(base[name], left[name]) for name in left)
    command = vllm_command(candidate.base.folder, [candidate], config.evaluate.engine, port=8000)
    assert command[command.index("--model") + 1] == str(kto.path("model/config.json").parent)
    assert "--enable-lora" not in command


def test_a_digest_names_it_as_a_candidate(folder, store, run):
    digest = run["stages"]["kto"]["digest"]
    done = tuneloop(
        folder / "store", "evaluate", "-c", str(SMOKE), *OVERRIDES, "--candidate", digest[:12],
        "--json",
    )  # fmt: skip
    again = json.loads(done.stdout)
    first = trained(store, run, "evaluate")
    second = store.by_digest(again["stages"]["evaluate"]["digest"])[0]
    columns = ["prompt_id", "side", "text"]
    tables = [pq.read_table(a.path("answers.parquet")) for a in (first, second)]
    columns = [name for name in columns if name in tables[0].column_names]
    assert "text" in columns
    assert tables[0].select(columns).equals(tables[1].select(columns))


def test_a_person_is_found_in_every_stage_that_learned_from_them(folder, store, run):
    curated = trained(store, run, "curate")
    built = trained(store, run, "build")
    learned = pq.read_table(built.path("sft_train.parquet"), columns=["interaction_ids"])
    wanted = learned.to_pylist()[0]["interaction_ids"][0]
    rows = pq.read_table(curated.path("curated.parquet"), columns=["interaction_id", "subject_key"])
    person = next(r["subject_key"] for r in rows.to_pylist() if r["interaction_id"] == wanted)
    place = ("--store", str(folder / "store"), "--json")
    report = json.loads(tuneloop(folder / "store", "lineage", "--subject", person, *place).stdout)
    assert {row["kind"] for row in report["adapters"]} == set(CHAIN)
    assert report["decisions"]
    erased = tuneloop(
        folder / "store", "erase", "--user", person, "--tenant", "larkwell", "--dry-run", *place
    )
    assert {row["kind"] for row in json.loads(erased.stdout)["adapters"]} == set(CHAIN)


@pytest.mark.parametrize("form", ["safetensors", "hub"])
def test_it_is_exported_as_it_is(folder, store, run, form):
    kto, out = trained(store, run, "kto"), folder / f"out-{form}"
    place = ("--store", store.root, "--json")
    words = ("--model", kto.digest[:12], "--format", form, "--out", str(out))
    report = json.loads(tuneloop(folder / "store", "export", *words, *place).stdout)
    assert report["what"] == "the model"
    left, written = (load_file(p) for p in (kto.path(WEIGHTS), out / "model.safetensors"))
    assert left.keys() == written.keys()
    assert all(torch.equal(written[name], left[name]) for name in left)
    assert (out / "README.md").is_file() == (form == "hub")


def test_there_is_nothing_to_merge(folder, store, run):
    words = ("merge", run["stages"]["kto"]["digest"], "--out", str(folder / "merged"))
    done = tuneloop(folder / "store", *words, "--store", store.root, check=False)
    assert done.returncode == 1
    assert "whole model already" in done.stderr
    assert not (folder / "merged").exists()
