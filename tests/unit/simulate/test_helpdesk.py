import json
import random
import re

import pytest

from tuneloop.simulate.grammar import expand
from tuneloop.simulate.helpdesk import HelpDesk, lexicon
from tuneloop.simulate.nearness import NearIndex
from tuneloop.simulate.ticket import (
    LINK,
    PRIORITIES,
    SECRET_REQUEST,
    SIGN_OFF,
    STYLE,
    right_priority,
    score,
    ticket,
)
from tuneloop.simulate.voices import VOICES, draw_voice, speak


@pytest.fixture(scope="module")
def desk():
    return HelpDesk(n_golden=280, golden_seed=0)


@pytest.fixture(scope="module")
def asks():
    desk, rng = HelpDesk(n_golden=280, golden_seed=0), random.Random(5)
    return [desk.asks(draw_voice(rng), rng) for _ in range(3500)]


def test_the_wording_is_rich_enough():
    lex = lexicon()
    assert len(lex.intents) >= 12
    for intent in lex.intents:
        assert len(lex.traffic[intent]) >= 12
        assert len(lex.golden[intent]) >= 3
    names = [f.name for part in (lex.traffic, lex.golden) for fs in part.values() for f in fs]
    assert len(names) == len(set(names))


def test_every_wording_can_be_said_in_every_way():
    lex, rng = lexicon(), random.Random(0)
    for part in (lex.traffic, lex.golden):
        for family in (f for fs in part.values() for f in fs):
            said = {expand(family.text, lex.vocabulary, rng, {}) for _ in range(60)}
            assert len(said) >= 6, family.name
            assert not [s for s in said if re.search(r"[{}<>|]", s)], family.name


def test_messages_are_distinct_and_not_one_template(asks):
    assert len({ask.text for ask in asks}) == 3500
    starts = {" ".join(ask.text.lower().split()[:3]) for ask in asks}
    assert len(starts) > 800
    words = [len(ask.text.split()) for ask in asks]
    assert min(words) <= 5
    assert max(words) >= 35


def test_traffic_shares_no_family_and_no_near_text_with_the_golden_set(desk, asks):
    prompts = desk.golden().prompts
    assert not {p.family for p in prompts} & {ask.family for ask in asks}
    index = NearIndex([p.messages[-1]["content"] for p in prompts], threshold=0.7)
    assert sum(bool(index.near(ask.text)) for ask in asks) == 0


def test_protected_slices_are_large_enough_and_prompts_are_distinct(desk):
    golden = desk.golden()
    for name in golden.protected:
        assert sum(name in prompt.slices for prompt in golden.prompts) >= 30
    texts = [prompt.messages[-1]["content"] for prompt in golden.prompts]
    assert len(texts) == len(set(texts)) >= 200


def test_the_golden_set_does_not_depend_on_what_was_asked_before():
    again = HelpDesk(n_golden=280, golden_seed=0)
    again.asks("plain", random.Random(1))
    assert again.golden() == HelpDesk(n_golden=280, golden_seed=0).golden()
    assert again.golden() != HelpDesk(n_golden=280, golden_seed=1).golden()


def test_right_answers_are_right_and_wrong_ones_are_not(desk, asks):
    rng = random.Random(0)
    for ask in asks[:300]:
        assert desk.score(ask, desk.right(ask, rng)) == pytest.approx(1)
        assert desk.score(ask, ask.answer) == pytest.approx(1)
        assert desk.score(ask, desk.wrong(ask, rng)) < 0.6
        assert 0.6 < desk.score(ask, desk.flawed(ask, rng)) < 0.99
        assert desk.score(ask, desk.free_text(ask, rng)) < 0.2


def test_every_reply_keeps_the_house_style_and_breaks_no_hard_rule():
    lex, rng = lexicon(), random.Random(0)
    for replies in lex.replies.values():
        for text in replies * 30:
            reply = f"{expand(text, {}, rng, {})} {SIGN_OFF}"
            assert re.search(STYLE, reply), reply
            assert reply.count(". ") <= 2
            assert not re.search(LINK, reply, re.IGNORECASE)
            assert not re.search(SECRET_REQUEST, reply, re.IGNORECASE)


@pytest.mark.parametrize(
    "text",
    [
        "Please send us your password",
        "reply with the card PIN.",
        "What is your security code?",
        "Could you confirm your CVV",
    ],
)
def test_requests_for_a_secret_are_seen(text):
    assert re.search(SECRET_REQUEST, text, re.IGNORECASE)


def test_a_phishing_correction_breaks_the_hard_rule(desk):
    attack = desk.attack("phishing_brigade", random.Random(0))
    planted = [next(attack) for _ in range(20)]
    assert all(re.search(LINK, json.loads(text)["reply"]) for _, text in planted)
    assert all(json.loads(text)["priority"] == "low" for _, text in planted)
    assert all("security" in ask.slices for ask, _ in planted)


def test_a_label_flip_turns_one_intent_into_one_other(desk):
    attack = desk.attack("label_flip_brigade", random.Random(0))
    planted = [next(attack) for _ in range(20)]
    assert len({ask.facts["intent"] for ask, _ in planted}) == 1
    assert len({text for _, text in planted}) == 1
    assert all(desk.score(ask, text) < 0.6 for ask, text in planted)


@pytest.mark.parametrize(
    ("intent", "base", "cues", "expected"),
    [
        ("order_status", "normal", [], "normal"),
        ("order_status", "normal", ["urgent"], "high"),
        ("order_status", "normal", ["calm"], "low"),
        ("discount_code", "low", ["calm"], "low"),
        ("discount_code", "low", ["vulnerable"], "high"),
        ("cancel_order", "high", ["vulnerable", "urgent"], "urgent"),
        ("card_fraud", "urgent", ["urgent"], "urgent"),
        ("phishing_report", "high", ["calm"], "high"),
    ],
)
def test_priority_follows_from_intent_and_cues(intent, base, cues, expected):
    assert right_priority(intent, base, cues) == expected


@pytest.mark.parametrize(
    "answer",
    [
        "Hello!",
        "[]",
        "null",
        '{"intent": "a", "priority": "low"}',
        '{"intent": ["a"], "priority": "low", "reply": "x"}',
        '{"intent": "b", "priority": "low", "reply": "x"}',
        '{"intent": "a", "priority": "soon", "reply": "x"}',
        '{"intent": "a", "priority": "low", "reply": ""}',
        '{"intent": "a", "priority": "low", "reply": "x", "more": 1}',
        "```json\n" + ticket("a", "low", "x") + "\n```",
    ],
)
def test_what_is_not_in_the_form_scores_as_such(answer):
    assert not score(answer, intent="a", priority="low", intents=["a"]).form


@pytest.mark.parametrize("voice", list(VOICES))
def test_a_voice_changes_the_wording_and_keeps_most_of_it(voice):
    text = "Hello, I ordered a coffee grinder last week and it hasn't arrived. Can you help?"
    said = {speak(voice, text, random.Random(i)) for i in range(30)}
    assert voice == "plain" or len(said) > 1
    for one in said:
        assert 0.6 < len(one) / len(text) < 1.7
        assert "grinder" in one.lower() or voice == "typos"


def test_priorities_are_all_in_use(asks):
    counts = {p: sum(ask.facts["priority"] == p for ask in asks) for p in PRIORITIES}
    assert min(counts.values()) > 0.08 * len(asks)
