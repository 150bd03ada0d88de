import random

import pytest

from tuneloop.artefacts.systems import Sampling
from tuneloop.config.simulate import ChampionConfig
from tuneloop.runtime.serving.chat import ChatResult
from tuneloop.simulate.champion import (
    Question,
    ScriptedChampion,
    ServedChampion,
    scenario_requests,
)
from tuneloop.simulate.helpdesk import HelpDesk


@pytest.fixture(scope="module")
def desk():
    return HelpDesk(n_golden=280, golden_seed=0)


def questions(desk, n):
    rng = random.Random(3)
    return [
        Question(desk.asks("plain", rng), desk.prompts.current, progress=i / n) for i in range(n)
    ]


def test_the_script_keeps_its_shares(desk):
    config = ChampionConfig(right_fraction=0.3, wrong_fraction=0.4, error_fraction=0.1)
    asked = questions(desk, 1500)
    answers = ScriptedChampion(desk, config, 1).answer(asked, step="")
    scores = [
        desk.score(q.ask, a.text) for q, a in zip(asked, answers, strict=True) if a.text is not None
    ]
    assert 1 - len(scores) / 1500 == pytest.approx(0.1, abs=0.03)
    assert sum(s > 0.99 for s in scores) / len(scores) == pytest.approx(0.3, abs=0.05)
    assert sum(s < 0.2 for s in scores) / len(scores) == pytest.approx(0.3, abs=0.05)
    assert len({answer.system for answer in answers}) == 3
    assert all((a.text is None) == (a.outcome != "ok") for a in answers)


def test_a_second_attempt_is_sampled_anew(desk):
    question = questions(desk, 1)[0]
    again = Question(question.ask, question.system_prompt, attempt=1)
    first, second = scenario_requests([question, again], Sampling(temperature=0.0, seed=5))
    assert first.messages == second.messages == question.messages
    assert (first.sampling.temperature, first.sampling.seed) == (0.0, 5)
    assert second.sampling.temperature > 0
    assert second.sampling.seed == 6


class FakeEngine:
    system = "fake@1"

    def chat(self, requests, *, step):
        results = [ChatResult(text=f"answer {i}", seconds=0.5) for i in range(len(requests))]
        results[1] = ChatResult.missing("timeout")
        results[2] = ChatResult.missing("truncated")
        return results


def test_answers_that_did_not_come_are_outcomes_not_texts(desk):
    champion = ServedChampion(FakeEngine(), Sampling())
    answers = champion.answer(questions(desk, 4), step="answers")
    assert [answer.outcome for answer in answers] == ["ok", "timeout", "error", "ok"]
    assert [answer.text for answer in answers] == ["answer 0", None, None, "answer 3"]
    assert answers[0].latency_ms == 500
    assert {answer.system for answer in answers} == {"fake@1"}
