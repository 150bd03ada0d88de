"""Lineage: exactly the events that were learned from, and all that learned from a person."""

import pytest
from pipelines import Loop, stub

from tuneloop.artefacts.manifest import Parent
from tuneloop.errors import StoreError
from tuneloop.lineage import (
    lineage_lines,
    lineage_report,
    subject_lines,
    subject_report,
)


def row(interactions, feedback):
    return {"interaction_ids": interactions.split(), "feedback_ids": feedback.split()}


SETS = {
    "sft_train": [row("i1", "f1"), row("i2 i3", "f2 f3")],  # a row may rest on several
    "sft_validation": [row("i4", "f4")],
    "preference_train": [row("i5 i6", "f5")],
    "preference_validation": [row("i7 i8", "f7")],
    "kto_train": [row("i9", "f9")],
    "kto_validation": [row("i10", "f10")],
}


def curated(interaction, subject, *signals):
    signals = [{"feedback_id": f, "actor": actor} for f, actor in signals]
    return {"interaction_id": interaction, "subject_key": subject, "signals": signals}


CURATED = [
    curated("i1", "ann", ("f1", "user:ann"), ("f1x", "user:bob")),
    curated("i2", "ann"),
    curated("i5", "eve", ("f5", "user:eve")),
    curated("i9", "kim", ("f9", "user:kim")),
    curated("i3", None, ("f3", "reviewer:rob"), ("f3x", "user")),
]


@pytest.fixture
def loop(monkeypatch, tmp_path):
    monkeypatch.delenv("RANK", raising=False)
    return stub(monkeypatch, Loop(tmp_path, sets=SETS, curated=CURATED))


def events(loop, artefact):
    found = lineage_report(loop.store, artefact.digest, events=True)["events"]
    return set(found["interactions"]), set(found["feedback"])


SFT = {"i1", "i2", "i3"}, {"f1", "f2", "f3"}
DPO = {"i5", "i6"}, {"f5"}


@pytest.mark.parametrize(
    ("off", "learned"),
    [
        (None, (SFT[0] | DPO[0], SFT[1] | DPO[1])),
        ("dpo", SFT),
        ("sft", DPO),
    ],
)
def test_events_are_those_of_the_sets_that_were_trained_on(loop, off, learned):
    config = loop.config(train={off: {"enabled": False}} if off else {})
    assert events(loop, loop.pipeline(config).run()["decide"]) == learned


def test_validation_rows_count_where_they_chose_the_weights(loop):
    stops = {"early_stopping_patience": 2, "eval_steps": 5, "save_steps": 5}
    decision = loop.pipeline(loop.config(train={"dpo": stops})).run()["decide"]
    assert events(loop, decision)[0] == SFT[0] | DPO[0] | {"i7", "i8"}


def test_the_sft_adapter_knows_nothing_of_what_came_after(loop):
    assert events(loop, loop.pipeline().run()["sft"]) == SFT


def test_events_of_what_was_not_trained_is_an_error(loop):
    done = loop.pipeline().run("build")
    with pytest.raises(StoreError, match="nothing was trained"):
        events(loop, done["build"])


def test_an_old_decision_keeps_its_own_parents_after_force(loop):
    old = loop.pipeline().run()
    loop.sets = {**SETS, "sft_train": [row("new", "new")]}
    loop.pipeline(force=["build"]).run()
    assert "new" not in events(loop, old["decide"])[0]
    text = "\n".join(lineage_lines(lineage_report(loop.store, old["decide"].digest)))
    assert old["build"].digest[:12] in text


def test_a_parent_that_holds_something_else_now_is_an_error(loop):
    done = loop.pipeline().run("sft")
    manifest = done["sft"].manifest
    wrong = [Parent(role="examples", kind="build", digest="0" * 64, key=done["build"].manifest.key)]
    draft = manifest.model_copy(update={"key": "x", "digest": "", "files": {}, "parents": wrong})
    path = loop.folder / "a"
    path.write_text("a")
    made = loop.store.commit(draft, {"a": path})
    with pytest.raises(StoreError, match="its key now holds"):
        lineage_report(loop.store, made.digest)


# -- forward -------------------------------------------------------------------------
def kinds(report):
    return sorted(a["kind"] for a in report["adapters"])


@pytest.mark.parametrize(
    ("subject", "interactions", "feedback", "adapters"),
    [
        ("ann", ["i1", "i2"], ["f1"], ["dpo", "sft"]),  # DPO goes on from SFT
        ("eve", ["i5"], ["f5"], ["dpo"]),
        ("rob", [], ["f3"], ["dpo", "sft"]),  # their feedback on another's interaction
    ],
)
def test_all_that_learned_from_a_person(loop, subject, interactions, feedback, adapters):
    done = loop.pipeline().run()
    report = subject_report(loop.store, subject)
    assert (report["interactions"], report["feedback"]) == (interactions, feedback)
    assert kinds(report) == adapters
    assert [d["digest"] for d in report["decisions"]] == [done["decide"].digest]
    (generation,) = report["generations"]
    assert (generation["number"], generation["adapter"]) == (1, done["dpo"].digest)
    assert any("generation 1" in line for line in subject_lines(report))


@pytest.mark.parametrize("subject", ["kim", "bob", "nobody", "user", ""])
def test_nothing_learned_from_those_whose_rows_were_not_trained_on(loop, subject):
    loop.pipeline().run()
    report = subject_report(loop.store, subject)
    assert [report[found] for found in ("adapters", "decisions", "generations")] == [[], [], []]
    assert "nothing learned" in subject_lines(report)[-1]


def test_adapters_before_a_person_came_are_left_out(loop):
    loop.curated = CURATED[2:]
    loop.sets = {**SETS, "sft_train": [row("i3", "f3")]}
    before = loop.pipeline().run()
    loop.curated, loop.sets = CURATED, SETS
    after = loop.pipeline(force=["curate", "build"]).run()
    report = subject_report(loop.store, "ann")
    found = {a["key"] for a in report["adapters"]}
    assert found == {after[s].manifest.key for s in ("sft", "dpo")}
    assert not found & {before[s].manifest.key for s in ("sft", "dpo")}
