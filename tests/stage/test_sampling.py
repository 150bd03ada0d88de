import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_openai import completion, fake_openai
from systems import served

from tuneloop.artefacts.digest import digest_file
from tuneloop.artefacts.golden import Check
from tuneloop.artefacts.manifest import Manifest
from tuneloop.artefacts.stage import CuratedSet, StageContext
from tuneloop.artefacts.store import Store
from tuneloop.artefacts.systems import Sampling
from tuneloop.artefacts.tables import CURATED
from tuneloop.config.evaluate import EngineConfig, JudgeConfig
from tuneloop.config.sample import SampleConfig
from tuneloop.evaluate.sampling import sample
from tuneloop.runtime.progress import SilentProgress
from tuneloop.runtime.tiny import make_tiny


def curated_row(id, *, answer="no", score=0.0, correction=None, signals=(), question=None):
    empty = {field.name: None for field in CURATED}
    return empty | {
        "interaction_id": id,
        "split": "train",
        "prompt": [{"role": "user", "content": question or f"Question {id}?"}],
        "answer": answer,
        "correction": correction,
        "score": score,
        "weight": 1.0,
        "signals": [
            {"feedback_id": f"f-{id}-{i}", "signal": s, "value_json": "true", "actor": "user:a",
             "opinion": -1.0, "weight": 0.3}
            for i, s in enumerate(signals)
        ],
    }  # fmt: skip


ROWS = [
    curated_row("liked", score=0.9),
    curated_row("disliked", score=-0.8),
    curated_row("corrected", answer='{"a": 1, "b": 2}', correction='{"a": 1, "b": 3}', score=-0.5),
    curated_row("reworded", signals=["reformulation"]),
    curated_row("silent"),
]


@pytest.fixture
def curated(tmp_path):
    path = tmp_path / "curated.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS, schema=CURATED), path)
    draft = Manifest(kind="curate", key="c" * 64, digest="", files={}, started_at=datetime.now(UTC))
    store = Store(str(tmp_path / "store"))
    return CuratedSet(store.commit(draft, {"curated.parquet": path}).manifest, store)


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    make_tiny(folder)
    return served(folder=folder)


def run(curated, system, config, engine, work):
    work.mkdir(exist_ok=True)
    context = StageContext(work=work, seed=7, progress=SilentProgress())
    output = sample(curated, system, config, engine, context)
    rows = pq.read_table(output.files["samples.parquet"]).to_pylist()
    return output, rows


CHECK = Check(name="polite", kind="contains", value="please")


def answers(path, body, headers):
    """Good answers at even seeds; the corrected prompt gets its correction, but one field."""
    text = body["messages"][-1]["content"]
    good = body["seed"] % 2 == 0
    if "corrected" in text:
        return completion('{"a": 1, "b": 3}' if good else '{"a": 9, "b": 9}')
    return completion("please wait" if good else "no way")


def test_answers_people_did_not_want_are_answered_anew_and_scored(curated, system, tmp_path):
    config = SampleConfig(enabled=True, checks=[CHECK], n_answers=4, sampling=Sampling(seed=10))
    with fake_openai(answers) as (url, seen):
        engine = EngineConfig(backend="url", url=url, served_model="m")
        output, rows = run(curated, system, config, engine, tmp_path / "work")
        n_asked = len(seen)
        again, _ = run(curated, system, config, engine, tmp_path / "work")
        assert len(seen) == n_asked == 3 * 4  # finished answers are not asked again
    assert {row["interaction_id"] for row in rows} == {"disliked", "corrected", "reworded"}
    assert all(len(row["feedback_ids"]) == (row["trigger"] == "reworded") for row in rows)
    by = {(row["interaction_id"], row["answer"]): row for row in rows}
    assert by["disliked", "no"]["origin"] == "recorded"
    assert by["disliked", "no"]["margin"] == 0
    assert by["disliked", "please wait"]["margin"] == 1
    assert by["disliked", "no way"]["margin"] == 0
    assert by["corrected", '{"a": 1, "b": 3}']["correction"] == 1
    assert by["corrected", '{"a": 1, "b": 2}']["correction"] == 0.5
    assert by["corrected", '{"a": 9, "b": 9}']["correction"] == 0
    assert len(rows) == 3 * 3 + 1  # equal answers are one row; the correction is an answer, too
    assert [r["score"] for r in rows if r["origin"] == "correction"] == [0.5]  # right, not polite
    summary = json.loads(output.files["summary.json"].read_text())
    assert summary["by_trigger"] == {"corrected": 1, "disliked": 1, "reworded": 1}
    assert summary["margin"] == {"n": 6, "better": 3, "equal": 2, "worse": 1}
    assert output.counts.n_out == 3
    for name, path in output.files.items():
        assert digest_file(path) == digest_file(again.files[name])


def test_only_what_was_asked_for_and_the_strongest_first(curated, system, tmp_path):
    config = SampleConfig(
        enabled=True, checks=[CHECK], when=["disliked", "corrected"], max_prompts=1, n_answers=1
    )
    with fake_openai(answers) as (url, _):
        engine = EngineConfig(backend="url", url=url, served_model="m")
        output, rows = run(curated, system, config, engine, tmp_path / "work")
    assert {row["interaction_id"] for row in rows} == {"corrected"}
    assert output.counts.dropped == {"over_max_prompts": 1}


def test_a_cut_answer_is_no_answer(curated, system, tmp_path):
    config = SampleConfig(enabled=True, checks=[CHECK], n_answers=2)
    with fake_openai(lambda *_: completion("please", finish="length")) as (url, _):
        engine = EngineConfig(backend="url", url=url, served_model="m")
        output, rows = run(curated, system, config, engine, tmp_path / "work")
    assert {row["origin"] for row in rows} == {"recorded", "correction"}
    assert json.loads(output.files["summary.json"].read_text())["n_without_answer"] == 3


def test_the_judge_compares_in_both_orders(curated, system, tmp_path):
    def judge_or_answer(path, body, headers):
        if body["messages"][0]["role"] != "system":
            return completion("please wait")
        shown = body["messages"][1]["content"]
        first = shown.index("please wait") < shown.index("<answer_b-")
        return completion("A", top=[("A" if first else "B", -0.01)])

    config = SampleConfig(
        enabled=True,
        when=["disliked"],
        n_answers=1,
        judge=JudgeConfig(role="advisory", reasoning_tokens=0),
    )
    with fake_openai(judge_or_answer) as (url, _):
        engine = EngineConfig(backend="url", url=url, served_model="m")
        _, rows = run(curated, system, config, engine, tmp_path / "work")
    told = [row for row in rows if row["interaction_id"] == "disliked"]
    assert [(row["origin"], row["judge"], row["margin"]) for row in told] == [
        ("recorded", 0.5, 0.0),
        ("sampled", 1.0, 0.5),
    ]


def test_a_real_model_answers_in_process(curated, system, tmp_path):
    config = SampleConfig(
        enabled=True, checks=[CHECK], n_answers=2, sampling=Sampling(temperature=1.0, max_tokens=4)
    )
    engine = EngineConfig(backend="transformers", dtype="float32")
    output, rows = run(curated, system, config, engine, tmp_path / "work")
    assert {row["origin"] for row in rows} >= {"recorded"}
    assert output.counts.n_out == 3


def test_answers_that_nothing_could_score_are_a_config_error():
    with pytest.raises(ValueError, match="checks or a judge"):
        SampleConfig(enabled=True)
    SampleConfig(enabled=True, when=["corrected"])
