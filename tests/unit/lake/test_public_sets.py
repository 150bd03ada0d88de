"""What the public sets say, against an independent reading of real files and made-up rows."""

import json
from collections import Counter

import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from tuneloop.lake.format import Source, UnfitError, formats
from tuneloop.lake.ingest import ingest_file
from tuneloop.lake.reading import Intake
from tuneloop.runtime.progress import SilentProgress


def take(path, folder):
    intake = Intake(str(folder / "lake"), SilentProgress())
    report = ingest_file(str(path), intake, dead_letter=folder / "dead.jsonl")
    rows = DeltaTable(str(folder / "lake")).to_pyarrow_table().to_pylist()
    events = [json.loads(row["payload"]) for row in rows]
    asked = {e["id"]: e for e in events if e["type"] == "interaction"}
    return report, asked, [e for e in events if e["type"] == "feedback"]


def convert(name, *records):
    source = Source("x")
    return [event for record in records for event in formats()[name].convert(record, source)]


def preferences(events):
    return [e["value"] for e in events if e["type"] == "feedback" and e["signal"] == "preference"]


def answers(events):
    return {e["id"]: e["response"]["content"] for e in events if e["type"] == "interaction"}


# -- real files ----------------------------------------------------------------------
def test_pandalm(data_dir, tmp_path):
    path = data_dir / "pandalm" / "testset-v1.json"
    report, asked, given = take(path, tmp_path)
    assert report.format == "pandalm"
    assert (report.read, report.accepted, report.rejected, report.duplicates) == (999, 993, 6, 0)
    assert report.by_reason == {"not_text": 6}
    letters = [json.loads(t) for t in (tmp_path / "dead.jsonl").read_text().splitlines()]
    assert [letter["line"] - 1 for letter in letters] == [157, 158, 159, 161, 162, 164]
    raw = [r for r in json.loads(path.read_text()) if isinstance(r["response1"], str)
           and isinstance(r["response2"], str)]  # fmt: skip
    wanted = Counter((r["instruction"], r["input"], r[f"response{n}"]) for r in raw for n in (1, 2))
    found = Counter()
    for event in asked.values():
        (message,) = event["request"]["messages"]
        found[message["content"], event["response"]["content"]] += 1
    as_one = Counter()
    for (instruction, more, answer), n in wanted.items():
        as_one["\n\n".join(t for t in (instruction, more) if t.strip()), answer] += n
    assert found == as_one
    ids = {(e["extra"]["idx"], e["id"][-1]): e["id"] for e in asked.values()}
    votes = Counter()
    for event in given:
        value = event["value"]
        first = ids[asked[value["winner"]]["extra"]["idx"], "a"]
        verdict = 0 if value["outcome"] == "tie" else 1 if value["winner"] == first else 2
        votes[asked[first]["extra"]["idx"], event["actor"]["id"], verdict] += 1
    assert votes == Counter(
        (r["idx"], f"annotator{n}", r[f"annotator{n}"]) for r in raw for n in (1, 2, 3)
    )
    systems = Counter(e["system"] for e in asked.values())
    assert systems == Counter(name for r in raw for name in r["cmp_key"].split("_"))


def test_arena_140k(data_dir, tmp_path):
    (path,) = (data_dir / "arena140k").glob("*.parquet")
    report, asked, given = take(path, tmp_path)
    assert report.format == "arena_140k"
    raw = pq.read_table(path).to_pylist()
    assert (report.read, report.accepted, report.rejected) == (275, 275, 0)
    assert len(given) == len(raw) == 275
    by_battle = {e["value"]["winner"].split("-", 1)[1][:-2]: e for e in given}
    for row in raw:
        event = by_battle[row["id"]]
        chats = {s: [" ".join(p["text"] for p in m["content"]) for m in row[f"conversation_{s}"]]
                 for s in "ab"}  # fmt: skip
        winner = asked[event["value"]["winner"]]
        side = row["winner"][-1]
        assert event["value"]["outcome"] == "better"
        assert winner["system"] == row[f"model_{side}"]
        (message,) = winner["request"]["messages"]
        assert message["content"] == chats[side][0]
        assert winner["response"]["content"] == chats[side][1]
        turns = [e for e in asked.values() if row["id"] in e["id"]]
        assert len(turns) == sum(len(chat) // 2 for chat in chats.values())
        assert event["metadata"].get("n_answers", 1) == len(chats["a"]) // 2
        assert winner["tags"] == [row["language"]]
        assert winner["event_ts"][:19] == str(row["timestamp"])[:19].replace(" ", "T")


# -- HH-RLHF -------------------------------------------------------------------------
def hh(*turns):
    who = ("Human", "Assistant")
    return "".join(f"\n\n{who[n % 2]}: {text}" for n, text in enumerate(turns))


def common_prompt(chosen, rejected):
    """The longest common beginning of two transcripts, cut before the answers that differ."""
    n = next((n for n, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b),
             min(len(chosen), len(rejected)))  # fmt: skip
    return chosen[: chosen[:n].rfind("\n\nAssistant:")]


@pytest.mark.parametrize(
    ("chosen", "rejected"),
    [
        (hh("q", "yes"), hh("q", "no")),
        (hh("q", "yes, but"), hh("q", "yes, and")),
        (hh("q", "a", "q2", "b"), hh("q", "a", "q2", "c")),
        (hh("q", "a", "q2", "b", "q3", "c"), hh("q", "x")),
        (hh("q", "a"), hh("q", "a longer answer")),
        (hh("q", ""), hh("q", "not empty")),
        (hh("q: Human: hm", "a\n\nb: c"), hh("q: Human: hm", "a\n\nb: d")),
    ],
)
def test_the_prompt_of_a_transcript_is_its_common_beginning(chosen, rejected):
    events = convert("hh_rlhf", {"chosen": chosen, "rejected": rejected})
    (value,) = preferences(events)
    asked = {e["id"]: e for e in events if e["type"] == "interaction"}
    texts = []
    for name, text in ((value["winner"], chosen), (value["loser"], rejected)):
        messages = asked[name]["request"]["messages"]
        prompt = hh(*(m["content"] for m in messages))
        assert prompt == common_prompt(chosen, rejected)
        texts.append(asked[name]["response"]["content"])
        rest = text.removeprefix(prompt).removeprefix("\n\nAssistant:")
        assert rest.strip().startswith(texts[-1])
    assert texts[0] != texts[1]
    n_turns = [t.count("\n\nAssistant:") - len(prompt.split("\n\nAssistant:")) + 1
               for t in (chosen, rejected)]  # fmt: skip
    assert len(asked) == sum(n_turns)


@pytest.mark.parametrize(
    ("chosen", "rejected", "reason"),
    [
        (hh("q", "a"), hh("q", "a"), "identical_answers"),
        (hh("q", "a "), hh("q", "a"), "identical_answers"),
        (hh("q", "a"), hh("other", "a"), "no_common_prompt"),
        (hh("q", "a"), hh("q"), "no_common_prompt"),
        ("nobody speaks", hh("q", "a"), "bad_transcript"),
        (None, hh("q", "a"), "not_text"),
        ("", hh("q", "a"), "empty_text"),
    ],
)
def test_transcripts_that_cannot_be_used(chosen, rejected, reason):
    with pytest.raises(UnfitError) as caught:
        convert("hh_rlhf", {"chosen": chosen, "rejected": rejected})
    assert caught.value.reason == reason


# -- ratings -------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("overall", "aspects", "wanted"),
    [(10, [5, 5], 10), (10, [1, 2], 1), (10, [2, 2], 1), (10, [3, 4], None), (10, [], 10),
     (8, [1, 1], 8), (1, [1], 1), (0, [1], None), ("N/A", [2], None), ("7.5", [4], 7.5)],
)  # fmt: skip
def test_a_one_that_was_stored_as_ten(overall, aspects, wanted):
    names = ("helpfulness", "honesty")
    rated = {n: {"Rating": str(v)} for n, v in zip(names, aspects, strict=False)}
    one = {"model": "m", "response": "r", "overall_score": overall, "annotations": rated}
    events = convert("ultrafeedback", {"instruction": "q", "completions": [one]})
    scores = {e["dimension"]: e["value"] for e in events if e["type"] == "feedback"}
    assert scores.pop("overall", None) == wanted
    assert scores == {n: float(v) for n, v in zip(names, aspects, strict=False)}


def test_equal_scores_are_ties():
    chat = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]
    other = [chat[0], {"role": "assistant", "content": "b"}]
    for a, b, outcome in ((7, 7, "tie"), (8, 7, "better"), (None, None, "better")):
        row = {"chosen": chat, "rejected": other, "score_chosen": a, "score_rejected": b}
        (value,) = preferences(convert("ultrafeedback_binarized", row))
        assert value["outcome"] == outcome


def test_helpsteer_marks_turns_and_does_not_take_traits_for_merits():
    prompt = "Hi\n\n<extra_id_1>Assistant\nHello\n<extra_id_1>User\nA river?"
    row = {"prompt": prompt, "response": "Elbe", "helpfulness": 3, "correctness": 4,
           "coherence": 4, "complexity": 1, "verbosity": 4}  # fmt: skip
    first, *given = convert("helpsteer2", row)
    assert [m["content"] for m in first["request"]["messages"]] == ["Hi", "Hello", "A river?"]
    assert [m["role"] for m in first["request"]["messages"]] == ["user", "assistant", "user"]
    assert {e["dimension"] for e in given} == {"helpfulness", "correctness", "coherence"}
    assert first["extra"] == {"complexity": 1, "verbosity": 4}


def test_helpsteer3_has_a_preference_for_every_annotator():
    row = {"context": [{"role": "user", "content": "q"}], "response1": "a", "response2": "b",
           "overall_preference": -1,
           "individual_preference": [{"score": s} for s in (-3, 2, 0)]}  # fmt: skip
    values = preferences(convert("helpsteer3", row))
    assert [v["winner"][-1] for v in values] == ["a", "b", "a"]
    assert [v["outcome"] for v in values] == ["better", "better", "tie"]
    (value,) = preferences(convert("helpsteer3", row | {"individual_preference": []}))
    assert value["winner"].endswith("-a")


# -- battles -------------------------------------------------------------------------
def test_turns_of_the_55k_are_json_in_texts():
    row = {"id": 1, "model_a": "x", "model_b": "y", "prompt": '["q1", "q2"]',
           "response_a": '["\\ud83d\\ude00 \\ud83d", null]', "response_b": '["b1", "b2"]',
           "winner_model_a": "0", "winner_model_b": "1", "winner_tie": "0"}  # fmt: skip
    events = convert("arena_55k", row)
    (value,) = preferences(events)
    said = answers(events)
    assert said[value["winner"]] == "b1"
    assert said[value["loser"]] == "\U0001f600 \ufffd"
    assert sorted(said.values()) == ["", "b1", "b2", "\U0001f600 \ufffd"]
    with pytest.raises(UnfitError, match="bad_verdict"):
        convert("arena_55k", row | {"winner_tie": 1})


def test_judges_of_one_pair_meet_in_the_same_interactions():
    def chat(*texts):
        return [{"role": ("user", "assistant")[n % 2], "content": t} for n, t in enumerate(texts)]

    row = {"question_id": 81, "model_a": "x", "model_b": "y", "winner": "model_a", "turn": 1,
           "conversation_a": chat("q", "a", "more", "a2"), "judge": "expert_1",
           "conversation_b": chat("q", "b", "more", "b2")}  # fmt: skip
    rows = [row, row | {"judge": "expert_2", "winner": "tie"}, row | {"turn": 2}]
    events = convert("lmsys_arena", *rows)
    assert sorted(set(answers(events).values())) == ["a", "a2", "b", "b2"]
    first, second, third = [e for e in events if e["type"] == "feedback"]
    assert {first["value"]["winner"], first["value"]["loser"]} == {
        second["value"]["winner"], second["value"]["loser"]}  # fmt: skip
    assert [e["actor"] for e in (first, second)] == [
        {"kind": "reviewer", "id": "expert_1"}, {"kind": "reviewer", "id": "expert_2"}]  # fmt: skip
    assert third["metadata"] == {"n_answers": 2}


def test_trees_are_the_same_whole_and_message_by_message():
    split = formats()["oasst"].split
    tree = formats()["oasst"].examples[-1]
    whole = convert("oasst", *split(tree))
    assert len(answers(whole)) == 2
    (value,) = preferences(whole)
    assert answers(whole)[value["winner"]] == "Lake Constance."
    with pytest.raises(UnfitError, match="no_parent"):
        convert("oasst", *list(split(tree))[1:])


@pytest.mark.parametrize(
    ("row", "winner"),
    [
        ({"response_0": "x", "response_1": "y", "better_response_id": 1}, "y"),
        ({"response_0": "x", "response_1": "y", "label": 0}, "x"),
        ({"output_1": "x", "output_2": "y", "preference": 1}, "x"),
        ({"output_1": "x", "output_2": "y", "preference": "2"}, "y"),
        ({"output_1": "x", "output_2": "y", "preference": 1.5}, None),
        ({"answer1": "x", "answer2": "y", "winner": "answer2"}, "y"),
        ({"answer_a": "x", "answer_b": "y", "winner": "model_b"}, "y"),
        ({"model_a_response": "1", "response_a": "x", "response_b": "y", "vote": "A"}, "x"),
        ({"answer_0": "x", "answer_1": "y", "score_0": -1, "score_1": 1}, "y"),
        ({"summaries": [{"text": "x"}, {"text": "y"}], "choice": 0}, "x"),
        ({"completion_a": "x", "completion_b": "y", "label": "tie"}, None),
    ],
)
def test_pairwise_judgements_of_anybody(row, winner):
    row = {"question": "q"} | row
    assert formats()["pairwise"].recognise(row) == 0.7
    events = convert("pairwise", row)
    (value,) = preferences(events)
    assert (value["outcome"] == "tie") == (winner is None)
    if winner:
        assert answers(events)[value["winner"]] == winner


def test_a_number_that_could_mean_either_is_refused():
    with pytest.raises(UnfitError, match="bad_verdict"):
        convert("pairwise", {"prompt": "q", "answer_a": "x", "answer_b": "y", "label": 1})
