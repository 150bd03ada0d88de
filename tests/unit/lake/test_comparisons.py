"""Comparisons that nobody named: from a file in their shape to the pairs that are exported."""

import json

import pytest

from tuneloop.errors import DataError
from tuneloop.lake.export import export_lake
from tuneloop.lake.format import Source, UnfitError, formats
from tuneloop.lake.ingest import ingest_file
from tuneloop.lake.reading import Intake
from tuneloop.lake.verdicts import winner_among
from tuneloop.runtime.progress import SilentProgress


def hh(*turns):
    return "".join(f"\n\n{('Human', 'Assistant')[n % 2]}: {t}" for n, t in enumerate(turns))


def chat(*turns):
    return [{"role": ("user", "assistant")[n % 2], "content": t} for n, t in enumerate(turns)]


def through(folder, *records, kind="preference"):
    """Ingest records as JSON lines, export them for TRL; return the format and plain rows."""
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(r) + "\n" for r in records), "utf-8")
    lake = str(folder / "lake")
    report = ingest_file(str(path), Intake(lake, SilentProgress()), dead_letter=folder / "dead")
    assert report.accepted == len(records), (folder / "dead").read_text("utf-8")
    out = folder / "out.jsonl"
    export_lake(lake, kind=kind, format="trl", out=out)
    rows = []
    for row in map(json.loads, out.read_text("utf-8").splitlines()):
        sides = [[m["content"] for m in row[k]] for k in row if isinstance(row[k], list)]
        rows.append((*sides, *([row["label"]] if "label" in row else [])))
    return report.format, rows


PAIR = {"model_a": "m1", "model_b": "m2"}
GOOD_ONE = (["q"], ["good"], ["bad"])


@pytest.mark.parametrize(
    ("record", "format"),
    [
        ({"chosen": hh("q", "good"), "rejected": hh("q", "bad")}, "hh_rlhf"),
        ({"chosen": hh("q", "good").replace("\n", "\r\n"),
          "rejected": hh("q", "bad").replace("\n", "\r\n")}, "hh_rlhf"),
        (PAIR | {"conversation_a": chat("q", "bad"), "conversation_b": chat("q", "good"),
                 "winner": "model_b"}, "lmsys_arena"),
        (PAIR | {"prompt": '["q"]', "response_a": '["bad"]', "response_b": '["good"]',
                 "winner": "model_b"}, "arena_55k"),
        ({"prompt": ["q"], "response_a": ["good"], "response_b": ["bad"], "winner_model_a": True,
          "winner_model_b": False, "winner_both_bad": False}, "arena_55k"),
        ({"question": "q", "chosen": "good", "rejected": "bad", "ds_name": "x"}, "pairwise"),
        ({"input": "q", "chosen": "good", "rejected": "bad", "generations": ["bad", "good"],
          "order": ["A", "B"]}, "pairwise"),
        ({"prompt": "q", "better": "good", "worse": "bad"}, "pairwise"),
        ({"prompt": "q", "model_a_response": "bad", "model_b_response": "good",
          "preferred_model": "model_b"}, "pairwise"),
        ({"Input.prompt": "q", "Input.response_A": "good", "Input.response_B": "bad",
          "Answer.choice": "A", "WorkerId": "W1"}, "pairwise"),
        ({"query": "q", "completion_a": "good", "completion_b": "bad", "annotations": [
            {"annotator": "x", "choice": "a"}, {"annotator": "y", "choice": "b"},
            {"annotator": "z", "choice": "a"}]}, "pairwise"),
        ({"conversations": [{"from": "human", "value": "q"}],
          "chosen": {"from": "gpt", "value": "good"}, "rejected": {"from": "gpt", "value": "bad"}},
         "pairwise"),
        ({"prompt": "q", "left": "bad", "right": "good", "winner": "right"}, "pairwise"),
        ({"question": "q", "response_A": "bad", "response_B": "good", "label": "B>A"}, "pairwise"),
        ({"question": "q", "answer_a": "good", "answer_b": "bad", "verdict": "A>>B"}, "pairwise"),
        ({"question": "q", "answer_a": "good", "answer_b": "bad", "verdict": "[[A]]"}, "pairwise"),
        (PAIR | {"prompt": "q", "response_a": "bad", "response_b": "good", "winner": "m2"},
         "pairwise"),
        ({"prompt": "q", "response1": "good", "response2": "bad", "winner": "first"}, "pairwise"),
        ({"instruction": "q", "output_1": "bad", "output_2": "good", "preference": 1.9997},
         "pairwise"),
        ({"info": {"post": "q", "title": "t"}, "choice": 1, "worker": "w",
          "summaries": [{"text": "bad", "policy": "p"}, {"text": "good", "policy": "p"}]},
         "pairwise"),
        ({"prompt": hh("q", ""), "answers": [{"answer": "bad", "rank": 2.0},
                                             {"answer": "good", "rank": 1.0}]}, "ranked"),
        ({"question": "q", "answers": [{"text": "good", "pm_score": 4},
                                       {"text": "bad", "pm_score": 1}]}, "ranked"),
    ],
)  # fmt: skip
def test_the_better_answer_is_the_chosen_one(tmp_path, record, format):
    assert through(tmp_path, record) == (format, [GOOD_ONE])


def test_conversations_that_were_judged_as_wholes_are_exported_as_wholes(tmp_path):
    long = [x for n in range(12) for x in (f"a{n}", f"q{n}")]
    record = {
        "chosen": hh("q", *long, "end"),
        "rejected": hh("q", "no", "please", "well", "thanks"),
    }
    assert through(tmp_path, record) == (
        "hh_rlhf", [(["q"], [*long, "end"], ["no", "please", "well"])])  # fmt: skip


def test_both_bad_is_two_labels_of_whole_conversations(tmp_path):
    record = PAIR | {"question_id": 1, "judge": "arena_user_7", "winner": "tie (bothbad)",
                     "conversation_a": chat("q", "a", "r", "b"),
                     "conversation_b": chat("q", "c", "r", "d")}  # fmt: skip
    _, rows = through(tmp_path, record, kind="kto")
    assert sorted(rows) == [(["q"], ["a", "r", "b"], False), (["q"], ["c", "r", "d"], False)]


def test_a_ranking_makes_every_two_and_ties_none(tmp_path):
    ranks = {"first": 1, "second": 2, "too": 2}
    record = {"prompt": "q", "responses": [{"text": t, "rank": r} for t, r in ranks.items()]}
    _, rows = through(tmp_path, record)
    assert sorted(row[1:] for row in rows) == [(["first"], ["second"]), (["first"], ["too"])]


def test_an_attack_that_went_well_is_a_bad_answer(tmp_path):
    record = {"transcript": hh("hm?", "No.", "Please", "Here you go") + "\n\nHuman: thanks",
              "rating": 4.0, "red_team_member_id": 3}  # fmt: skip
    fine = {"transcript": hh("hm?", "No."), "rating": 0, "red_team_member_id": 4}
    name, rows = through(tmp_path, record, fine, kind="kto")
    assert name == "hh_red_team"
    assert sorted(rows) == [(["hm?"], ["No."], True),
                            (["hm?", "No.", "Please"], ["Here you go"], False)]  # fmt: skip


@pytest.mark.parametrize("value", ["maybe", "C", 3, True, "c>d", "", None, "nobody"])
def test_a_verdict_that_names_nobody_is_refused(value):
    with pytest.raises(UnfitError, match="bad_verdict"):
        winner_among(value, ("1", "2"), ("m1", "m2"))


@pytest.mark.parametrize("signs", [">", ">>", "≻"])
@pytest.mark.parametrize("marks", [("a", "b"), ("1", "2"), ("0", "1")])
def test_turned_round_it_names_the_other(marks, signs):
    first, second = marks
    assert winner_among(f"{first.upper()} {signs} {second.upper()}", marks) == "a"
    assert winner_among(f"{second}{signs}{first}", marks) == "b"
    assert winner_among(f"{first}={second}", marks) == "tie"


def test_a_scale_with_a_sign_is_not_taken_for_numbers_of_answers(tmp_path):
    rows = [{"prompt": f"q{n}", "response_1": "a", "response_2": "b", "preference": n - 3}
            for n in range(7)]  # fmt: skip
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    intake = Intake(str(tmp_path / "lake"), SilentProgress())
    with pytest.raises(DataError, match=r"nearest is pairwise \(bad_verdict: verdicts go below 0"):
        ingest_file(str(path), intake, dead_letter=tmp_path / "dead")
    source, refused = Source("x"), []
    for row in rows:
        try:
            list(formats()["pairwise"].convert(row, source))
        except UnfitError as unfit:
            refused.append(unfit.reason)
    assert refused == ["bad_verdict"] * 7


def test_an_answer_is_right_where_every_step_is(tmp_path):
    steps = [{"prompt": "q", "completions": ["one", "two"], "labels": labels}
             for labels in ([True, True], [True, False])]  # fmt: skip
    name, rows = through(tmp_path, *steps, kind="kto")
    assert name == "trl"
    assert sorted(rows) == [(["q"], ["one\ntwo"], False), (["q"], ["one\ntwo"], True)]


def test_an_arena_may_say_that_both_are_bad(tmp_path):
    record = {"id": 1, "prompt": '["q"]', "response_a": '["a"]', "response_b": '["b"]',
              "winner_model_a": 0, "winner_model_b": 0, "winner_tie": 0,
              "winner_both_bad": 1}  # fmt: skip
    _, rows = through(tmp_path, record, kind="kto")
    assert sorted(rows) == [(["q"], ["a"], False), (["q"], ["b"], False)]
