"""Erasure: nothing that was written mentions the person, and who learned from them is known."""

import gzip
import json
import zipfile
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pipelines import Loop, stub

from tuneloop.artefacts import erasures
from tuneloop.artefacts.manifest import Manifest, Parent
from tuneloop.artefacts.mentions import Needles, mentions, rows_of_theirs, tell_apart
from tuneloop.artefacts.store import Store
from tuneloop.artefacts.tables import CURATED
from tuneloop.erasure import Erasure, erase, erasure_lines, search
from tuneloop.errors import DataError, StoreError
from tuneloop.lake import table as lake_table
from tuneloop.lake.erase import Person, erase_rows, erased_marks, find_rows, told_by_others
from tuneloop.lake.rows import Reader, mark
from tuneloop.lineage import lineage_lines, lineage_report, subject_report
from tuneloop.runtime.progress import SilentProgress

ANN = "ann-of-green-gables"
SAID = "My grandmother's recipe calls for seven cloves of garlic"
COMMON = "Where do I find the opening hours of the shop, please?"


def interaction(id, subject, text, session=None):
    return {"type": "interaction", "id": id, "event_ts": "2026-01-01T00:00:00Z",
            "subject_key": subject, "session_id": session, "response": {"content": "answer"},
            "request": {"messages": [{"role": "user", "content": text}]}}  # fmt: skip


def feedback(id, target, actor, signal="thumb", value=1):
    return {"type": "feedback", "id": id, "event_ts": "2026-01-01T00:00:01Z", "signal": signal,
            "target": {"id": target}, "actor": {"id": actor}, "value": value}  # fmt: skip


EVENTS = [
    interaction("i1", ANN, SAID, "s1"),
    interaction("i2", None, "the rest of her session", "s1"),
    interaction("i3", "bob", COMMON, "s2"),
    interaction("i4", ANN, COMMON, "s3"),
    feedback("f1", "i1", ANN),
    feedback("f2", "i2", None),
    feedback("f3", "i3", "bob"),
    feedback("f4", "i3", ANN, "correction", "It says so on the door, as anyone can see."),
    feedback("f5", "i1", "rob"),
    feedback("f6", "i1", ANN, "preference", {"winner": "i3", "loser": "i1"}),
]
HERS = {"i1", "i2", "i4"}, {"f1", "f2", "f4", "f5", "f6"}


def row(interactions, feedback, text="x"):
    return {"interaction_ids": interactions.split(), "feedback_ids": feedback.split()}


def curated(interaction, subject, *signals):
    signals = [{"feedback_id": f, "actor": actor} for f, actor in signals]
    return {"interaction_id": interaction, "subject_key": subject, "signals": signals}


@pytest.fixture
def loop(monkeypatch, tmp_path):
    monkeypatch.delenv("RANK", raising=False)
    sets = {"sft_train": [row("i1", "f1"), row("i5", "f3")], "kto_train": [row("i3", "f4")]}
    rows = [
        curated("i1", ANN, ("f1", f"user:{ANN}")),
        curated("i2", None),
        curated("i3", "bob", ("f3", "user:bob"), ("f4", f"user:{ANN}")),
        curated("i5", "bob"),
    ]
    return stub(monkeypatch, Loop(tmp_path, sets=sets, curated=rows))


def write_lake(uri, events):
    for part in (events[:3], events[3:]):  # two commits: two files, two logs
        rows = [Reader("native").row(e) for e in part]
        columns = [pa.array([getattr(r, f.name) for r in rows], f.type) for f in lake_table.SCHEMA]
        batch = pa.RecordBatch.from_arrays(columns, schema=lake_table.SCHEMA)
        lake_table.append(uri, iter([batch]))
    side = lake_table.side_objects(uri)
    letters = [{"line": 7, "raw": f'{{"user": "{ANN}"'}, {"line": 8, "raw": "{"}]
    side.put("e.dead.jsonl", "".join(json.dumps(x) + "\n" for x in letters).encode())
    side.put("version-0.json", b"{}")


@pytest.fixture
def lake(tmp_path):
    uri = str(tmp_path / "store/lakes/default/default/production")
    write_lake(uri, EVENTS)
    return uri


def killed(*_, **__):
    raise KeyboardInterrupt


WHO = Person("default", frozenset({ANN}))


def remove(loop, lake, **options):
    erasure = Erasure(loop.store, WHO, ANN)
    return erase(erasure, lakes=[lake], progress=SilentProgress(), **options)


def test_a_person_owns_their_sessions_their_feedback_and_feedback_on_what_is_theirs(lake):
    theirs = find_rows(lake, WHO)
    assert (theirs.interactions, theirs.feedback) == HERS
    assert not find_rows(lake, Person("other", WHO.keys))


def test_texts_that_others_wrote_too_are_not_theirs(lake):
    theirs = find_rows(lake, WHO)
    told = tell_apart(theirs.texts, told_by_others(lake, theirs, theirs.texts))
    assert SAID in told
    assert COMMON not in told


def test_nothing_mentions_the_person_and_others_lose_nothing(loop, lake, tmp_path):
    loop.pipeline().run()
    shown = tmp_path / "store/reports/demo/report.html"
    shown.parent.mkdir(parents=True)
    shown.write_text(f"<p>{SAID.replace(chr(39), '&#x27;')}</p>")
    report = remove(loop, lake)
    needles = Needles.of([ANN, *HERS[0], *HERS[1]], [SAID])
    store = tmp_path / "store"
    left = [p for p in store.rglob("*") if p.is_file() and mentions(p, needles)]
    assert {p.relative_to(store).parts[0] for p in left} == {"erasures"}
    assert report["mentions"] == []
    assert not shown.exists()
    kept = lake_table.open_table(lake).to_pyarrow_table().to_pydict()
    assert sorted(kept["id"]) == ["f3", "i3"]
    letters = bytes(lake_table.side_objects(lake).get("e.dead.jsonl").bytes())
    assert [json.loads(line)["line"] for line in letters.splitlines()] == [8]


def test_old_versions_cannot_be_read_and_numbers_go_on(loop, lake):
    report = remove(loop, lake)
    versions = report["lakes"][0]["version_before"], report["lakes"][0]["version_after"]
    assert versions[1] > versions[0] == 1
    for version in range(versions[1]):
        with pytest.raises(DataError, match="unreplayable: erased"):
            lake_table.open_table(lake, version)
    assert mark("person", "default", ANN) in erased_marks(lake)


def test_artefacts_are_rewritten_and_the_old_are_unreplayable(loop, lake):
    done = loop.pipeline().run()
    before = {stage: done[stage].digest for stage in ("curate", "build")}
    report = remove(loop, lake)
    rewritten = {a["digest"]: a["rewritten_as"] for a in report["artefacts"]}
    assert set(before.values()) <= set(rewritten)
    for stage, digest in before.items():
        old = loop.store.find(stage, done[stage].manifest.key, digest=digest)
        assert not loop.store.work.joinpath("checkouts", digest).exists()
        with pytest.raises(StoreError, match="unreplayable: erased"):
            old.folder()
        new = loop.store.find(stage, done[stage].manifest.key)
        assert new.digest == rewritten[digest]
        assert erasures.replay(loop.store, old).digest == new.digest
    table = loop.store.by_digest(rewritten[before["curate"]])[0].path("curated.parquet")
    kept = pq.read_table(table).column("interaction_id").to_pylist()
    assert kept == ["i5"]  # i3 goes with the signal she gave on it


def test_new_answers_go_with_the_question_and_with_the_signal_that_asked_for_them(
    loop, lake, tmp_path
):
    rows = [
        {"interaction_id": "i1", "answer": "to her question", "feedback_ids": ["f9"]},
        {"interaction_id": "i3", "answer": "as she corrected it, her name replaced",
         "feedback_ids": ["f3", "f4"]},
        {"interaction_id": "i5", "answer": "of somebody else", "feedback_ids": ["f3"]},
    ]  # fmt: skip
    path = tmp_path / "samples.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    draft = Manifest(kind="sample", key="k", digest="", files={}, started_at=datetime.now(UTC))
    sampled = loop.store.commit(draft, {"samples.parquet": path})
    report = remove(loop, lake)
    left = {a["digest"]: a["rewritten_as"] for a in report["artefacts"]}[sampled.digest]
    table = loop.store.by_digest(left)[0].path("samples.parquet")
    assert pq.read_table(table).column("interaction_id").to_pylist() == ["i5"]
    with pytest.raises(StoreError, match="erased"):
        sampled.folder()


def test_who_learned_is_known_before_and_after(loop, lake):
    done = loop.pipeline().run()
    would = remove(loop, lake, dry_run=True)
    assert loop.store.by_digest(done["curate"].digest)[0].folder()  # nothing was touched
    report = remove(loop, lake)
    for found in (would, report, subject_report(loop.store, ANN)):
        assert {a["digest"] for a in found["adapters"]} == {done["sft"].digest, done["dpo"].digest}
        assert [d["digest"] for d in found["decisions"]] == [done["decide"].digest]
    assert len(subject_report(loop.store, ANN)["erased"]) == 1
    assert subject_report(loop.store, "bob")["adapters"]  # his rows are still there
    lines = lineage_lines(lineage_report(loop.store, done["decide"].digest))
    assert sum("erased on" in line for line in lines) >= 2


def test_a_second_erasure_and_a_killed_one_finish(loop, lake, monkeypatch):
    done = loop.pipeline().run()

    with monkeypatch.context() as patch:
        patch.setattr("tuneloop.lake.erase.erase_rows", killed)
        with pytest.raises(KeyboardInterrupt):
            remove(loop, lake)
    report = remove(loop, lake)
    assert report["mentions"] == []
    assert {a["digest"] for a in report["adapters"]} == {done["sft"].digest, done["dpo"].digest}
    again = remove(loop, lake)
    assert again["artefacts"] == []
    assert search(loop.store, Needles.of([ANN]), [lake], SilentProgress()) == []


def test_a_stage_that_was_erased_runs_again(loop, lake):
    loop.pipeline().run()
    remove(loop, lake)
    loop.ran.clear()
    loop.curated = [curated("i5", "bob")]
    loop.sets = {"sft_train": [row("i3", "f3")]}
    loop.pipeline().run()
    assert "report" in loop.ran


def test_somebody_nobody_knows_is_an_error(loop, lake):
    erasure = Erasure(loop.store, Person("default", frozenset({"stranger"})), "stranger")
    with pytest.raises(DataError, match="nobody named"):
        erase(erasure, lakes=[lake], progress=SilentProgress())


@pytest.mark.parametrize(
    ("word", "text", "found"),
    [
        ("u1", '{"id": "u1"}', True),
        ("u1", "row u1 of table u12", False),
        ("user-long-1", "by user-long-1.", True),
        ("user-long-1", "by user-long-12", False),
        ("user-long-1", "by my-user-long-1", False),
        ("user-long-1", "actor user:user-long-1:0.9", True),
        ("user-long-1", "by user-long-1.2", False),
        ("ann-1@x.example", "write to mary.ann-1@x.example", False),
        ("ann-1@x.example", "write to (ann-1@x.example).", True),
    ],
)
def test_ids_stand_alone(tmp_path, word, text, found):
    path = tmp_path / "x.txt"
    path.write_text(text)
    assert mentions(path, Needles.of([word])) is found
    table = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": [["other", text]]}), table)
    assert mentions(table, Needles.of([word])) is found


def test_ids_another_tenant_uses_too_are_left_alone(tmp_path):
    uri = str(tmp_path / "lake")
    other = [event | {"tenant": "other"} for event in EVENTS[:3]]
    write_lake(uri, EVENTS + other)
    theirs = find_rows(uri, WHO)
    assert (theirs.interactions, theirs.feedback) == HERS
    assert theirs.shared == {"i1", "i2", ANN}
    erase_rows(uri, WHO)
    kept = lake_table.open_table(uri).to_pyarrow_table().to_pylist()
    assert sorted((row["tenant"], row["id"]) for row in kept) == [
        ("default", "f3"), ("default", "i3"), ("other", "i1"), ("other", "i2"), ("other", "i3"),
    ]  # fmt: skip


def test_whatever_names_them_is_theirs(tmp_path):
    uri, hashed = str(tmp_path / "lake"), "u-" + "0a" * 12
    unit = {"assignment": {"experiment": "x", "arm": "a", "unit": "gilbert-17"}}
    told = [
        interaction("i8", None, "hello") | unit,
        feedback("f7", "i3", "bob") | {"metadata": {"asked_by": hashed}},
        interaction("i9", None, "hello") | {"tags": [f"from:{hashed}"]},
    ]
    write_lake(uri, EVENTS + told)
    theirs = find_rows(uri, Person("default", frozenset({"gilbert-17", hashed})))
    assert (theirs.interactions, theirs.feedback) == ({"i8", "i9"}, {"f7"})


def test_a_name_that_could_be_guessed_is_not_hashed_into_the_lake(tmp_path):
    uri, hashed = str(tmp_path / "lake"), "u-" + "0a" * 12
    write_lake(uri, [interaction("i1", hashed, "hello")])
    erase_rows(uri, Person("default", frozenset({"never-seen@x.example", hashed})))
    assert set(erased_marks(uri)) == {
        mark("person", "default", hashed), mark("interaction", "default", "i1"),
    }  # fmt: skip


def test_a_lake_without_them_keeps_its_versions(lake):
    versions = erase_rows(lake, Person("default", frozenset({"stranger-1"})))
    assert versions == (1, 1)
    assert lake_table.open_table(lake, 0).version() == 0
    assert not erased_marks(lake)


def test_ordinary_words_and_short_ids_take_nobody_elses_rows(tmp_path):
    needles = Needles.of(["user", "customer", "17"])
    rows = pa.table({
        "role": ["user", "user"], "text": ["a customer of 17", '{"n": "17"}'],
        "interaction_id": ["17", "18"],
    })  # fmt: skip
    assert rows_of_theirs(rows, needles).tolist() == [True, False]
    assert needles.found_in(b'{"role": "user", "interaction_ids": ["16", "17"]}')
    assert not needles.found_in(b'{"role": "user", "of": "customer", "n": "17"}')


def test_texts_are_told_apart_by_as_much_as_it_takes():
    common, hers = "x" * 64, "x" * 64 + "hers, and nobody else's"
    assert tell_apart({hers}, {common + "his"}) == {hers}
    assert tell_apart({hers}, {"something else"}) == {common}
    assert tell_apart({hers}, {hers}) == tell_apart({hers}, {hers + ", and so on"}) == set()


@pytest.mark.parametrize("packed", ["gz", "zst", "arrow", "parquet"])
def test_packed_files_are_looked_into(tmp_path, packed):
    path, data = tmp_path / f"x.{packed}", f'{{"text": "{SAID}"}}\n'.encode()
    if packed == "gz":
        path.write_bytes(gzip.compress(data))
    elif packed == "zst":
        path.write_bytes(pa.Codec("zstd").compress(data, asbytes=True))
    else:
        table = pa.table({"a": pa.array([[(SAID, b"")]], pa.map_(pa.string(), pa.binary()))})
        if packed == "parquet":
            pq.write_table(table, path)
        else:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            with pa.ipc.new_stream(path, table.schema, options=options) as writer:
                writer.write_table(table)
    assert mentions(path, Needles.of([], [SAID]))
    assert not mentions(path, Needles.of([], ["Another text of some length, which is not there"]))


def test_exports_and_vectors_and_blobs_of_killed_stages_are_cleaned(loop, lake, tmp_path):
    loop.pipeline().run()
    store = tmp_path / "store"
    export = store / "mine/export.jsonl"
    export.parent.mkdir()
    export.write_text(f'{{"prompt": "{SAID}"}}\n{{"prompt": "{COMMON}"}}\n')
    (store / "blobs/abc").write_text(SAID)
    vectors = store / "work/encoder/e/1.parquet"
    vectors.parent.mkdir(parents=True)
    vectors.write_bytes(b"PAR1")
    remove(loop, lake)
    assert export.read_text() == f'{{"prompt": "{COMMON}"}}\n'
    assert not (store / "blobs/abc").exists()
    assert not vectors.exists()


def test_killed_at_any_point_it_finishes(tmp_path, monkeypatch):
    """Die before each step of a lake's erasure; the next one leaves nothing."""
    needles = Needles.of([ANN, *HERS[0], *HERS[1]], [SAID])
    here = "tuneloop.lake.erase"
    steps = [
        f"{here}._mark", f"{here}._clean_letters", "deltalake.write_deltalake",
        "deltalake.DeltaTable.vacuum", "deltalake.DeltaTable.create_checkpoint",
        f"{here}._cut_log", f"{here}._forget_summaries",
    ]  # fmt: skip
    for number, step in enumerate(steps):
        uri = str(tmp_path / f"lake-{number}")
        write_lake(uri, EVENTS)
        with monkeypatch.context() as patch:
            patch.setattr(step, killed)
            with pytest.raises(KeyboardInterrupt):
                erase_rows(uri, WHO, [SAID])
        erase_rows(uri, WHO, [SAID])
        left = [p for p in (tmp_path / f"lake-{number}").rglob("*") if p.is_file()]
        assert not [p.name for p in left if mentions(p, needles)], step
        raw = b"".join(p.read_bytes() for p in left if p.suffix != ".parquet")
        assert ANN.encode() not in raw, step


def test_golden_prompts_made_of_theirs_are_listed_and_what_names_them_is_cleaned(tmp_path, lake):
    store = Store(str(tmp_path / "store"))
    lines = [
        {"id": "c-1", "messages": [{"role": "user", "content": "x"}],
         "source": {"interaction_ids": ["i1"], "feedback_ids": []}},
        {"id": "own", "messages": [{"role": "user", "content": "y"}]},
    ]  # fmt: skip
    (tmp_path / "golden.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    curated = {
        "curated.parquet": pa.Table.from_pylist([], schema=CURATED),
        "dropped.parquet": pa.table({"detail": ["near:c-1:0.9", "near:own:0.9"]}),
    }
    answers = {"answers.parquet": pa.table({"prompt_id": ["c-1", "own"]})}
    for name, table in (curated | answers).items():
        pq.write_table(table, tmp_path / name)

    def commit(kind, names, *parents):
        refs = [Parent(role=p.kind, kind=p.kind, digest=p.digest, key=p.manifest.key)
                for p in parents]  # fmt: skip
        when = "2026-01-01T00:00:00Z"
        draft = Manifest(kind=kind, key=kind, digest="", files={}, parents=refs, started_at=when)
        return store.commit(draft, {name: tmp_path / name for name in names})

    golden = commit("golden", ["golden.jsonl"])
    commit("curate", curated, golden)
    commit("evaluate", answers, golden)
    report = erase(Erasure(store, WHO, ANN), lakes=[lake], progress=SilentProgress())
    assert report["golden"] == [{"digest": golden.digest, "prompts": ["c-1"]}]
    left = store.find("evaluate", "evaluate").path("answers.parquet")
    assert pq.read_table(left)["prompt_id"].to_pylist() == ["own"]
    left = store.find("curate", "curate").path("dropped.parquet")
    assert pq.read_table(left)["detail"].to_pylist() == ["near:own:0.9"]
    assert any("c-1" in line for line in erasure_lines(report))
    record = (tmp_path / "store" / report["record"]).read_text()
    assert "c-1" not in record


def test_a_bundle_in_the_store_is_looked_into(tmp_path):
    table = pa.table({"text": [SAID], "prompt_id": ["p1"]})
    pq.write_table(table, tmp_path / "answers.parquet", compression="zstd")
    inner = tmp_path / "inner.zip"
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(tmp_path / "answers.parquet", "evaluation/answers.parquet")
        archive.writestr("decision.json", json.dumps({"n": 1}))
    outer = tmp_path / "outer.zip"
    with zipfile.ZipFile(outer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(inner, "a/verdict.zip")
        archive.writestr("note.txt", "of user-12345678, who asked")
    for path in (inner, outer):
        assert mentions(path, Needles.of([], [SAID]))
        assert not mentions(path, Needles.of(["user-99999999"]))
    assert mentions(outer, Needles.of(["user-12345678"]))
    assert not mentions(inner, Needles.of(["user-12345678"]))
