"""Cohorts: counted from the set, with intervals, and what got worse is found and nothing else."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from typer.testing import CliRunner

from tuneloop.artefacts.manifest import Manifest
from tuneloop.artefacts.store import Store
from tuneloop.artefacts.tables import CURATED
from tuneloop.cli_cohorts import cohorts
from tuneloop.cohorts import cohort_lines, cohort_report, plot_cohorts
from tuneloop.errors import DataError


def thumb(up, **other):
    base = {"feedback_id": "f", "signal": "thumb", "dimension": None, "value_json": "true",
            "actor": "user:u", "opinion": 1.0 if up else -1.0, "weight": 1.0}  # fmt: skip
    return base | other


def write(folder, rows):
    empty = dict.fromkeys(CURATED.names) | {"prompt": [], "signals": []}
    rows = [empty | {"interaction_id": f"i{k}", "subject_key": f"p{k}"} | row
            for k, row in enumerate(rows)]  # fmt: skip
    path = folder / "curated.parquet"
    pq.write_table(pa.Table.from_pylist(rows, CURATED), path)
    return path


@pytest.fixture
def traffic(tmp_path):
    """Version 2 is worse for shops, and the same for everybody else."""
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(4000):
        segment = str(rng.choice(["shops", "homes", "clubs", "ships", "farms"]))
        system = str(rng.choice(["v1", "v2"]))
        share = 0.4 if (segment, system) == ("shops", "v2") else 0.7
        signals = [thumb(rng.random() < share)] if rng.random() < 0.8 else []
        rows.append({"segment": segment, "system": system, "signals": signals})
    return write(tmp_path, rows)


def test_every_cohort_is_counted_once(traffic):
    report = cohort_report(traffic, by=("segment", "system"))
    assert sum(row["n"] for row in report["cohorts"]) == report["n"] == 4000
    assert sum(row["n_rated"] for row in report["cohorts"]) == report["n_rated"]
    assert len(report["cohorts"]) == 10
    for row in report["cohorts"]:
        assert row["approval"]["low"] < row["approval"]["estimate"] < row["approval"]["high"]


def test_the_cohort_that_got_worse_is_found_and_no_other(traffic):
    found = cohort_report(traffic, by=("segment",), compare=("v1", "v2"))["comparison"]
    verdicts = {row["cohort"]["segment"]: row["verdict"] for row in found["cohorts"]}
    assert verdicts.pop("shops") == "worse"
    assert set(verdicts.values()) == {"no_change_shown"}
    [shops] = [row for row in found["cohorts"] if row["cohort"]["segment"] == "shops"]
    assert shops["difference"]["low"] <= -0.3 <= shops["difference"]["high"]
    assert shops["difference"]["q_value"] >= shops["difference"]["p_value"]
    turned = cohort_report(traffic, by=("segment",), compare=("v2", "v1"))["comparison"]
    assert {row["verdict"] for row in turned["cohorts"]} == {"better", "no_change_shown"}


def test_where_nothing_changed_little_is_found(tmp_path):
    rng = np.random.default_rng(1)
    false = 0
    for _ in range(40):
        rows = [{"segment": f"s{rng.integers(0, 8)}", "system": f"v{rng.integers(1, 3)}",
                 "signals": [thumb(rng.random() < 0.7)]} for _ in range(800)]  # fmt: skip
        found = cohort_report(write(tmp_path, rows), compare=("v1", "v2"))["comparison"]
        false += any(row["verdict"] in ("worse", "better") for row in found["cohorts"])
    assert false <= 6


def test_what_is_not_stated_is_a_cohort_of_its_own(tmp_path):
    path = write(tmp_path, [{"intent": "pay", "signals": [thumb(True)]}, {}, {"intent": ""}])
    report = cohort_report(path, by=("intent",))
    assert [row["cohort"]["intent"] for row in report["cohorts"]] == [None, "", "pay"]
    assert report["cohorts"][0]["approval"]["estimate"] is None
    assert "not rated" in "\n".join(cohort_lines(report))


@pytest.mark.parametrize(
    "signal",
    [
        {"actor": "judge:j"}, {"signal": "copy"}, {"opinion": None}, {"weight": 0.0},
        {"signal": "correction"},
    ],
)  # fmt: skip
def test_only_what_users_said_outright_and_is_believed_counts(tmp_path, signal):
    report = cohort_report(write(tmp_path, [{"signals": [thumb(False, **signal)]}]))
    assert report["n_rated"] == 0
    corrected = report["cohorts"][0]["corrected_fraction"]
    assert corrected == (signal.get("signal") == "correction")


def test_one_person_is_one_opinion(tmp_path):
    many = write(tmp_path, [{"subject_key": "same", "signals": [thumb(True)]}] * 40)
    assert cohort_report(many)["overall"]["low"] < 0.3


def test_propensities_correct_who_was_asked(tmp_path):
    rows = [{"segment": "a", "asked": True, "p_asked": 0.1, "signals": [thumb(False)]}] * 10
    rows += [{"segment": "a", "asked": True, "p_asked": 0.9, "signals": [thumb(True)]}] * 90
    rows += [{"segment": "b", "asked": False, "p_asked": 0.9, "signals": [thumb(True)]}] * 9
    one, other = cohort_report(write(tmp_path, rows))["cohorts"]
    assert one["approval"]["estimate"] == 0.9
    assert one["weighted"]["estimate"] == pytest.approx(0.5)
    assert other["weighted"] is None
    by_system = cohort_report(write(tmp_path, rows), by=("system",))["cohorts"]
    assert by_system[0]["weighted"] is None  # who serves whom was not logged


@pytest.mark.parametrize(
    ("knobs", "what"),
    [
        ({"by": ("colour",)}, "colour"), ({"compare": ("v1", "v9")}, "v9"),
        ({"within": "split"}, "split"),
    ],
)  # fmt: skip
def test_what_does_not_exist_is_said(traffic, knobs, what):
    with pytest.raises(DataError, match=what):
        cohort_report(traffic, **knobs)


def test_a_set_of_an_older_shape_is_refused(tmp_path):
    path = tmp_path / "old.parquet"
    pq.write_table(pa.table({"signals": [[{"signal": "thumb"}]]}), path)
    with pytest.raises(DataError, match="what its signals count for"):
        cohort_report(path)


@pytest.mark.parametrize("compare", [None, ("v1", "v2")])
def test_a_picture(traffic, tmp_path, compare):
    report = cohort_report(traffic, compare=compare)
    plot_cohorts(report, tmp_path / "cohorts.svg")
    assert (tmp_path / "cohorts.svg").read_text("utf-8").count("shops") == 1
    with pytest.raises(DataError, match=r"cohorts\.nonsense"):
        plot_cohorts(report, tmp_path / "cohorts.nonsense")


def test_the_command(traffic, tmp_path):
    store = Store(str(tmp_path / "store"))
    draft = Manifest(kind="curate", key="k", digest="", files={}, started_at="2026-05-01T00:00:00Z")
    digest = store.commit(draft, {"curated.parquet": traffic}).digest
    app = typer.Typer()
    app.command()(cohorts)
    words = [digest[:12], "--store", store.root, "--by", "segment,system"]
    shown = CliRunner().invoke(app, words)
    assert "shops, v2" in shown.output
    words = [digest[:12], "--store", store.root, "--compare", "v1", "v2", "--json"]
    report = json.loads(CliRunner().invoke(app, words).output)
    assert report["comparison"]["versions"] == ["v1", "v2"]
