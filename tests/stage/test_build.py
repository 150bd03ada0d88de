"""The build stage: each rule makes its rows, and `datasets` reads them."""

import json
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tuneloop.artefacts.manifest import Manifest
from tuneloop.artefacts.stage import CuratedSet, SampledSet, StageContext
from tuneloop.artefacts.store import Store
from tuneloop.artefacts.tables import CURATED, MESSAGES, SIGNALS
from tuneloop.build.stage import build
from tuneloop.config.sets import BuildConfig
from tuneloop.errors import DataError

KINDS = ("sft", "preference", "kto")
FIELDS = [field.name for field in MESSAGES.value_type]
SAID = [field.name for field in SIGNALS.value_type]


class Quiet:
    def start(self, description, *, total=None): ...
    def advance(self, n=1): ...
    def done(self, note=""): ...
    def say(self, text): ...


def row(id, question="what now?", answer="wait", score=0.0, signal="copy", **more):
    signals = [{"feedback_id": f"f-{id}", "signal": signal, "value_json": "true", "actor": "user"}]
    return {
        "interaction_id": id,
        "split": "train",
        "prompt": [
            {"role": "system", "content": "You help."},
            {"role": "user", "content": question},
        ],
        "answer": answer,
        "correction": None,
        "score": float(score),
        "weight": 1.0,
        "signals": signals,
    } | more


def as_curated(rows):
    """Return rows as curation writes them, where they have all its columns; else as they are."""
    table = pa.Table.from_pylist(rows)
    return table.cast(CURATED) if table.schema.names == CURATED.names else table


def whole(id, **more):
    """Return a row with every column, in the shape that curation writes."""
    known = dict.fromkeys(CURATED.names) | row(id) | {"source": "native", "system": "m@1"} | more
    prompt = [dict.fromkeys(FIELDS) | message for message in known["prompt"]]
    signals = [dict.fromkeys(SAID) | signal for signal in known["signals"]]
    return {name: known[name] for name in CURATED.names} | {"prompt": prompt, "signals": signals}


def sampled(folder, store, rows):
    pq.write_table(pa.Table.from_pylist(rows), folder / "samples.parquet")
    draft = Manifest(kind="sample", key="k", digest="", files={}, started_at=datetime.now(UTC))
    kept = store.commit(draft, {"samples.parquet": folder / "samples.parquet"})
    return SampledSet(kept.manifest, store)


@pytest.fixture
def run(tmp_path):
    calls = iter(range(100))

    def go(rows, preferences=(), seed=1, samples=None, group=None, **config):
        folder = tmp_path / str(next(calls))
        folder.mkdir()
        files = {name: folder / name for name in ("curated.parquet", "preferences.parquet")}
        pq.write_table(as_curated(rows), files["curated.parquet"], row_group_size=group)
        keys = ("winner_id", "loser_id", "feedback_id", "outcome")
        stated = [dict(zip([*keys, "weight"], p, strict=False)) for p in preferences]
        columns = [(key, pa.string()) for key in keys]
        columns += [("weight", pa.float64())] if any("weight" in p for p in stated) else []
        table = pa.Table.from_pylist(stated, pa.schema(columns))
        pq.write_table(table, files["preferences.parquet"])
        store = Store(str(folder / "store"))
        draft = Manifest(kind="curate", key="k", digest="", files={}, started_at=datetime.now(UTC))
        curated = CuratedSet(store.commit(draft, files).manifest, store)
        context = StageContext(work=folder / "work", seed=seed, progress=Quiet())
        more = {"samples": sampled(folder, store, samples)} if samples else {}
        out = build(curated, BuildConfig.model_validate(config), context, **more)
        return Result(out)

    return go


class Result:
    def __init__(self, out):
        self.out = out
        self.sets = {
            name.removesuffix(".parquet"): pq.read_table(path).to_pylist()
            for name, path in out.files.items()
            if name.endswith(".parquet")
        }
        self.summary = json.loads(out.files["summary.json"].read_text())

    def pairs(self):
        return [(text(r["chosen"]), text(r["rejected"])) for r in self.sets["preference_train"]]

    def sft(self):
        return [text(r["completion"]) for r in self.sets["sft_train"]]

    def kto(self):
        return {text(r["completion"]): r["label"] for r in self.sets["kto_train"]}


def plain(messages):
    return [{name: value for name, value in m.items() if value is not None} for m in messages]


def text(messages):
    assert [m["role"] for m in messages] == ["assistant"]
    return messages[0]["content"]


def test_a_correction_teaches_twice(run):
    result = run([row("a", correction="do this", score=-1, signal="correction")])
    assert result.sft() == ["do this"]
    assert result.pairs() == [("do this", "wait")]
    assert result.kto() == {}
    (example,) = result.sets["sft_train"]
    assert plain(example["prompt"])[-1] == {"role": "user", "content": "what now?"}
    assert (example["interaction_id"], example["rule"]) == ("a", "correction")
    assert example["feedback_ids"] == ["f-a"]


def test_liked_answers_are_taught_and_unpaired_thumbs_kept(run):
    result = run(
        [
            row("up", "q1", "good", 1, "thumb"),
            row("down", "q2", "bad", -1, "thumb"),
            row("four", "q3", "fine", 0.5, "stars"),
            row("three", "q4", "meh", 0, "stars"),
            row("copied", "q5", "copied", 0.3),
        ]
    )
    assert sorted(result.sft()) == ["fine", "good"]
    assert result.kto() == {"good": True, "bad": False, "fine": True}
    assert result.summary["kto"]["by_rule"] == {"stars": 1, "thumb_down": 1, "thumb_up": 1}
    assert result.out.counts.dropped == {"no_rule": 2}


def test_contrasts_need_one_prompt_and_a_margin(run):
    answers = [
        row("a", "q", "best", 1, "thumb"),
        row("b", "q ", "worst", -1, "thumb"),  # spacing makes no other prompt
        row("c", "q", "middling", 0.6, "stars"),
        row("d", "another", "worst", -1, "thumb"),
    ]
    result = run(answers)
    assert set(result.pairs()) == {("best", "worst"), ("middling", "worst")}
    assert result.kto() == {"worst": False}
    assert run(answers, max_pairs_per_prompt=1).pairs() == [("best", "worst")]
    assert len(run(answers, rules={"contrast": {"min_margin": 0.3}}).pairs()) == 3
    (pair,) = (p for p in result.sets["preference_train"] if text(p["chosen"]) == "best")
    assert pair["interaction_ids"] == ["a", "b"]
    assert set(pair["feedback_ids"]) == {"f-a", "f-b"}


def test_stated_preferences(run):
    bad = [{"feedback_id": "p2", "signal": "preference", "actor": "user",
            "value_json": '{"loser":"d","outcome":"both_bad","winner":"c"}'}]  # fmt: skip
    result = run(
        [
            row("a", "q", "one"),
            row("b", "q", "two"),
            row("c", "r", "three", -1, signals=bad),
            row("d", "r", "four", -1, signals=bad),
            row("e", "other", "five"),
            row("f", "q", "one"),
        ],
        [
            ("b", "a", "p1", "better"),
            ("c", "d", "p2", "both_bad"),
            ("a", "b", "p3", "tie"),
            ("a", "e", "p4", "better"),
            ("a", "f", "p5", "better"),
            ("a", "gone", "p6", "better"),
        ],
    )
    assert result.pairs() == [("two", "one")]
    assert result.sets["preference_train"][0]["feedback_ids"] == ["p1"]
    assert result.kto() == {"three": False, "four": False}
    skipped = result.summary["skipped"]
    assert skipped["preference_prompts_differ"] == skipped["preference_same_answer"] == 1


def test_repetitions_collapse_and_the_better_evidenced_answer_wins(run):
    said = {"score": -1, "signal": "correction"}
    result = run(
        [
            row("a", "q", "x", correction="right", **said),
            row("b", "q", "y", correction="right", **said),
            row("c", "q", "x", correction="wrong", **said),
            row("d", "r", "liked", 1, "thumb"),
            row("e", "r", "z", correction="corrected", **said),
        ]
    )
    assert sorted(result.sft()) == ["corrected", "right"]  # a correction wins a tie
    (merged,) = (r for r in result.sets["sft_train"] if text(r["completion"]) == "right")
    assert merged["interaction_ids"] == ["a", "b"]
    assert result.summary["skipped"]["sft_contradicted"] == 2
    assert result.summary["skipped"]["sft_repeated"] == 1


def test_contradictory_pairs_cancel(run):
    rows = [row("a", "q", "one"), row("b", "q", "two"), row("s", "s", "taught", 1, "thumb")]
    both = [("a", "b", "p1", "better"), ("b", "a", "p2", "better")]
    assert run(rows, both).pairs() == []
    assert run(rows, [*both, ("b", "a", "p3", "better")]).pairs() == [("two", "one")]


def test_validation_stays_apart_and_caps_hold_for_training(run):
    rows = [
        row(f"{i:02}", f"q{i}", f"a{i}", 1, "thumb", split="train" if i % 5 else "validation")
        for i in range(50)
    ]
    result = run(rows, max_sft_rows=7)
    assert len(result.sets["sft_train"]) == 7
    assert len(result.sets["sft_validation"]) == 10
    assert result.summary["caps"] == {"sft": {"limit": 7, "before": 40}}
    again = run(rows, max_sft_rows=7)
    assert result.sets["sft_train"] == again.sets["sft_train"]
    other = run(rows, seed=2, max_sft_rows=7)
    assert result.sets["sft_train"] != other.sets["sft_train"]


def test_system_prompts_can_be_stripped(run):
    result = run([row("a", score=1, signal="thumb")], system_prompt="strip")
    (example,) = result.sets["sft_train"]
    assert plain(example["prompt"]) == [{"role": "user", "content": "what now?"}]


def test_nothing_to_teach_is_an_error(run):
    with pytest.raises(DataError, match="no example"):
        run([row("a")])


def test_datasets_reads_every_file_empty_ones_too(run):
    datasets = pytest.importorskip("datasets")
    result = run([row("a", score=1, signal="thumb")])
    columns = {"sft": {"completion"}, "preference": {"chosen", "rejected"},
               "kto": {"completion", "label"}}  # fmt: skip
    for kind in KINDS:
        for split in ("train", "validation"):
            path = str(result.out.files[f"{kind}_{split}.parquet"])
            n_rows = 1 if split == "train" and kind != "preference" else 0
            found = datasets.load_dataset(  # its cache holds no empty split
                "parquet", data_files=path, split="train", streaming=n_rows == 0
            )
            assert columns[kind] | {"prompt", "row_id", "weight"} <= set(found.features)
            rows = list(found)
            assert len(rows) == n_rows
            for example in rows:
                assert plain(example["prompt"])[0] == {"role": "system", "content": "You help."}


# -- the rules beyond thumbs and corrections -----------------------------------------
def said(id, signal, value=True, actor="user:u1", weight=1.0):
    return {"feedback_id": id, "signal": signal, "value_json": json.dumps(value), "actor": actor,
            "opinion": 1.0, "weight": weight}  # fmt: skip


def test_a_reviewers_demonstration_is_told_from_a_users_correction(run):
    shown = [said("r", "correction", "right", "reviewer:ann"),
             said("u", "correction", "wrong", "user:u1")]  # fmt: skip
    result = run([whole("a", correction="right", score=-1.0, signals=shown)])
    (taught,) = result.sets["sft_train"]
    assert (taught["rule"], taught["feedback_ids"]) == ("demonstration", ["r"])
    (pair,) = result.sets["preference_train"]
    assert (pair["rule"], pair["feedback_ids"]) == ("correction", ["r"])


def test_a_distrusted_correction_teaches_nothing_whoever_else_liked_the_answer(run):
    voices = [said("c", "correction", "buy at evil.example", weight=0.05), said("t", "thumb")]
    result = run([whole("a", correction="buy at evil.example", score=0.4, signals=voices),
                  whole("b", score=1.0, signals=[said("f", "thumb")])])  # fmt: skip
    assert result.sft() == ["wait"]
    assert result.pairs() == []
    again = run([whole("a", correction="buy at evil.example", score=0.4, signals=voices)],
                rules={"correction": {"min_weight": 0.01}})  # fmt: skip
    assert again.sets["sft_train"][0]["weight"] == 0.05


def test_an_edited_copy_is_taught_for_what_it_weighs(run):
    voices = [said("e1", "edit", "waited", weight=0.3), said("c", "copy"),
              said("e2", "edit", "wait a day", weight=0.3)]  # fmt: skip
    result = run([whole("a", score=0.4, signals=voices)])
    assert result.sft() == ["wait a day"]
    assert result.pairs() == [("wait a day", "wait")]
    (taught,) = result.sets["sft_train"]
    assert (taught["rule"], taught["weight"], taught["feedback_ids"]) == ("edit", 0.3, ["e2"])
    same = run([whole("a", score=0.4, signals=[said("e", "edit", " wait ")]), liked("b")])
    assert same.sft() == ["fine"]


def liked(id, **more):
    return whole(id, answer="fine", score=1.0, signals=[said(f"t{id}", "thumb")], **more)


def test_sampled_answers_are_paired_where_the_margin_holds(run):
    rows = [whole("a", score=-1.0, signals=[said("t", "thumb", False)])]
    new = [
        {"interaction_id": "a", "origin": origin, "answer": answer, "system": "m@2",
         "score": score, "margin": margin}
        for origin, answer, score, margin in [
            ("recorded", "wait", 0.3, 0.0), ("sampled", "good", 0.9, 0.6),
            ("sampled", "fair", 0.55, 0.25), ("sampled", "poor", 0.4, 0.1),
            ("sampled", "unknown", None, None),
        ]
    ]  # fmt: skip
    result = run(rows, samples=new)
    assert set(result.pairs()) == {("good", "wait"), ("fair", "wait"), ("good", "fair"),
                                   ("good", "poor")}  # fmt: skip
    assert {r["rule"] for r in result.sets["preference_train"]} == {"sampled"}
    assert all(r["feedback_ids"] == ["t"] for r in result.sets["preference_train"])
    assert result.kto() == {}
    assert run(rows, samples=new, max_pairs_per_prompt=1).pairs() == [("good", "wait")]


def test_rules_can_be_added_and_switched_off(run):
    rows = [whole("a", score=0.4, signals=[said("c", "copy")]),
            whole("b", answer="dear", score=0.4, signals=[said("d", "dwell", 9)])]  # fmt: skip
    copied = {"take": "answer", "makes": ["sft"], "signals": ["copy"], "min_score": 0.3}
    result = run(rows, rules={"copied": copied})
    assert [(r["rule"], text(r["completion"])) for r in result.sets["sft_train"]] == [
        ("copied", "wait")
    ]
    both = run([*rows, liked("c")], rules={"copied": copied, "liked": {"enabled": False}})
    assert both.sft() == ["wait"]
    with pytest.raises(ValueError, match="take contrast makes preference"):
        run(rows, rules={"odd": {"take": "contrast", "makes": ["kto"]}})


def test_a_comparison_few_agree_on_makes_no_pair(run):
    other = [dict.fromkeys(FIELDS) | {"role": "user", "content": "another"}]
    rows = [whole("a", answer="one"), whole("b", answer="two"), liked("c", prompt=other)]
    (pair,) = run(rows, [("a", "b", "p1", "better", 0.6)]).sets["preference_train"]
    assert (text(pair["chosen"]), pair["weight"]) == ("one", 0.6)
    sure = {"preference": {"min_weight": 0.7}}
    assert run(rows, [("a", "b", "p1", "better", 0.6)], rules=sure).pairs() == []
    assert run(rows, [("a", "b", "p1", "better", 0.05)]).pairs() == []


# -- conversations -------------------------------------------------------------------
CALLS = json.dumps([{"id": "c", "function": {"name": "find", "arguments": "{}"}}])
TALK = [
    {"role": "system", "content": "You help."},
    {"role": "user", "content": "x" * 300},
    {"role": "assistant", "tool_calls": CALLS},
    {"role": "tool", "content": "found", "tool_call_id": "c"},
    {"role": "assistant", "content": "here"},
    {"role": "user", "content": "and now?"},
]


def test_tools_calls_and_reasoning_reach_the_rows(run):
    row = liked("a", prompt=TALK, tools='[{"type":"function"}]', answer_tool_calls=CALLS,
                answer_reasoning="they want more")  # fmt: skip
    kept = run([row], reasoning="mask", loss_on="all").sets["sft_train"][0]
    assert plain(kept["prompt"]) == TALK
    (answer,) = plain(kept["completion"])
    assert answer == {"role": "assistant", "content": "fine", "tool_calls": CALLS,
                      "reasoning": "they want more"}  # fmt: skip
    assert (kept["tools"], kept["reasoning"], kept["loss_on"]) == (row["tools"], "mask", "all")
    (bare,) = plain(run([row]).sets["sft_train"][0]["completion"])
    assert "reasoning" not in bare


def test_a_long_conversation_loses_its_first_turns_and_no_answer_is_cut(run):
    row = liked("a", prompt=TALK)
    (cut,) = run([row], max_prompt_tokens=30).sets["sft_train"]
    assert plain(cut["prompt"]) == [TALK[0], TALK[-1]]
    result = run([row, liked("b", prompt=TALK[:2])], max_prompt_tokens=30)
    assert result.out.counts.dropped == {"prompt_too_long": 1, "no_rule": 0}
    result = run([row, liked("c", prompt=TALK[-1:]) | {"answer": "y" * 99}], max_answer_tokens=20)
    assert result.sft() == ["fine"]
    assert result.summary["skipped"]["answer_empty_or_too_long"] == 2


def test_an_answer_of_calls_alone_is_an_answer(run):
    row = liked("a", answer_tool_calls=CALLS) | {"answer": ""}
    result = run([row, liked("b") | {"answer": " "}])
    assert result.sft() == [""]
    assert result.sets["sft_train"][0]["completion"][0]["tool_calls"] == CALLS


# -- the whole set -------------------------------------------------------------------
def test_neither_row_groups_nor_what_lies_beside_changes_a_row(run):
    rows = [liked(f"{i:03}", question=None) for i in range(60)]
    rows = [r | {"prompt": [dict.fromkeys(FIELDS) | {"role": "user", "content": f"q{i // 2}"}],
                 "answer": f"a{i}"} for i, r in enumerate(rows)]  # fmt: skip
    one, many = run(rows), run(rows, group=7)
    for name, path in one.out.files.items():
        assert path.read_bytes() == many.out.files[name].read_bytes(), name
    half = {r["row_id"]: r for r in run(rows[:30]).sets["sft_train"]}
    assert half
    assert all(half[r["row_id"]] == r for r in one.sets["sft_train"] if r["row_id"] in half)
    assert {r["row_id"] for r in one.sets["sft_train"]} >= half.keys()


def test_the_card_says_what_is_in_the_set(run):
    rows = [liked("a", output_terms="no-training"), liked("b", segment="trial", subject_key="u"),
            liked("c", event_ts="2026-01-02T00:00:00+00:00", consent_basis="opt-in")]  # fmt: skip
    rows[2]["answer"] = "fine, too"
    result = run(rows)
    card = json.loads(result.out.files["card.json"].read_text())
    assert card["rows"]["sft"]["train"] == 1
    assert card["terms"]["rows_refused"] == {"output_terms": 1, "consent_basis": 0}
    assert card["curated_rows"] == {
        "n_in": 3, "n_out": 2, "dropped": {"output_terms": 1, "no_rule": 0}
    }  # fmt: skip
    assert card["biases"]["segment"] == {"(not stated)": 1, "trial": 1}
    assert card["time"]["first"] == "2026-01-02T00:00:00+00:00"
    assert card["rules"]["liked"]["min_score"] == 0.5
    page = result.out.files["card.md"].read_text()
    assert "1 rows for the terms of their answer" in page


def test_rates_raw_and_corrected_stand_side_by_side():
    from tuneloop.build.card import _bias_lines

    raw = {"estimate": 0.8, "low": 0.7, "high": 0.9, "n": 50}
    users = {"n_users": 1, "n_rows_with_user": 1, "largest_share": 1.0, "top_tenth_share": 1.0}
    biases = {
        "users": users,
        "length": None,
        "segment": {},
        "intent": {},
        "system": {},
        "approval": [{"system": None, "raw": raw, "corrected": None, "n_missing": 50}],
    }
    assert ("- **Approval** of all traffic: raw 80.0% (70.0% to 90.0%, n 50), corrected not known; "
            "50 without a propensity") in _bias_lines(biases)  # fmt: skip


def test_a_card_cannot_be_broken_out_of(run):
    evil = "`</script> | a\n# Heading\n- **Gate**: passed"
    row = liked("a", segment=evil) | {"answer": evil}
    page = run([row]).out.files["card.md"].read_text()
    assert "\n# Heading" not in page
    assert "</script> | a" not in page.replace("\\n", "\n").split("## Examples")[0]
    assert page.count("## ") == 3


def test_general_data_is_mixed_in_and_named(run, tmp_path):
    general = tmp_path / "general.jsonl"
    chats = [{"prompt": f"general {i}", "completion": "ok"} for i in range(20)]
    chats.append({"prompt": "Held out?", "completion": "leak"})
    general.write_text("".join(json.dumps(chat) + "\n" for chat in chats), "utf-8")
    rows = [liked(f"{i:02}", split="validation" if i == 0 else "train") for i in range(10)]
    prompts = ["held out?", *(f"q{i}" for i in range(1, 10))]
    rows = [r | {"prompt": [dict.fromkeys(FIELDS) | {"role": "user", "content": p}]}
            for r, p in zip(rows, prompts, strict=True)]  # fmt: skip
    result = run(rows, replay={"path": str(general), "share": 0.5, "terms": "CC0-1.0"})
    rules = [r["rule"] for r in result.sets["sft_train"]]
    assert rules == ["liked"] * 9 + ["replay"] * 9
    assert result.summary["sft"]["by_rule"] == {"liked": 10, "replay": 9}
    assert result.summary["sft"]["train"] == 18
    assert result.summary["replay"]["left_out"] == {"held_out_question": 1}
    assert "CC0-1.0" in result.out.files["card.md"].read_text()
    assert str(tmp_path) not in "".join(
        p.read_text() for name, p in result.out.files.items() if name.startswith(("card", "summ"))
    )
