"""Coordinated feedback within hours goes; an honest crowd, however alike its words, stays."""

import pytest
from crowd import DAY, LABELS, Crowd, label, phishing, reply, up

pytest.importorskip("daft")


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("regular", [True, False])
@pytest.mark.parametrize("value", [label, reply])
def test_an_honest_crowd_keeps_every_word(seed, regular, value):
    crowd = Crowd(seed, regular=regular).crowd(1_500, "correction", value)
    assert crowd.crowd(1_500, "thumb", up).judge() == (0, 0)


@pytest.mark.parametrize("regular", [True, False])
def test_an_incident_is_no_brigade(regular):
    """One day everybody asks the same, gets the same bad answer, and says so in the same word."""
    crowd = Crowd(1, regular=regular).crowd(1_000, "correction", label).crowd(1_000, "thumb", up)
    crowd.crowd(150, "correction", lambda rng: LABELS[0], spread=(10, 0.5))
    crowd.crowd(150, "thumb", lambda rng: False, spread=(10, 0.5))
    assert crowd.judge() == (0, 0)


def test_a_new_house_style_is_no_brigade():
    crowd = Crowd(2).crowd(1_000, "correction", label)
    crowd.crowd(80, "correction", reply, spread=(27, 1))
    assert crowd.judge() == (0, 0)


def test_a_sentence_slipped_into_many_corrections():
    crowd = Crowd(3).crowd(1_000, "correction", reply).attack(12, 3, "correction", phishing)
    assert crowd.judge() == (1, 0)
    (finding,) = [f for f in crowd.found.rows if f["kind"] == "phrase"]
    assert (finding["n_accounts"], finding["n_events"]) == (12, 36)
    assert "secure bank verify" in finding["example"]
    assert finding["first"] < finding["last"]
    assert crowd.found.counts == {"brigade": 36}


def test_the_sentence_is_found_among_people_who_come_once():
    crowd = Crowd(4, regular=False).crowd(1_000, "correction", reply)
    assert crowd.attack(12, 2, "correction", phishing).judge() == (1, 0)


def test_those_with_a_past_are_found_by_their_words():
    crowd = Crowd(5).crowd(1_000, "correction", reply)
    for bot in range(12):
        for day in (2, 9, 25):
            crowd.say(crowd.ask(f"bot{bot}", day * DAY), f"bot{bot}", "thumb", up(crowd.rng))
    caught, lost = crowd.attack(12, 3, "correction", phishing).judge()
    assert caught == 1
    assert lost <= 36 / 1_036  # at most the past of those who wrote it


def test_a_wrong_label_pushed_by_new_accounts():
    crowd = Crowd(6).crowd(2_000, "correction", label)
    crowd.attack(25, 3, "correction", lambda rng: LABELS[3])
    assert crowd.judge() == (1, 0)  # who honestly chose that label on that day is heard


@pytest.mark.parametrize("way", [True, False])
def test_thumbs_on_one_answer(way):
    crowd = Crowd(7).crowd(2_000, "thumb", up)
    crowd.attack(20, 2, "thumb", lambda rng: way, answer="a very particular answer")
    assert crowd.judge() == (1, 0)


def test_a_wave_of_thumbs_on_anything():
    crowd = Crowd(8).crowd(2_000, "thumb", up).attack(40, 4, "thumb", lambda rng: False)
    assert crowd.judge() == (1, 0)


def test_fewer_accounts_than_configured_are_left_alone():
    crowd = Crowd(9).crowd(1_000, "correction", reply).attack(4, 5, "correction", phishing)
    assert crowd.judge()[0] == 0
    assert crowd.judge(min_accounts=3) == (1, 0)


def test_reviewers_are_not_watched():
    crowd = Crowd(10).crowd(1_000, "correction", reply).attack(12, 3, "correction", phishing)
    bad = {row["id"] for row in crowd.truth if row["honesty"] == "adversarial"}
    for event in crowd.events:
        if event["id"] in bad:
            event["actor"]["kind"] = "reviewer"
    assert crowd.judge() == (0, 0)


def test_one_account_cannot_flood():
    crowd = Crowd(11).crowd(50, "thumb", up)
    said = [
        crowd.say(crowd.ask("flood", n * 3_600.0), "flood", "thumb", n % 2 == 0) for n in range(30)
    ]
    crowd.judge(max_events_per_user=10)
    assert crowd.found.counts == {"account_cap": 20}
    assert crowd.gone == set(said[10:])  # the first ones stay


def test_who_always_votes_one_way_says_nothing():
    crowd = Crowd(13).crowd(1_000, "thumb", up)
    asked = [event for event in crowd.events if event["type"] == "interaction"]
    for _ in range(60):
        crowd.say(crowd.rng.choice(asked), "grudge", "thumb", False, bad=True, delay=90)
    assert crowd.judge() == (1, 0)
    assert crowd.found.counts == {"one_sided": 60}


def test_a_happy_crowd_may_all_be_happy():
    crowd = Crowd(14, n_accounts=10).crowd(600, "thumb", lambda rng: True)
    assert crowd.judge() == (0, 0)


def test_switched_off_it_looks_at_nothing():
    crowd = Crowd(12).crowd(300, "correction", reply).attack(12, 3, "correction", phishing)
    assert crowd.judge(enabled=False) == (0, 0)


def test_nothing_to_look_at_is_no_mistake():
    assert Crowd().judge() == (0, 0)
    assert Crowd().crowd(1, "comment", reply).judge() == (0, 0)
