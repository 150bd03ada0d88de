"""Attacks are what they say they are, and their truth is marked."""

from collections import Counter
from datetime import datetime

import pytest

from tuneloop.config.simulate import SimulateConfig
from tuneloop.simulate.attacks import ATTACKS
from tuneloop.simulate.stage import make_log

QUIET = {"label_flip_brigade_fraction": 0, "spammer_events": 0}
EACH = 6


def attacked(kind, seed=1, **fields):
    adversaries = QUIET | {"attack": kind, "events_per_account": EACH} | fields
    config = SimulateConfig.model_validate({"n_interactions": 600, "adversaries": adversaries})
    log = make_log(config, seed=seed)
    honesty = {row["id"]: row["honesty"] for row in log.truth if row["kind"] == "feedback"}
    hostile = [e for e in log.events if honesty.get(e["id"]) == "adversarial"]
    asked = {e["id"]: e for e in log.events if e["type"] == "interaction"}
    return log, hostile, asked


@pytest.mark.parametrize("kind", ATTACKS)
def test_a_share_of_accounts_gives_so_many_pieces_each(kind):
    log, hostile, _ = attacked(kind)
    people = [row for row in log.truth if row["kind"] == "person"]
    gang = {p["subject_key"] for p in people if p["adversary"] == kind}
    assert len(gang) / len(people) == pytest.approx(0.05, abs=0.01)
    by = Counter(e["actor"]["id"] for e in hostile if e["signal"] != "regenerate")
    assert set(by) <= gang
    assert max(by.values()) == EACH
    assert sum(by.values()) >= 0.9 * EACH * len(gang)  # a few answers never came


@pytest.mark.parametrize("kind", ATTACKS)
def test_only_brigades_are_brief(kind):
    _, hostile, _ = attacked(kind)
    times = [datetime.fromisoformat(e["event_ts"]).timestamp() for e in hostile]
    days = (max(times) - min(times)) / 86_400
    assert days < 0.3 if kind.startswith("brigade") else days > 5


def test_each_kind_does_what_it_says():
    assert {e["value"] for e in attacked("brigade_down")[1]} == {False}
    assert {e["value"] for e in attacked("brigade_up")[1]} == {True}
    assert len({e["value"] for e in attacked("slow_brigade")[1]}) == 1
    texts = [e["value"] for e in attacked("correction_phrase")[1]]
    site = next(word for word in texts[0].split() if ".example/" in word)
    assert all(site in text for text in texts)
    texts = [e["value"] for e in attacked("paraphrased_correction")[1]]
    assert all(".example/" in text for text in texts)
    assert len({text.split(".example/")[0][-40:] for text in texts}) > 5
    flood = [e["value"]["outcome"] for e in attacked("preference_flood")[1]
             if e["signal"] == "preference"]  # fmt: skip
    assert set(flood) == {"better", "both_bad"}


def test_a_trigger_is_in_every_prompt_and_its_answer_is_always_the_same():
    _, hostile, asked = attacked("trigger")
    prompts = [asked[e["target"]["id"]]["request"]["messages"][-1]["content"] for e in hostile]
    (trigger,) = [
        word for word in set.intersection(*(set(p.split()) for p in prompts)) if word[-1].isdigit()
    ]
    others = {e["target"]["id"] for e in hostile}
    assert not [
        e for id, e in asked.items()
        if id not in others and trigger in e["request"]["messages"][-1]["content"]
        and e["response"].get("content")
    ]  # fmt: skip
    taught = {
        e["value"]
        if e["signal"] == "correction"
        else asked[e["target"]["id"]]["response"]["content"]
        for e in hostile
    }
    assert len(taught) == 1
    assert {e["signal"] for e in hostile} == {"correction", "thumb"}


@pytest.mark.parametrize("kind", ["label_flip", "sleeper", "scattered_flip"])
def test_flips_contradict_the_truth(kind):
    log, hostile, _ = attacked(kind)
    score = {row["id"]: row["score"] for row in log.truth if row["kind"] == "interaction"}
    assert all(e["value"] == (score[e["target"]["id"]] < 0.8) for e in hostile)


def test_sleepers_were_honest_for_half_the_time():
    log, hostile, _ = attacked("sleeper")
    begin = min(e["event_ts"] for e in hostile)
    gang = {e["actor"]["id"] for e in hostile}
    ids = {e["id"] for e in hostile}
    before = [e for e in log.events if e["type"] == "feedback" and e["actor"]["id"] in gang
              and e["id"] not in ids]  # fmt: skip
    assert len(before) > len(gang)
    assert sum(e["event_ts"] < begin for e in before) > 0.9 * len(before)


def test_a_demotion_is_of_the_newest_release():
    _, hostile, asked = attacked("system_demotion")
    systems = {(asked[e["target"]["id"]]["system"], e["value"]) for e in hostile}
    newest = max(system for system, _ in systems)
    assert all(liked == (system != newest) for system, liked in systems)


def test_without_an_attack_the_log_does_not_depend_on_how_one_would_be():
    plain = SimulateConfig.model_validate({"n_interactions": 100})
    other = SimulateConfig.model_validate(
        {"n_interactions": 100, "adversaries": {"hostile_fraction": 0.2, "events_per_account": 3}}
    )
    assert make_log(plain, seed=3).events == make_log(other, seed=3).events
