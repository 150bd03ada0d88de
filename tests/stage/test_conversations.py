"""Conversations compared as wholes, from a file of HH-RLHF's kind to training rows."""

import json

import pyarrow.parquet as pq
import pytest
from kept import keep

from tuneloop.artefacts.stage import CuratedSet, GoldenSet, LakeVersion, StageContext
from tuneloop.artefacts.store import Store
from tuneloop.build.stage import build
from tuneloop.config.curate import CurateConfig
from tuneloop.config.data import LakeConfig
from tuneloop.config.sets import BuildConfig
from tuneloop.curate.stage import curate
from tuneloop.lake.stage import take_in
from tuneloop.runtime.progress import SilentProgress

pytest.importorskip("daft")
PLAIN = {"redact": {"engine": "patterns"}, "leak": {"semantic": "off"},
         "split": {"validation_fraction": 0.0}}  # fmt: skip


def chat(*turns):
    said = zip(["Human", "Assistant"] * len(turns), turns, strict=False)
    return "".join(f"\n\n{who}: {text}" for who, text in said)


LAST = (
    ["Where is the library?", "By the river.", "When does it open today?"],
    ["It opens at nine in the morning."],
    ["I could not tell you that."],
)
EARLIER = (
    ["Which apples are best for a pie?"],
    [
        "Sour ones, such as Boskoop.",
        "And for juice?",
        "Sweet and sour mixed.",
        "Thanks",
        "Welcome.",
    ],
    ["Any.", "Really?", "Yes, any apple is fine."],
)


@pytest.fixture(scope="module")
def curated(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wholes")
    store = Store(str(folder / "store"))
    lines = [
        json.dumps({"chosen": chat(*prompt, *good), "rejected": chat(*prompt, *bad)})
        for prompt, good, bad in (LAST, EARLIER)
    ]
    (folder / "hh.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    golden = {"id": "g", "messages": [{"role": "user", "content": "who painted this ceiling"}]}
    (folder / "golden.jsonl").write_text(json.dumps(golden) + "\n", "utf-8")

    context = StageContext(work=folder / "w", seed=1, progress=SilentProgress())
    events = LakeConfig(events=[str(folder / "hh.jsonl")])
    taken = take_in(events, uri=str(folder / "lake"), context=context)
    lake = keep(store, "lake", LakeVersion, taken.files, dict(taken.details))
    guard = keep(store, "golden", GoldenSet, {"golden.jsonl": folder / "golden.jsonl"})
    out = curate(lake, guard, CurateConfig.model_validate(PLAIN), context)
    return keep(store, "curate", CuratedSet, out.files)


def built(curated, folder, **rule):
    config = BuildConfig.model_validate({"rules": {"preference": rule}})
    out = build(curated, config, StageContext(work=folder, seed=1, progress=SilentProgress()))
    rows = pq.read_table(out.files["preference_train.parquet"]).to_pylist()
    return rows, json.loads(out.files["card.json"].read_text()), out.files["card.md"].read_text()


def said(messages):
    return [message["content"] for message in messages]


def test_the_pair_is_where_conversations_part_and_weighs_its_share(curated, tmp_path):
    rows, card, page = built(curated, tmp_path)
    by_prompt = {tuple(said(row["prompt"])): row for row in rows}
    assert by_prompt.keys() == {tuple(LAST[0]), tuple(EARLIER[0])}
    last, earlier = by_prompt[tuple(LAST[0])], by_prompt[tuple(EARLIER[0])]
    assert [m["role"] for m in last["prompt"]] == ["user", "assistant", "user"]
    assert (said(last["chosen"]), said(last["rejected"])) == LAST[1:]
    assert (said(earlier["chosen"]), said(earlier["rejected"])) == (EARLIER[1][:1], EARLIER[2][:1])
    assert earlier["weight"] == pytest.approx(last["weight"] / 3, abs=1e-5)
    assert card["whole_conversations"] == {"answers_left_out": 2, "compared": 1}
    assert "**Compared as whole conversations**: 1" in page


@pytest.mark.parametrize(("whole", "n_rows"), [("full", 2), ("drop", 1)])
def test_a_rule_may_take_such_pairs_in_full_or_not_at_all(curated, tmp_path, whole, n_rows):
    rows, _, _ = built(curated, tmp_path, whole=whole)
    assert len(rows) == n_rows
    assert len({row["weight"] for row in rows}) == 1
