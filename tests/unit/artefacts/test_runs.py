"""Run records: which artefact a stage came to, in order."""

from datetime import UTC, datetime

from tuneloop.artefacts import runs
from tuneloop.artefacts.manifest import Manifest
from tuneloop.artefacts.store import Store


def commit(store, folder, text, generation=1):
    path = folder / "a.txt"
    path.write_text(text)
    draft = Manifest(kind="sft", key="k", generation=generation, digest="", files={},
                     started_at=datetime.now(UTC))  # fmt: skip
    return store.commit(draft, {"a.txt": path})


def test_runs_begun_within_a_second_stay_in_order(tmp_path):
    store = Store(str(tmp_path / "store"))
    begun = [runs.open_run(store, "demo", {}).run_id for _ in range(20)]
    assert [run.run_id for run in runs.list_runs(store, "demo")] == begun


def test_a_run_keeps_what_it_came_to_when_the_stage_is_run_again(tmp_path):
    store = Store(str(tmp_path / "store"))
    run = runs.open_run(store, "demo", {})
    assert runs.recorded(store, run, "sft") is None
    old = commit(store, tmp_path, "old")
    runs.record_stage(store, run, "sft", old, note="why")
    commit(store, tmp_path, "new", generation=2)
    assert runs.recorded(store, run, "sft").digest == old.digest
    assert runs.newest_artefact(store, "demo", "sft").digest == old.digest
    assert runs.list_runs(store, "demo")[0].stages["sft"]["note"] == "why"
