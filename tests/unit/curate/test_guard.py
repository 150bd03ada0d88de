"""Planted leaks of every kind are found, and found by this guard alone."""

import pickle

import numpy as np
import pyarrow as pa
import pytest

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.config.golden import EncoderConfig, LeakConfig
from tuneloop.curate.leak import KINDS, Guard, held_statuses
from tuneloop.curate.settle import detail, refuse_marked, settle
from tuneloop.errors import LeakError
from tuneloop.runtime.encoder import find_encoder

pytest.importorskip("scipy")

ASKED = "How can I change the delivery address of an order that I placed this morning?"
REFERENCE = (
    "Open the order in your account, choose delivery, then enter the new address; this works "
    "until the parcel has been handed to the courier, which is usually at four in the afternoon."
)
GOLDEN = [
    GoldenPrompt(
        id="g1", messages=[{"role": "user", "content": ASKED}], reference=REFERENCE,
        source={"interaction_ids": ["seen-1"]},
    ),
    GoldenPrompt(id="g2", messages=[{"role": "user", "content": "Do you sell blue vases?"}]),
]  # fmt: skip
HONEST = [f"My lamp number {i} arrived broken and I want my money back." for i in range(97)]


def check(guard, question, *, turns=None, answer=None, id="x"):
    found = guard.check(
        pa.array([question]),
        pa.array([turns or []], pa.list_(pa.string())),
        [pa.array([answer], pa.string())],
        pa.array([id]),
    )
    found.fill(guard.check_meaning(pa.array([question])))
    return KINDS[found.kind[0]], int(found.index[0])


@pytest.fixture(scope="module")
def encoder():
    found = find_encoder(EncoderConfig(threads=1))
    if found is None:
        pytest.skip("all-MiniLM-L6-v2 is not installed")
    return found


PLANTED = {
    "exact": {"question": ASKED.upper() + "!!"},
    "near": {"question": ASKED + " Thanks."},
    "contained": {
        "question": f"Hello, my name is Ann and I have two cats. {ASKED} My number is 4."
    },
    "reference": {"question": "Something else entirely?", "answer": "Sure. " + REFERENCE},
    "source": {"question": "Something else entirely?", "id": "seen-1"},
}


@pytest.mark.parametrize("kind", PLANTED)
def test_a_planted_leak_is_found(kind):
    assert check(Guard(GOLDEN, LeakConfig()), **PLANTED[kind]) == (kind, 0)


@pytest.mark.parametrize("kind", PLANTED)
def test_with_the_guard_off_nothing_is_found(kind):
    assert check(Guard(GOLDEN, LeakConfig(enabled=False)), **PLANTED[kind]) == ("", -1)


@pytest.mark.parametrize("kind", ["exact", "near", "contained"])
def test_a_leak_hides_in_no_earlier_turn(kind):
    turns = ["Good morning", PLANTED[kind]["question"], "Never mind."]
    found = check(Guard(GOLDEN, LeakConfig()), "And do you have lamps?", turns=turns)
    assert found == (kind, 0)


PARAPHRASE = "Earlier today I placed an order. Can its delivery address still be changed?"


def test_a_planted_paraphrase_is_found_by_meaning_alone(encoder):
    assert check(Guard(GOLDEN, LeakConfig(), encoder), PARAPHRASE) == ("semantic", 0)
    assert check(Guard(GOLDEN, LeakConfig()), PARAPHRASE) == ("", -1)
    for off in (LeakConfig(semantic="off"), LeakConfig(enabled=False)):
        assert check(Guard(GOLDEN, off, encoder), PARAPHRASE) == ("", -1)


@pytest.mark.parametrize(
    ("kind", "off"),
    [
        ("near", {"near_threshold": 1.0, "contained_threshold": 1.0}),
        ("contained", {"contained_threshold": 1.0, "near_threshold": 1.0}),
        ("reference", {"references": False}),
    ],
)
def test_what_is_switched_off_finds_nothing(kind, off):
    planted = PLANTED[kind]
    if kind == "contained":
        planted = {"question": planted["question"].replace("an order", "any order")}
    if kind == "near":
        planted = {"question": ASKED.replace("How can", "How could")}
    assert check(Guard(GOLDEN, LeakConfig(**off)), **planted)[0] == ""


def test_a_different_question_is_no_leak(encoder):
    guard = Guard(GOLDEN, LeakConfig(), encoder)
    assert {check(guard, text)[0] for text in HONEST[:3]} == {""}


def run(rows, config=None, golden=GOLDEN, answers=None):
    guard = Guard(golden, config or LeakConfig())
    found = guard.check(pa.array(rows), answers=[pa.array(answers)] if answers else [])
    ids = pa.array([f"i{n}" for n in range(len(rows))])
    hashes = np.array([hash(row) & 0xFFFFFFFF for row in rows], dtype=np.uint64)
    return guard, found, settle(guard, found, hashes, ids)


def test_leaks_are_removed_counted_and_listed():
    guard, found, report = run([*HONEST, ASKED, ASKED + " Thanks.", "more text " + ASKED])
    assert np.flatnonzero(report.drop).tolist() == [97, 98, 99]
    assert report.summary["by_kind"]["exact"] == 1
    assert report.summary["by_kind"]["near"] == 2
    assert detail(guard, found, 97) == "exact:g1:1.00"


def test_the_run_stops_above_the_configured_share():
    rows = [*HONEST, *[ASKED] * 3]
    assert run(rows, LeakConfig(max_share=0.03))[2].drop.sum() == 3
    with pytest.raises(LeakError, match=r"3 interactions \(3\.0%\)[^!]*g1 ↔ i97 \(exact"):
        run(rows, LeakConfig(max_share=0.029))
    with pytest.raises(LeakError):
        run(rows, LeakConfig(on_leak="fail"))


def test_the_source_of_a_golden_prompt_is_kept_out_and_stops_nothing():
    guard = Guard(GOLDEN, LeakConfig(max_share=0))
    ids = pa.array(["seen-1", "other"])
    found = guard.check(pa.array(HONEST[:2]), ids=ids)
    report = settle(guard, found, np.arange(2, dtype=np.uint64), ids)
    assert report.drop.tolist() == [True, False]
    assert report.summary["share"] == 0


def test_a_reply_given_to_many_questions_gives_no_prompt_away():
    answers = [None] * 97 + [REFERENCE] * 2
    questions = [*HONEST, *[f"Question {i} about this and that?" for i in range(2)]]
    _, _, report = run(questions, answers=answers, config=LeakConfig(max_share=1))
    assert not report.drop.any()
    assert report.summary["n_canned_references"] == 1
    _, _, report = run(questions[:-1], answers=answers[:-1], config=LeakConfig(max_share=1))
    assert report.drop.sum() == 1


def test_a_reference_that_two_prompts_share_tells_nothing():
    shared = [p.model_copy(update={"reference": REFERENCE}) for p in GOLDEN]
    assert check(Guard(shared, LeakConfig()), **PLANTED["reference"])[0] == ""


def test_a_row_marked_as_golden_stops_the_run():
    tags = pa.array([[], ["other"], ["x", "golden"], None], pa.list_(pa.string()))
    with pytest.raises(LeakError, match=r"1 interactions are tagged 'golden'.*: c"):
        refuse_marked(pa.array(["a", "b", "c", "d"]), tags)
    refuse_marked(pa.array(["a", "b"]), tags[:2])


class Near:
    """Stands for an encoder: a text's number is its distance from the golden prompt."""

    def encode(self, texts):
        angle = np.array([float(t.split()[1]) if t.startswith("at ") else 0.0 for t in texts])
        return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def settle_meanings(golden_angles, **config):
    """Return the report over 1,000 rows of meanings from 0 to 0.5 away from the first prompt."""
    golden = [
        GoldenPrompt(id=f"g{i}", messages=[{"role": "user", "content": f"at {angle}"}])
        for i, angle in enumerate(golden_angles)
    ]
    rows = pa.array([f"at {i / 2_000}" for i in range(1_000)])
    guard = Guard(golden, LeakConfig(semantic_threshold=0.8, **config), Near())
    return settle(guard, guard.check_meaning(rows), np.arange(1_000, dtype=np.uint64), rows)


@pytest.mark.parametrize(("share", "gone"), [(0.05, 50), (0.001, 20), (1.0, 1_000)])
def test_in_a_narrow_domain_the_nearest_go(share, gone):
    report = settle_meanings([0, -0.1], semantic_max_share=share, max_share=gone // 1_000)
    assert gone <= report.drop.sum() <= gone + 20  # equal cosines go together
    assert report.drop[0]
    assert report.summary["semantic"]["n_above_threshold"] == 1_000
    assert report.summary["semantic"]["narrow_domain"] is (gone < 1_000)


def test_elsewhere_all_go_and_too_many_stop_the_run():
    assert settle_meanings([0, 2], max_share=1).drop.all()
    with pytest.raises(LeakError, match="1000 interactions"):
        settle_meanings([0, 2])


def test_candidates_are_held_out_while_they_wait():
    assert held_statuses(LeakConfig()) == ("active", "candidate")
    assert held_statuses(LeakConfig(hold_out_candidates=False)) == ("active",)


def test_a_guard_survives_pickling():
    guard = pickle.loads(pickle.dumps(Guard(GOLDEN, LeakConfig())))
    assert check(guard, **PLANTED["near"]) == ("near", 0)
