"""References to systems: what each kind names, what is refused, and that nothing is trained."""

import json

import numpy as np
import pytest
from fake_openai import completion, fake_openai
from safetensors.numpy import save_file

from tuneloop.artefacts.store import Store
from tuneloop.artefacts.systems import Guardrail, SystemSpec
from tuneloop.config.schema import RunConfig
from tuneloop.errors import ConfigError, DataError, StoreError, TuneloopError
from tuneloop.pipeline import Pipeline
from tuneloop.runtime.adapters import check_adapter
from tuneloop.runtime.progress import SilentProgress
from tuneloop.runtime.serving import ChatResult, engine_of
from tuneloop.runtime.serving.guardrails import guard_answer, guard_prompt
from tuneloop.runtime.weights import ResolvedModel
from tuneloop.systems import Systems, remember

LAYER = "model.layers.0.self_attn.q_proj"


@pytest.fixture
def base(tmp_path):
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    weights = {f"{LAYER}.weight": np.zeros((6, 4), np.float32)}
    save_file(weights, folder / "model.safetensors")
    return ResolvedModel(folder=folder, digest="b" * 64, name="m")


def adapter(folder, *, width=4, out=6, module=LAYER, kind="LORA", **extra):
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": kind, "r": 2} | extra))
    lora = {
        f"base_model.model.{module}.lora_A.weight": np.zeros((2, width), np.float32),
        f"base_model.model.{module}.lora_B.weight": np.zeros((out, 2), np.float32),
    }
    save_file(lora, folder / "adapter_model.safetensors")
    return folder


def config(tmp_path, **sections):
    golden = {"path": str(tmp_path / "golden.jsonl")}
    body = {"name": "ours", "model": {"name": "m"}, "store": str(tmp_path / "store")}
    return RunConfig.model_validate(body | {"golden": golden} | sections)


@pytest.fixture
def systems(tmp_path, base):
    return Systems(config(tmp_path), Store(str(tmp_path / "store")), base)


def written(path, **said):
    path.write_text(json.dumps({"name": "made by hand"} | said))  # JSON is YAML
    return str(path)


# -- references ----------------------------------------------------------------------
def test_a_folder_of_another_trainer_becomes_an_artefact_that_its_digest_finds(systems, tmp_path):
    found = systems.find(str(adapter(tmp_path / "theirs")))
    assert found.spec.name == "theirs"
    assert (found.adapter_folder / "adapter_model.safetensors").is_file()
    again = systems.find(found.spec.adapter[:12])
    assert again.spec.digest == found.spec.digest
    assert systems.find(str(tmp_path / "theirs")).spec.adapter == found.spec.adapter


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": 5}, "does not fit"),
        ({"out": 7}, "does not fit"),
        ({"module": "model.layers.9.self_attn.q_proj"}, "the base has no model.layers.9"),
        ({"kind": "PREFIX_TUNING"}, "PREFIX_TUNING"),
    ],
)
def test_an_adapter_that_does_not_fit_is_refused(systems, tmp_path, changes, said):
    with pytest.raises(DataError, match=said):
        systems.find(str(adapter(tmp_path / "theirs", **changes)))


def test_pickles_and_links_out_of_the_folder_are_refused(base, tmp_path):
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "adapter_config.json").write_text("{}")
    (pickled / "adapter_model.bin").write_bytes(b"cos\nsystem")
    with pytest.raises(DataError, match="pickles are never loaded"):
        check_adapter(pickled, base.folder)
    theirs, linked = adapter(tmp_path / "theirs"), tmp_path / "linked"
    linked.mkdir()
    (linked / "adapter_config.json").write_text("{}")
    (linked / "adapter_model.safetensors").symlink_to(theirs / "adapter_model.safetensors")
    with pytest.raises(DataError, match="no file of this folder"):
        check_adapter(linked, base.folder)
    (theirs / "adapter_model.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(DataError, match="no safetensors"):
        check_adapter(theirs, base.folder)


def test_a_file_says_what_a_system_is_made_of(systems, tmp_path):
    adapter(tmp_path / "theirs")
    plain = systems.find("base").spec
    path = written(
        tmp_path / "system.yaml",
        adapter="./theirs",
        system_prompt="Be brief.",
        few_shot=[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}],
        sampling={"temperature": 0.7},
        guardrails=[{"name": "cards", "on": "answer", "pattern": "[0-9]{16}"}],
    )
    spec = systems.find(path).spec
    assert (spec.system_prompt, spec.sampling.temperature) == ("Be brief.", 0.7)
    assert (spec.base, spec.guardrails[0].name) == (plain.base, "cards")
    assert spec.digest != plain.digest
    alone = systems.find(written(tmp_path / "prompt.yaml", system_prompt="Be brief.")).spec
    assert len({alone.digest, spec.digest, plain.digest}) == 3


def test_every_mistake_in_a_file_is_told_at_once(systems, tmp_path):
    path = written(
        tmp_path / "system.yaml",
        hosted={"url": "https://user:pass@x.example/v1", "model": "m"},
        few_shot=[{"role": "user", "content": "a"}],
        guardrails=[{"name": "x", "on": "answer", "pattern": "("}],
        sytem_prompt="typo",
    )
    with pytest.raises(ConfigError) as caught:
        systems.find(path)
    said = "\n".join(caught.value.problems)
    assert all(word in said for word in ("password", "regular expression", "system_prompt"))
    assert "user:pass" not in said


def test_what_names_nothing_says_what_would(systems):
    with pytest.raises(TuneloopError, match="no system 'nowhere'"):
        systems.find("nowhere")
    with pytest.raises(StoreError):
        systems.find("abcdef123456")


def test_a_system_that_was_evaluated_is_found_by_its_digest(systems, tmp_path):
    spec = systems.find(written(tmp_path / "prompt.yaml", system_prompt="Be brief.")).spec
    remember(systems.store, spec)
    assert systems.find(spec.digest[:10]).spec == spec


def test_digests_of_systems_without_new_parts_are_what_they_were():
    plain = SystemSpec(name="n", model="m", base="b" * 64)
    old = json.loads(plain.model_dump_json()) | {"guardrails": None}
    old.pop("hosted")
    assert SystemSpec.model_validate(old).digest == plain.digest
    rule = Guardrail(name="x", on="answer", pattern="x")
    assert plain.model_copy(update={"guardrails": [rule]}).digest != plain.digest


# -- guardrails ----------------------------------------------------------------------
def rules(*said):
    return [Guardrail.model_validate({"name": "r"} | rule) for rule in said]


def test_rules_before_the_model_refuse_or_change_the_last_message():
    messages = [{"role": "user", "content": "old SECRET"}, {"role": "user", "content": "a secret"}]
    refuse = rules({"on": "prompt", "pattern": "secret", "text": "No."})
    assert guard_prompt(refuse, messages).refusal == "No."
    replace = rules({"on": "prompt", "pattern": "secret", "action": "replace", "text": "[…]"})
    changed = guard_prompt(replace, messages)
    assert [m["content"] for m in changed.messages] == ["old SECRET", "a […]"]
    assert guard_prompt(refuse, [*messages[:1], {"role": "user", "content": "hi"}]).refusal is None


def test_rules_after_the_model_fire_in_order_and_leave_missing_answers_missing():
    after = rules(
        {"on": "answer", "pattern": "[0-9]{4,}", "action": "replace", "text": r"\1#"},
        {"on": "answer", "pattern": "#", "text": "Refused."},
    )
    assert guard_answer(after, ChatResult(text="call 12345")).text == "Refused."
    assert guard_answer(after, ChatResult(text="call me")).finish_reason is None
    missing = ChatResult.missing("timeout")
    assert guard_answer(after, missing) == missing


def test_a_rule_that_does_not_finish_has_let_nothing_through(monkeypatch):
    monkeypatch.setattr("tuneloop.runtime.serving.guardrails.TIMEOUT_S", 0.05)
    slow = rules({"on": "answer", "pattern": "^(a|aa)+[xyz]$", "text": "Refused."})
    assert guard_answer(slow, ChatResult(text="a" * 4000)).text == "Refused."


# -- evaluate without training -------------------------------------------------------
def test_a_hosted_candidate_is_evaluated_and_decided_and_nothing_is_trained(tmp_path, monkeypatch):
    rows = [
        {"id": f"p{i}", "messages": [{"role": "user", "content": f"say {i}, my secret"}],
         "checks": [{"name": "says", "kind": "contains", "value": str(i)}]}
        for i in range(6)
    ]  # fmt: skip
    (tmp_path / "golden.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    monkeypatch.setenv("THEIR_KEY", "k-123")
    here = ResolvedModel(folder=tmp_path, digest="b" * 64, name="m")
    monkeypatch.setattr("tuneloop.runtime.weights.resolve_model", lambda *_, **__: here)
    monkeypatch.setattr("tuneloop.train.stage.sft", lambda *_: pytest.fail("it trained"))

    def good(path, body, headers):
        assert headers["Authorization"] == "Bearer k-123"
        return completion(body["messages"][-1]["content"])

    with fake_openai(good) as (theirs, _), fake_openai(lambda *_: completion("?")) as (ours, asked):
        path = written(
            tmp_path / "hosted.yaml",
            hosted={"url": theirs, "model": "big", "api_key_env": "THEIR_KEY"},
            guardrails=[{"name": "s", "on": "prompt", "pattern": "say 5", "text": "5, no."}],
        )
        engine = {"backend": "url", "url": ours, "served_model": "small"}
        run = config(tmp_path, evaluate={"candidate": path, "champion": "base", "engine": engine})
        pipeline = Pipeline(run, Store(run.store), progress=SilentProgress())
        done = pipeline.run()
    assert list(done) == ["evaluate", "decide", "report"]
    assert len(asked) == 6
    decision = done["decide"].json("decision.json")
    assert decision["verdict"] == "PROMOTE", decision["reasons"]
    assert decision["systems"]["candidate"]["spec"]["hosted"]["model"] == "big"
    answers = {p.spec.name: engine_of(p, run.evaluate.engine).url
               for p in (pipeline.candidate, pipeline.champion)}  # fmt: skip
    assert set(answers.values()) == {theirs, ours}
    assert "k-123" not in done["evaluate"].path("evaluation.json").read_text()
    assert "What went in" in done["report"].path("report.html").read_text()
