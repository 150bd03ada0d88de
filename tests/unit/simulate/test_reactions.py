import random
from collections import Counter

import pytest

from tuneloop.artefacts.events import Feedback
from tuneloop.config.simulate import PeopleConfig
from tuneloop.simulate.helpdesk import HelpDesk
from tuneloop.simulate.people import PERSONAS, Person, make_people
from tuneloop.simulate.personal_data import personal_data
from tuneloop.simulate.reactions import react


@pytest.fixture(scope="module")
def desk():
    return HelpDesk(n_golden=280, golden_seed=0)


def person(persona, patience=0.8):
    return Person("p-1", persona, "plain", patience, 12.0, consent=True)


def reactions(desk, persona, answer, n=300, **config):
    rng = random.Random(0)
    ask = desk.asks("plain", rng)
    text = {"right": desk.right, "wrong": desk.wrong, "free": desk.free_text}[answer](ask, rng)
    people = PeopleConfig(**config)
    return ask, [
        react(person(persona), ask, text, scenario=desk, config=people, rng=rng) for _ in range(n)
    ]


def test_who_corrects_turns_wrong_answers_into_right_ones(desk):
    ask, found = reactions(desk, "corrects", "free", noise_fraction=0.0)
    signals = [signal for reaction in found for signal in reaction.signals]
    assert {signal.signal for signal in signals} == {"correction"}
    assert len(signals) > 0.9 * len(found)
    assert all(desk.score(ask, signal.value) > 0.99 for signal in signals)


def test_mistaken_corrections_are_marked(desk):
    ask, found = reactions(desk, "corrects", "wrong", noise_fraction=0.3)
    signals = [signal for reaction in found for signal in reaction.signals]
    for signal in signals:
        assert (desk.score(ask, signal.value) > 0.99) == (signal.honesty == "honest")
    assert 0.2 < sum(s.honesty == "noise" for s in signals) / len(signals) < 0.4


def test_who_corrects_accepts_a_right_answer(desk):
    _, found = reactions(desk, "corrects", "right", noise_fraction=0.0)
    signals = [signal for reaction in found for signal in reaction.signals]
    assert {signal.signal for signal in signals} <= {"thumb", "copy"}
    assert all(signal.value is True for signal in signals)


@pytest.mark.parametrize(("answer", "value"), [("right", True), ("free", False)])
def test_thumbs_follow_the_truth_but_for_mistakes(desk, answer, value):
    _, found = reactions(desk, "thumbs", answer, noise_fraction=0.1, n=600)
    thumbs = [s for r in found for s in r.signals if s.signal == "thumb"]
    for thumb in thumbs:
        assert (thumb.value is value) == (thumb.honesty == "honest")
    assert {thumb.honesty for thumb in thumbs} == {"honest", "noise"}


def test_the_discontent_answer_more_often_and_asking_helps(desk):
    def rate(found, asked):
        chosen = [r for r in found if r.asked == asked]
        return sum(any(s.signal == "thumb" for s in r.signals) for r in chosen) / len(chosen)

    _, happy = reactions(desk, "thumbs", "right", n=1500)
    _, angry = reactions(desk, "thumbs", "free", n=1500)
    assert rate(angry, asked=True) > rate(happy, asked=True) > rate(happy, asked=False)


def test_stars_rise_with_the_score(desk):
    def mean(answer):
        _, found = reactions(desk, "stars", answer, noise_fraction=0.0)
        stars = [s.value for r in found for s in r.signals if s.signal == "stars"]
        assert all(1 <= star <= 5 for star in stars)
        return sum(stars) / len(stars)

    assert mean("free") < mean("wrong") < mean("right")


def test_the_silent_only_behave(desk):
    _, found = reactions(desk, "behaves", "free")
    signals = {signal.signal for reaction in found for signal in reaction.signals}
    assert signals <= {"dwell", "abandonment", "copy"}
    assert {reaction.next for reaction in found} == {None, "rephrase", "regenerate"}


def test_no_answer_means_people_leave(desk):
    ask = desk.asks("plain", random.Random(0))
    reaction = react(
        person("corrects"), ask, None, scenario=desk, config=PeopleConfig(), rng=random.Random(0)
    )
    assert [signal.signal for signal in reaction.signals] == ["abandonment"]


@pytest.mark.parametrize("persona", PERSONAS)
def test_every_signal_has_a_value_the_schema_accepts(desk, persona):
    for answer in ("right", "wrong", "free"):
        for reaction in reactions(desk, persona, answer, noise_fraction=0.2)[1]:
            for signal in reaction.signals:
                Feedback(
                    id="f",
                    event_ts="2026-01-01T00:00:00Z",
                    target={"id": "i"},
                    signal=signal.signal,
                    value=signal.value,
                )
                assert signal.delay_s >= 0


def test_people_come_by_their_shares():
    config = PeopleConfig(corrects=3, thumbs=1, stars=0, comments=0, behaves=0)
    people = make_people(2000, config, random.Random(0))
    counts = Counter(person.persona for person in people)
    assert set(counts) == {"corrects", "thumbs"}
    assert counts["corrects"] / 2000 == pytest.approx(0.75, abs=0.04)
    assert len({person.key for person in people}) == 2000


def test_personal_data_stands_in_the_clause_and_belongs_to_nobody():
    kinds = set()
    for i in range(200):
        clause, found = personal_data(random.Random(i))
        for kind, value in found:
            kinds.add(kind)
            assert value in clause
            if kind == "email":
                assert ".example." in value or "@example." in value
            if kind == "card":
                digits = [int(c) for c in value if c.isdigit()][::-1]
                doubled = [sum(divmod(2 * d, 10)) for d in digits[1::2]]
                assert (sum(digits[::2]) + sum(doubled)) % 10 == 0
    assert kinds == {"email", "phone", "name", "card"}
