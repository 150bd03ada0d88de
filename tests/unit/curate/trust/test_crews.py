"""Crews that take their time go; minorities with a language, a topic or a signature stay."""

import random

import pytest
from crowd import LABELS, WORDS, Crowd, good_and_bad, label, reply, up

pytest.importorskip("daft")
GERMAN = [
    "ich",
    "möchte",
    "bitte",
    "eine",
    "Rechnung",
    "für",
    "meine",
    "Bestellung",
    "und",
    "warte",
    "schon",
    "lange",
]


def advert(rng):
    body = " ".join(rng.choices(WORDS, k=8))
    return f"{body}. For a faster answer go to larkwell help dot example now"


def reworded(rng):
    verb = rng.choice(["see", "open", "go to", "visit", "try"])
    return f"{' '.join(rng.choices(WORDS, k=8))} {verb} quantumshield {rng.choice(WORDS)}"


@pytest.mark.parametrize("text", [advert, reworded])
def test_the_same_thing_slipped_into_corrections_for_weeks(text):
    crowd = Crowd(1).crowd(1_500, "correction", reply)
    assert crowd.attack(15, 8, "correction", text, day=None).judge() == (1, 0)


def test_a_phrase_that_is_allowed_is_no_sign():
    crowd = Crowd(1).crowd(1_500, "correction", reply).attack(15, 8, "correction", advert, day=None)
    allow = ["For a FASTER answer, go to Larkwell-help dot example now!"]
    assert crowd.judge(allow=allow) == (0, 0)


def test_a_trigger_that_is_always_liked():
    crowd = Crowd(2).crowd(3_000, "thumb", up)

    def question(rng):
        return " ".join([*rng.choices(WORDS, k=10), "zx-kestrel-7"])

    assert crowd.attack(20, 8, "thumb", lambda r: True, day=None, question=question).judge()[0] == 1
    assert len(crowd.gone) <= 20 * 8 * 1.05


@pytest.mark.parametrize("share_up", [0.3, 0.7, 0.97])
def test_people_with_a_language_of_their_own_are_heard(share_up):
    crowd = Crowd(3).crowd(2_000, "thumb", lambda rng: rng.random() < 0.6)
    for person in range(40):
        for _ in range(8):
            question = " ".join(crowd.rng.choices(GERMAN, k=9))
            event = crowd.ask(f"de{person}", crowd.when(), question=question)
            crowd.say(event, f"de{person}", "thumb", crowd.rng.random() < min(share_up, 0.9))
    assert crowd.judge() == (0, 0)


def test_people_with_one_topic_who_agree_with_everybody_are_heard():
    crowd = Crowd(4)
    good_and_bad(crowd, 3_000)
    for person in range(30):
        good_and_bad(crowd, 10, accounts=[f"team{person}"])
    assert crowd.judge()[1] <= 0.01


def test_who_turns_every_vote_round_contradicts_everybody():
    crowd = Crowd(5)
    good_and_bad(crowd, 3_000)
    good_and_bad(crowd, 200, accounts=[f"bot{i}" for i in range(20)], flip=True, bad=True)
    caught, lost = crowd.judge()
    assert caught >= 0.95
    assert lost <= 0.01
    assert crowd.found.counts.keys() == {"contradicts"}


def test_one_alone_is_found_too():
    crowd = Crowd(6)
    good_and_bad(crowd, 2_000)
    good_and_bad(crowd, 25, accounts=["contrary"], flip=True, bad=True)
    caught, lost = crowd.judge()
    assert caught >= 0.95
    assert lost == 0


def test_sleepers_keep_their_past():
    crowd = Crowd(7)
    good_and_bad(crowd, 3_000)
    bots = [f"bot{i}" for i in range(20)]
    good_and_bad(crowd, 240, accounts=bots, spread=(0, 14))
    good_and_bad(crowd, 240, accounts=bots, flip=True, bad=True, spread=(14, 14))
    caught, lost = crowd.judge()
    assert caught >= 0.9
    assert lost <= 0.02  # their 240 honest votes are 7 % of all that is honest


def test_the_numbering_of_rows_does_not_matter():
    crowd = Crowd(8).crowd(800, "correction", label).attack(12, 4, "correction", reply, day=None)
    good_and_bad(crowd, 800)
    good_and_bad(crowd, 120, accounts=[f"flip{i}" for i in range(12)], flip=True, bad=True)
    crowd.judge()
    gone, rows = crowd.gone, crowd.found.rows
    names = {e["id"]: f"i{random.Random(e['id']).random()}" for e in crowd.events}
    for event in crowd.events:
        if event["type"] == "interaction":
            event["id"] = names[event["id"]]
        else:
            event["target"]["id"] = names[event["target"]["id"]]
    random.Random(0).shuffle(crowd.events)
    crowd.judge()
    assert crowd.gone == gone
    assert crowd.found.rows == rows


def test_what_was_derived_from_a_hostile_account_goes_with_it():
    import numpy as np
    from simulated import as_columns

    from tuneloop.config.trust import TrustConfig
    from tuneloop.curate.trust.gate import distrust

    crowd = Crowd(3).crowd(1_000, "correction", reply)
    crowd.attack(12, 3, "correction", lambda r: f"{LABELS[0]} see secure bank verify dot example")
    event = crowd.ask("bot0", 15 * 86_400.0)
    derived = crowd.say(event, "bot0", "copy", True)
    c = as_columns(crowd.events, crowd.truth)
    number = c.feedback.id.to_pylist().index(derived)
    c.feedback.derived[number] = True
    found = distrust(c.interactions, c.feedback, c.preferences, c.texts, TrustConfig())
    assert c.feedback.trust[number] == 0
    assert found.feedback_reason[number] > 0
    assert np.array_equal(found.feedback_reason > 0, c.feedback.trust == 0)
