"""Which pairs come first, and what the labels in force are worth."""

import pytest
from labelled import pairs

from tuneloop.artefacts.labels import Journal, put_plan
from tuneloop.artefacts.store import Store
from tuneloop.label.pairs import pairs_digest
from tuneloop.label.plan import first_shown, in_force, make_plan, still_to_label


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "store"))


def test_the_order_is_the_same_each_time_and_another_for_another_seed():
    assert make_plan(pairs(), seed=1) == make_plan(pairs()[::-1], seed=1)
    assert make_plan(pairs(), seed=1).order != make_plan(pairs(), seed=2).order


def test_labels_belong_to_the_answers_whoever_judged_them():
    assert pairs_digest(pairs()) == pairs_digest(pairs(share=lambda i: 0.9))
    assert pairs_digest(pairs()) != pairs_digest(pairs(41))


def test_undecided_pairs_come_sooner():
    made = pairs(400, share=lambda i: 0.5 if i < 100 else 1.0)
    first = [
        sum(int(item[1:]) < 100 for item in make_plan(made, seed=s).order[:100]) for s in range(10)
    ]
    assert sum(first) / 10 > 45  # a fair draw would have 25


def test_a_small_protected_slice_is_not_left_out():
    made = pairs(200, slices=lambda i: ["rare"] if i < 10 else [])
    plan = make_plan(made, ["rare"], seed=0)
    assert set(plan.strata) == {"rare", "the rest"}
    assert sum(int(item[1:]) < 10 for item in plan.order[:20]) >= 5


def test_chances_are_those_of_the_part_that_was_seen(store):
    plan = put_plan(store, make_plan(pairs(), seed=0))
    journal = Journal(store, plan.pairs)
    members = plan.strata["the rest"]
    for item in plan.order[:10]:
        journal.append(item, "candidate", person="Ada", first="champion")
    found = in_force(store, plan)
    by_item = {one.prompt_id: one.probability for one in found.labels}
    threshold = members[10].priority
    for one in members[:10]:
        assert by_item[one.item] == pytest.approx(min(1.0, one.size / threshold), rel=1e-6)
    for item in plan.order[10:]:
        journal.append(item, "tie", person="Ada", first="champion")
    assert {one.probability for one in in_force(store, plan).labels} == {1.0}


def test_a_skipped_pair_has_no_label_and_the_others_stand_for_it(store):
    plan = put_plan(store, make_plan(pairs(8), seed=0))
    journal = Journal(store, plan.pairs)
    for number, item in enumerate(plan.order):
        word = "skip" if number < 2 else "champion"
        journal.append(item, word, person="Ada", first="champion")
    found = in_force(store, plan)
    assert (len(found.labels), found.n_skipped) == (6, 2)
    assert {one.probability for one in found.labels} == {0.75}


def test_several_people_are_averaged_and_the_last_word_of_each_counts(store):
    plan = put_plan(store, make_plan(pairs(4), seed=0))
    journal, item = Journal(store, plan.pairs), plan.order[0]
    journal.append(item, "champion", person="Ada", first="champion")
    journal.append(item, "candidate", person=" ADA ", first="champion")
    journal.append(item, "tie", person="Bo", first="candidate")
    journal.append(plan.order[1], "tie", person="Bo", first="candidate")
    journal.append(plan.order[1], "undo", person="Bo", first="candidate")
    found = in_force(store, plan)
    assert [(one.prompt_id, one.human, one.n_people) for one in found.labels] == [(item, 0.75, 2)]
    assert found.n_people == 2


def test_a_stratum_without_labels_is_named(store):
    made = pairs(30, slices=lambda i: ["rare"] if i < 5 else [])
    plan = put_plan(store, make_plan(made, ["rare"], seed=0))
    journal = Journal(store, plan.pairs)
    for item in still_to_label(plan, (), "rare")[:3]:
        journal.append(item, "tie", person="Ada", first="champion")
    assert in_force(store, plan).uncovered == ["the rest"]


def test_the_plan_that_was_first_stays(store):
    first = put_plan(store, make_plan(pairs(), seed=0))
    assert put_plan(store, make_plan(pairs(), seed=9)) == first


def test_a_changed_record_stops_everything(store, tmp_path):
    from tuneloop.errors import DataError

    plan = put_plan(store, make_plan(pairs(4), seed=0))
    journal = Journal(store, plan.pairs)
    for item in plan.order[:3]:
        journal.append(item, "champion", person="Ada", first="champion")
    path = sorted((tmp_path / "store/labels").rglob("said/*.json"))[1]
    path.write_text(path.read_text().replace('"champion"', '"candidate"', 1))
    with pytest.raises(DataError, match="changed"):
        Journal(store, plan.pairs)


def test_two_who_label_at_once_lose_nothing(store):
    plan = put_plan(store, make_plan(pairs(6), seed=0))
    ada, bo = Journal(store, plan.pairs), Journal(store, plan.pairs)
    for item in plan.order[:3]:
        ada.append(item, "champion", person="Ada", first="champion")
        bo.append(item, "candidate", person="Bo", first="champion")
    assert len(Journal(store, plan.pairs).said) == 6


def test_who_is_shown_first_is_a_fair_coin():
    drawn = [first_shown(0, f"p{i}", "ada") for i in range(400)]
    assert 160 < drawn.count("champion") < 240
    assert drawn != [first_shown(0, f"p{i}", "bo") for i in range(400)]
