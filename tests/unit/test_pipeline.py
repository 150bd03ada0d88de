"""The pipeline: what is reused, what is said about it, what moves the champion, what ranks do."""

import threading
import time
from types import SimpleNamespace

import pytest
from pipelines import Loop, stub

from tuneloop import plan, plan_training
from tuneloop.artefacts import runs
from tuneloop.artefacts.aliases import current, generations
from tuneloop.artefacts.manifest import Manifest
from tuneloop.build.supply import Supply
from tuneloop.decide.registry import rollback
from tuneloop.errors import DataError, StoreError, TuneloopError
from tuneloop.history import status_report
from tuneloop.runtime.weights import ResolvedModel
from tuneloop.stages import SPECS, STAGES
from tuneloop.systems import alias_of

TRAINING = plan.training_plan
OFF = ("sample", "kto")  # where a config does not ask for them
RUN = [stage for stage in STAGES if stage not in OFF]


@pytest.fixture
def loop(monkeypatch, tmp_path):
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setattr(plan, "training_plan", lambda *_: {"note": "not looked at"})
    return stub(monkeypatch, Loop(tmp_path))


def champion(loop):
    return current(loop.store, alias_of(loop.config()))


def test_a_promotion_moves_the_alias_and_a_second_run_does_nothing(loop):
    loop.pipeline().run()
    assert loop.ran == RUN
    first = champion(loop)
    assert (first.number, first.reason) == (1, "because")
    loop.ran.clear()
    loop.pipeline().run()
    assert loop.ran == ["lake"]
    assert champion(loop) == first


def test_sampled_answers_go_into_the_set_where_they_are_asked_for(loop):
    on = loop.config(sample={"enabled": True, "when": ["corrected"]})
    artefacts = loop.pipeline(on).run("build")
    assert loop.ran == ["lake", "curate", "sample", "build"]
    parents = {p.role: p.digest for p in artefacts["build"].manifest.parents}
    assert parents["samples"] == artefacts["sample"].digest
    with pytest.raises(TuneloopError, match="switched off"):
        loop.pipeline().run("sample")


def test_asking_for_a_decision_or_a_report_moves_nothing(loop):
    pipeline = loop.pipeline()
    assert pipeline.report.kind == "report"
    assert champion(loop) is None


# -- plan ----------------------------------------------------------------------------
def test_plan_writes_nothing_and_promotes_nothing(loop):
    loop.pipeline(loop.config(decide={"promote": False})).run()
    before = loop.objects()
    made = plan.make_plan(loop.pipeline(loop.config(decide={"promote": False})))
    assert all(row["cached"] for row in made["stages"])
    assert loop.objects() == before
    made = plan.make_plan(loop.pipeline())  # the same but for `promote`: decide runs anew
    assert [row["stage"] for row in made["stages"] if row["cached"]] == RUN[:6]
    loop.pipeline().run()
    alias = "aliases/default/default/production/champion/00000001.json"
    loop.store.objects.delete(alias)
    before = loop.objects()
    made = plan.make_plan(loop.pipeline())  # a PROMOTE lies in the store and nothing points to it
    assert all(row["cached"] for row in made["stages"])
    assert loop.objects() == before


def test_plan_of_an_empty_store_makes_no_folder(loop):
    made = plan.make_plan(loop.pipeline())
    assert not any(row["cached"] for row in made["stages"])
    assert not (loop.folder / "store").exists()


def test_plan_with_a_golden_set_the_store_has_not_seen_commits_none(loop):
    loop.pipeline().run("build")
    (loop.folder / "golden.jsonl").write_text(
        '{"id": "g2", "messages": [{"role": "user", "content": "new"}]}\n'
    )
    before = loop.objects()
    made = plan.make_plan(loop.pipeline())
    assert [row["cached"] for row in made["stages"]][:2] == [True, False]
    assert loop.objects() == before


def test_plan_sees_that_event_files_changed(loop):
    loop.pipeline().run()
    (loop.folder / "events.jsonl").write_text("{}\n{}\n")
    made = plan.make_plan(loop.pipeline())
    assert made["stages"][0] == {"stage": "lake", "cached": False}


def test_plan_reads_the_tokenizer_as_training_does(loop, monkeypatch):
    loop.pipeline().run("build")
    asked = []
    monkeypatch.setattr("tuneloop.train.setup.load_tokenizer", asked.append)
    monkeypatch.setattr("tuneloop.train.templates.check_template", lambda *_: None)
    monkeypatch.setattr("tuneloop.train.encode.read_rows", lambda *_: [])
    monkeypatch.setattr("tuneloop.train.encode.render", lambda *_, **__: [])
    monkeypatch.setattr(plan, "training_plan", TRAINING)
    assert plan.make_plan(loop.pipeline())["sft"] == {"n_rows": 0, "dropped": {}}
    assert {base.digest for base in asked} == {"b" * 64}  # the base, with its trust_remote_code


def test_plan_counts_steps_as_training_does(monkeypatch):
    from tuneloop.config.train import SftConfig
    from tuneloop.train.rows import TokenRows

    rows = [{"input_ids": [1, 2, 3], "labels": [-100, 2, 3]}] * 10
    for changes, steps in (
        ({"epochs": 1.5}, 4),
        ({"epochs": 0.1}, 1),
        ({"epochs": 1, "max_steps": 50}, 50),
    ):
        config = SftConfig(global_batch_size=4, micro_batch_size=2, **changes)
        monkeypatch.setattr("tuneloop.runtime.shapes.folder_shape", lambda _: None)
        monkeypatch.setattr("tuneloop.train.room.memory_plan", lambda *_, **__: {})
        run = SimpleNamespace(
            train=SimpleNamespace(method=lambda _, found=config: found), seed=1, recipe=None
        )
        found = plan_training._numbers(run, "sft", TokenRows(rows=rows), None)
        assert found["steps"] == steps


# -- force ---------------------------------------------------------------------------
def test_force_runs_again_and_the_old_lineage_stays(loop):
    old = loop.pipeline().run()["sft"]
    loop.version = "2"
    loop.ran.clear()
    new = loop.pipeline(force=["sft"]).run("sft")["sft"]
    assert loop.ran == ["lake", "sft"]
    assert new.digest != old.digest
    assert (new.manifest.key, new.manifest.generation) == (old.manifest.key, 2)
    (found,) = loop.store.by_digest(old.digest)[:1]
    assert found.path("adapter/adapter.safetensors").read_text() == "1"
    loop.ran.clear()
    assert loop.pipeline().run("sft")["sft"].digest == new.digest
    assert loop.ran == ["lake"]


def test_a_killed_force_loses_nothing(loop, monkeypatch):
    old = loop.pipeline().run("build")["build"]

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("tuneloop.build.stage.build", killed)
        with pytest.raises(KeyboardInterrupt):
            loop.pipeline(force=["build"]).run("build")
    assert loop.pipeline().run("build")["build"].manifest == old.manifest


# -- from, until ---------------------------------------------------------------------
def test_an_earlier_artefact_that_stands_in_is_named(loop):
    loop.pipeline().run()
    pipeline = loop.pipeline(loop.config(seed=99), begin="evaluate")
    pipeline.run()
    assert set(pipeline.notes) == {"curate", "build", "sft", "dpo"}
    assert "which differs in" in pipeline.notes["build"]
    assert "seed" in pipeline.notes["build"]
    assert any("build: not what this config gives" in line for line in loop.said)
    newest = runs.list_runs(loop.store, "demo")[-1]
    assert newest.stages["build"]["note"] == pipeline.notes["build"]
    assert "note" not in newest.stages["evaluate"]


def test_nothing_is_said_where_the_store_has_just_what_the_config_gives(loop):
    loop.pipeline().run()
    pipeline = loop.pipeline(begin="evaluate")
    pipeline.run()
    assert (pipeline.notes, loop.said) == ({}, [])


def test_changed_events_are_named_where_the_lake_is_skipped(loop):
    loop.pipeline().run()
    (loop.folder / "events.jsonl").write_text("{}\n{}\n")
    pipeline = loop.pipeline(begin="curate")
    pipeline.run("curate")
    assert "event files" in pipeline.notes["lake"]


def test_an_adapter_of_another_base_is_refused(loop, monkeypatch):
    loop.pipeline().run()
    other = ResolvedModel(folder=loop.folder, digest="d" * 64, name="other")
    monkeypatch.setattr("tuneloop.runtime.weights.resolve_model", lambda *_, **__: other)
    with pytest.raises(StoreError, match="another base model"):
        loop.pipeline(begin="evaluate").run()


def test_until_before_from_is_an_error(loop):
    with pytest.raises(TuneloopError, match="nothing lies between"):
        loop.pipeline(begin="report").run("lake")


# -- intake, champions ---------------------------------------------------------------
def test_each_intake_has_its_own_folder_and_leaves_none(loop, monkeypatch):
    from tuneloop.lake import stage

    folders, take_in = [], stage.take_in

    def noted(*args, context, **kwargs):
        folders.append(context.work)
        return take_in(*args, context=context, **kwargs)

    monkeypatch.setattr(stage, "take_in", noted)
    for _ in range(2):
        loop.pipeline().run("lake")
    assert folders[0] != folders[1]
    assert not any(folder.exists() for folder in folders)


def test_what_was_rolled_back_is_not_promoted_by_another_evaluation(loop):
    loop.pipeline().run()
    loop.version = "2"
    loop.pipeline(loop.config(seed=2)).run()
    alias = alias_of(loop.config())
    assert champion(loop).number == 2
    rollback(loop.store, alias, actor="ann", reason="complaints")
    changed = {"seed": 2, "evaluate": {"sampling": {"max_tokens": 99}}}
    candidate = loop.pipeline(loop.config(**changed)).candidate.spec
    assert candidate.digest != generations(loop.store, alias)[1].digest  # another system
    again = loop.config(seed=2, decide={"alpha": 0.04})
    loop.pipeline(again).run()
    assert champion(loop).number == 3
    assert any("was rolled back: complaints" in line for line in loop.said)
    told = loop.config(seed=2, decide={"alpha": 0.04, "promote": "again"})
    loop.pipeline(told).run()
    assert champion(loop).digest == generations(loop.store, alias)[1].digest


def test_status_needs_no_base_model(loop, monkeypatch):
    loop.pipeline().run()

    def gone(*_, **__):
        raise TuneloopError("no model")

    monkeypatch.setattr("tuneloop.runtime.weights.resolve_model", gone)
    report = status_report(loop.store, "demo", alias_of(loop.config()))
    assert report["champion"]["number"] == 1


def test_what_serves_and_merges_is_in_the_keys():
    root = SPECS["evaluate"].sources, SPECS["sft"].sources, SPECS["dpo"].sources
    assert {"evaluate", "runtime/serving", "runtime/merge.py", "runtime/weights.py"} <= set(root[0])
    for sources in root[1:]:
        assert {"train", "runtime/merge.py", "runtime/hardware.py"} <= set(sources)


# -- ranks ---------------------------------------------------------------------------
@pytest.mark.parametrize("stage", ["build", "sft"])
def test_a_forced_rank_waits_for_what_rank_0_leaves_in_this_run(loop, monkeypatch, stage):
    """The store holds the stage already; rank 1 must neither take that nor hang."""
    old = loop.pipeline().run(stage)[stage].manifest
    first = loop.pipeline(force=[stage])
    first.open_record()
    other = loop.pipeline(force=[stage])
    other.record = first.record
    for name in RUN[: RUN.index(stage)]:
        other.__dict__[name] = loop.pipeline().run(name)[name]
    loop.ran.clear()
    monkeypatch.setenv("RANK", "1")
    came_to = []
    thread = threading.Thread(target=lambda: came_to.append(getattr(other, stage)))
    thread.start()
    time.sleep(0.5)
    assert not came_to
    assert loop.ran == (["sft"] if stage == "sft" else [])  # takes part where all ranks do
    new = _commit_next(loop, old)
    runs.record_stage(loop.store, first.record, stage, new)
    thread.join(timeout=10)
    assert [a.manifest for a in came_to] == [new.manifest]
    assert new.manifest.generation == 2


def _commit_next(loop, old: Manifest):
    path = loop.folder / "new"
    path.write_text("new")
    draft = old.model_copy(update={"generation": 2, "digest": "", "files": {}})
    return loop.store.commit(draft, {"new": path})


def test_another_rank_records_and_promotes_nothing(loop, monkeypatch):
    loop.pipeline().run()
    loop.store.objects.delete("aliases/default/default/production/champion/00000001.json")
    record = runs.list_runs(loop.store, "demo")[-1]
    before = {p: b for p, b in loop.objects().items() if "checkouts" not in str(p)}
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setattr("tuneloop.train.distributed.gather", lambda items: [record.run_id, *items])
    done = loop.pipeline().run()
    assert {name: a.digest for name, a in done.items()} == {
        name: row["digest"] for name, row in record.stages.items() if name != "golden"
    }
    after = {p: b for p, b in loop.objects().items() if "checkouts" not in str(p)}
    assert after == before


def test_a_protected_slice_nobody_can_measure_stops_before_training(loop):
    config = loop.config(decide={"protected_slices": ["secuirty"]})
    with pytest.raises(DataError, match="secuirty"):
        loop.pipeline(config).run()
    assert "sft" not in loop.ran


# -- general data, supply ------------------------------------------------------------
def test_general_data_is_known_by_its_digest_not_its_place(loop):
    first, second = loop.folder / "a.jsonl", loop.folder / "b.jsonl"
    first.write_text("{}\n")
    second.write_text("{}\n")

    def built(path):
        return loop.pipeline(loop.config(build={"replay": {"path": str(path)}})).build.manifest

    made = built(first)
    assert {parent.role for parent in made.parents} == {"curated", "golden", "replay"}
    assert str(loop.folder) not in str(made.config)
    assert built(second).key == made.key
    second.write_text("{} \n")
    assert built(second).key != made.key
    with pytest.raises(TuneloopError, match="no such file"):
        built(loop.folder / "missing.jsonl")


def test_the_plan_tells_the_supply_of_rows(loop, monkeypatch):
    summary = {kind: {"made_by_rule": {}} for kind in plan.SETS}
    summary["sft"]["made_by_rule"] = {"liked": 30}
    counts = SimpleNamespace(n_in=2_000)
    curated = SimpleNamespace(counts=counts, files={"preferences.parquet": None}, kind="curate")
    found = Supply(n_curated=500, n_read=100, unwanted=4)
    found.by_rule["kto"]["stars"] = 10
    monkeypatch.setattr("tuneloop.build.supply.supply", lambda *_, **__: found)
    artefacts = {"curate": SimpleNamespace(manifest=curated)}
    dry = SimpleNamespace(store=loop.store, config=loop.config())
    guessed = plan._supply(dry, artefacts)
    assert guessed["rows"] == {"sft": {}, "preference": {}, "kto": {"stars": 250.0}}
    assert guessed["to_sample"] == 100.0
    artefacts["build"] = SimpleNamespace(
        manifest=SimpleNamespace(files=["summary.json"]), json=lambda _: summary
    )
    assert plan._supply(dry, artefacts)["rows"]["sft"] == {"liked": 150.0}
    assert any("250 stars" in line for line in plan._supply_lines(guessed))


def test_training_stages_chain_in_the_order_of_the_config(loop):
    train = {"order": ["kto", "sft", "dpo"], "kto": {"enabled": True}, "dpo": {"enabled": False}}
    pipeline = loop.pipeline(loop.config(train=train))
    done = pipeline.run()
    assert [stage for stage in loop.ran if stage in ("sft", "dpo", "kto")] == ["kto", "sft"]
    starts = {
        name: [p.digest for p in done[name].manifest.parents if p.role == "start"]
        for name in ("kto", "sft")
    }
    assert starts == {"kto": [], "sft": [done["kto"].digest]}
    assert pipeline.adapter.digest == done["sft"].digest
    with pytest.raises(TuneloopError, match="nothing lies between"):
        loop.pipeline(loop.config(train=train), begin="sft").run("kto")
