"""Candidates come from what people confirmed, spread over what is asked; status shows the gaps."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from tuneloop.artefacts.golden import GoldenPrompt, read_golden
from tuneloop.artefacts.manifest import Manifest
from tuneloop.artefacts.store import Store
from tuneloop.artefacts.tables import CURATED
from tuneloop.cli_golden import golden_app
from tuneloop.config.golden import LeakConfig
from tuneloop.curate.leak import KINDS, Guard, held_statuses
from tuneloop.golden_set.coverage import coverage
from tuneloop.golden_set.propose import SEEN, propose
from tuneloop.golden_set.traffic import read_rows

TOPICS = {"refund": "my refund of", "parcel": "the parcel with", "vase": "a blue vase for"}


def row(n, intent, *, signal="correction", actor="user:u", weight=1.0, **changes):
    signals = [
        {"feedback_id": f"f-{n}", "signal": signal, "actor": f"{actor}{n}", "value_json": "1"}
    ]
    text = f"Question {n} of many: where is {TOPICS[intent]} number {n * 7}?"
    return {
        "interaction_id": f"i-{n}", "cluster_id": f"k-{n}", "split": "train", "intent": intent,
        "prompt": [{"role": "user", "content": text}], "answer": f"answer {n}",
        "correction": f"correct {n}" if signal == "correction" else None, "score": 0.9,
        "weight": weight, "signals": signals,
    } | changes  # fmt: skip


ROWS = [
    *(row(n, "refund") for n in range(20)),
    *(row(n, "parcel", signal="thumb") for n in range(20, 30)),
    row(30, "vase", signal="copy"),
    row(31, "vase", weight=0.3),
    row(32, "vase", signal="thumb", score=-0.9),
    row(33, "vase", signal="thumb", actor="judge:j"),
    row(34, "vase", actor="reviewer:r"),
    row(35, "vase", split="validation"),
    row(36, "vase", cluster_id="k-35"),
]


@pytest.fixture
def store(tmp_path):
    path = tmp_path / "curated.parquet"
    pq.write_table(pa.Table.from_pylist(ROWS, schema=CURATED), path)
    store = Store(str(tmp_path / "store"))
    draft = Manifest(kind="curate", key="k", digest="", files={}, started_at="2026-01-01T00:00:00Z")
    store.commit(draft, {"curated.parquet": path})
    return store


@pytest.fixture
def rows(store):
    return list(read_rows(next(store.list_artefacts("curate"))))


def ids(proposals):
    return [proposal.prompt.id for proposal in proposals]


def test_only_what_people_confirmed_is_proposed(rows):
    found = propose(rows, [], n=100)
    assert {p.prompt.id for p in found} & {f"c-i-{n}" for n in range(30, 37)} == {
        "c-i-34", "c-i-35"
    }  # fmt: skip
    assert len(found) == 32
    assert all(p.prompt.status == "candidate" for p in found)
    corrected = next(p.prompt for p in found if p.prompt.id == "c-i-3")
    assert corrected.reference == "correct 3"
    assert corrected.source.interaction_ids == ["i-3"]
    assert corrected.source.feedback_ids == ["f-3"]
    assert next(p.prompt for p in found if p.prompt.id == "c-i-25").reference == "answer 25"


def test_the_uncovered_come_first_and_reviewers_before_users(rows):
    golden = [
        GoldenPrompt(id=f"g{i}", slices=[f"intent:{intent}"],
                     messages=[{"role": "user", "content": f"{intent} {i} entirely other words"}])
        for i, intent in enumerate(["refund"] * 3 + ["parcel"] * 2)
    ]  # fmt: skip
    found = propose(rows, golden, n=2)
    assert ids(found)[0] == "c-i-34"
    vases = [p.prompt for p in propose(rows, golden, n=100) if "intent:vase" in p.prompt.slices]
    assert [p.id for p in vases] == ["c-i-34", "c-i-35"]
    assert [p.tags for p in vases] == [[SEEN], []]


def test_nothing_is_proposed_twice_and_nothing_golden(rows):
    first = propose(rows, [], n=10)
    rejected = [p.prompt.model_copy(update={"status": "retired"}) for p in first]
    second = propose(rows, rejected, n=100)
    assert not set(ids(first)) & set(ids(second))
    asked = GoldenPrompt(id="g", messages=[{"role": "user", "content": rows[0].question.upper()}])
    assert "c-i-0" not in ids(propose(rows, [asked], n=100))


def test_the_order_of_rows_does_not_matter(rows):
    assert ids(propose(rows[::-1], [], n=12)) == ids(propose(rows, [], n=12))


def test_gaps_are_cohorts_with_traffic_and_without_prompts(rows):
    golden = [GoldenPrompt(id="g", slices=["intent:refund"],
                           messages=[{"role": "user", "content": rows[0].question}])]  # fmt: skip
    found = coverage(rows, golden, None)
    assert found["gaps"] == ["intent:parcel", "intent:vase"]
    shares = {row["name"]: (row["traffic"], row["golden"]) for row in found["cohorts"]}
    assert shares["refund"] == (round(20 / 37, 4), 1.0)
    assert sum(found["nearest"]["rows"]) == len(rows)
    assert coverage([], [], None)["cohorts"] == []


@pytest.fixture
def no_encoder(monkeypatch):
    """Loading it takes seconds, and is tested elsewhere."""
    monkeypatch.setattr("tuneloop.runtime.encoder.NEEDED", ("no_such_module",))


@pytest.mark.usefixtures("no_encoder")
def test_from_proposal_to_protection(store, tmp_path):
    """What a reviewer accepts is out of training at once; a candidate while it waits, too."""
    run, file = CliRunner(), tmp_path / "golden.jsonl"

    def golden(*words):
        result = run.invoke(golden_app, [*map(str, words), "--json"], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return json.loads(result.output)

    golden("add", file, "--prompt", "Do you sell lamps?", "--slice", "intent:lamp", "--by", "ann")
    proposed = golden("propose", file, "-n", 3, "--store", store.root)
    named = [candidate["id"] for candidate in proposed["candidates"]]
    assert len(named) == 3
    assert len(read_golden(file)) == 1
    accepted, rejected, waits = named
    golden("review", file, "--accept", accepted, "--by", "bo")
    golden("review", file, "--reject", rejected, "--why", "vague", "--by", "bo")
    assert [p.id for p in read_golden(file)][1:] == [accepted]

    def kinds(config):
        guard = Guard(read_golden(file, held_statuses(config)), config)
        sources = pa.array([id.removeprefix("c-") for id in (accepted, rejected, waits)])
        questions = pa.array(["Some text of its own"] * 3)
        return [KINDS[k] for k in guard.check(questions, ids=sources).kind]

    assert kinds(LeakConfig()) == ["source", "", "source"]
    assert kinds(LeakConfig(hold_out_candidates=False)) == ["source", "", ""]
    state = golden("status", file, "--store", store.root)
    assert state["by_status"] == {"active": 2, "candidate": 1, "retired": 1}
    assert state["coverage"]["n_rows"] == len(ROWS)
    retired = golden("retire", file, accepted, "--why", "old", "--by", "bo")
    assert retired == {"retired": [accepted]}
    assert golden("diff", file, file)["changed"] == {}


@pytest.mark.usefixtures("no_encoder")
def test_people_see_lines(store, tmp_path):
    file = tmp_path / "golden.jsonl"
    run = CliRunner()
    run.invoke(golden_app, ["add", str(file), "--prompt", "Do you sell lamps?"])
    result = run.invoke(golden_app, ["status", str(file), "--store", store.root])
    assert "intent:refund" in result.output
    assert "GAP" in result.output


def test_review_without_a_terminal_says_how(store, tmp_path):
    file = tmp_path / "golden.jsonl"
    run = CliRunner()
    run.invoke(golden_app, ["propose", str(file), "-n", "1", "--store", store.root])
    result = run.invoke(golden_app, ["review", str(file)])
    assert "no terminal" in str(result.exception)
