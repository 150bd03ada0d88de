import numpy as np
import pytest

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.config.evaluate import DriftConfig
from tuneloop.evaluate.distributions import Seen, describe, open_encoder
from tuneloop.runtime.serving import ChatResult


class Encoder:
    """Long texts lie in one direction, short ones in another."""

    def encode(self, texts):
        rng = np.random.default_rng(1)
        return np.array([[len(t) > 20, len(t) <= 20] for t in texts]) + rng.normal(
            0, 0.1, size=(len(texts), 2)
        )


def answered(texts, *, finish="stop"):
    return {
        f"p{i:02d}": ChatResult(status="missing", reason="timeout")
        if text is None
        else ChatResult(text=text, finish_reason=finish, n_completion_tokens=len(text))
        for i, text in enumerate(texts)
    }


def seen(champion, candidate, *, checks=(), timings=(), families=None):
    prompts = [
        GoldenPrompt(id=f"p{i:02d}", messages=[{"role": "user", "content": "q"}],
                     family=families[i] if families else None)
        for i in range(len(champion))
    ]  # fmt: skip
    answers = {"champion": answered(champion), "candidate": answered(candidate)}
    return Seen(prompts, answers, checks, timings)


def table(of, encoder=None):
    return {row["metric"]: row for row in describe(of, encoder, seed=1)}


SHORT = [f"It is {i}." for i in range(30)]
LONG = [f"It is {i}, as far as anybody here can tell today." for i in range(30)]


def test_longer_answers_are_seen_with_n_interval_and_what_is_missing():
    found = table(seen([*SHORT, "x", None], [*LONG, None, "y"]), Encoder())
    words = found["length_words"]
    assert (words["n"], words["n_missing"], words["status"]) == (30, 2, "ok")
    assert (words["champion"], words["candidate"], words["estimate"]) == (3.0, 11.0, 8.0)
    assert words["ci_low"] <= 8 <= words["ci_high"]
    assert words["p_value"] < 0.01
    for name in ("length_drift", "meaning_drift"):
        assert found[name]["p_value"] < 0.01, name
        assert found[name]["estimate"] > found[name]["null_high"], name
        assert (found[name]["n"], found[name]["n_missing"]) == (30, 2)
    assert found["length_drift"]["estimate"] == 1.0


def test_the_same_answers_do_not_differ():
    found = table(seen(LONG, LONG), Encoder())
    for row in found.values():
        if row["status"] == "ok":
            assert row["p_value"] > 0.5, row
            assert row["estimate"] <= max(0.05, row["null_high"] or 0)


def test_refusals_form_and_latency():
    def check(i, side, passed, kind="json_schema"):
        return {"prompt_id": f"p{i:02d}", "side": side, "check": "c", "kind": kind,
                "passed": passed}  # fmt: skip

    checks = [check(i, "champion", i % 2 == 0) for i in range(20)]
    checks += [check(i, "candidate", None if i == 3 else True) for i in range(20)]
    checks += [check(i, s, False, "exact") for i in range(30) for s in ("champion", "candidate")]
    timings = [
        {"prompt_id": f"p{i:02d}", "side": side, "seconds": None if i == 9 else seconds}
        for i in range(10)
        for side, seconds in (("champion", 1.0), ("candidate", 0.5))
    ]
    refusing = [*(["I'm sorry, but I cannot help with that."] * 10), *SHORT[10:]]
    found = table(seen(SHORT, refusing, checks=checks, timings=timings))
    assert found["refusals"]["estimate"] == pytest.approx(1 / 3, abs=1e-5)
    assert found["refusals"]["method"].startswith("exact McNemar")
    assert (found["format"]["n"], found["format"]["n_missing"]) == (19, 1)
    assert found["format"]["candidate"] == 1.0
    assert found["latency_s"]["estimate"] == -0.5
    assert (found["latency_s"]["n"], found["latency_s"]["n_missing"]) == (9, 1)


def test_what_was_not_measured_says_why():
    found = table(seen(SHORT, LONG))
    assert "latency was not measured" in found["latency_s"]["reason"]
    assert "no golden prompt" in found["format"]["reason"]
    assert "not installed" in found["meaning_drift"]["reason"]
    few = table(seen(SHORT[:5], LONG[:5]), Encoder())
    assert "20 are needed" in few["meaning_drift"]["reason"]
    nobody = table(seen([None, None], ["a", "b"]))
    assert nobody["length_words"]["status"] == "missing"
    assert (nobody["length_words"]["n"], nobody["length_words"]["n_missing"]) == (0, 2)
    assert nobody["length_words"]["estimate"] is None


def test_prompts_of_one_family_are_one_unit():
    longer = [a if i % 3 else b for i, (a, b) in enumerate(zip(SHORT, LONG, strict=True))]
    apart = table(seen(SHORT, longer))["length_words"]
    together = table(seen(SHORT, longer, families=[f"f{i % 3}" for i in range(30)]))["length_words"]
    assert apart["p_value"] < 0.05 < together["p_value"]


def test_meanings_can_be_left_out_and_demanded(monkeypatch):
    assert open_encoder(DriftConfig(meaning="off")) is None
    given = {"meaning": "on", "encoder": {"model": "no-such-model-anywhere/at-all"}}
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(Exception, match="no-such-model"):
        open_encoder(DriftConfig.model_validate(given))
