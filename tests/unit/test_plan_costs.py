"""Minutes and money before anything runs: from what it took before, or typed missing."""

from datetime import UTC, datetime

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.artefacts.manifest import Counts, Manifest
from tuneloop.artefacts.store import Store
from tuneloop.config.evaluate import EvaluateConfig, JudgeConfig
from tuneloop.plan_costs import cost_lines, expected_evaluation, stage_costs


def test_a_stage_is_scaled_by_its_rows_and_one_never_run_is_unknown(tmp_path):
    store = Store(str(tmp_path / "store"))
    (tmp_path / "f").write_text("x")
    draft = Manifest(
        kind="evaluate", key="k" * 64, digest="", files={}, started_at=datetime.now(UTC),
        seconds=120.0, counts=Counts(n_in=100, n_out=100),
    )  # fmt: skip
    store.commit(draft, {"f": tmp_path / "f"})
    costs = stage_costs(store, ["evaluate", "sft"], {"evaluate": 300}, per_hour=6.0)
    assert (costs["evaluate"]["minutes"], costs["evaluate"]["money"]) == (6.0, 0.6)
    assert "300 of 100 rows" in costs["evaluate"]["assumed"]
    assert costs["sft"]["status"] == "missing"
    text = "\n".join(cost_lines(costs))
    assert "together  6.0 min, 0.6 in money; 1 unknown" in text
    assert stage_costs(store, ["evaluate"], {}, 0.0)["evaluate"]["money"] is None


def test_a_first_evaluation_goes_by_stated_rate_and_prices(tmp_path):
    text = "x" * 400  # about 100 tokens
    prompts = [
        GoldenPrompt.model_validate(
            {"id": f"p{i}", "messages": [{"role": "user", "content": text}], "reference": "y"}
        )
        for i in range(50)
    ]
    engine = {"tokens_per_s": 100.0, "price": {"per_million_prompt_tokens": 2.0,
              "per_million_completion_tokens": 10.0}}  # fmt: skip
    config = EvaluateConfig.model_validate(
        {"engine": engine, "sampling": {"max_tokens": 60}, "judge": {"role": "off"}}
    )
    found = expected_evaluation(config, prompts)
    assert found["minutes"] == 1.0  # 2 systems, 50 prompts, 60 tokens at 100 a second
    assert found["money"] == round((2 * 50 * 100 * 2 + 6000 * 10) / 1e6, 4)
    judged = config.model_copy(update={"judge": JudgeConfig(role="advisory")})
    assert expected_evaluation(judged, prompts)["minutes"] > found["minutes"]
    assert expected_evaluation(EvaluateConfig(), prompts) is None
    costs = stage_costs(
        Store(str(tmp_path / "s")), ["evaluate", "sft"], {}, 0.0, expected={"evaluate": found}
    )
    assert costs["sft"]["status"] == "missing"
    assert "evaluate  1 min, 0.08 in money (about 6,000 tokens" in "\n".join(cost_lines(costs))
