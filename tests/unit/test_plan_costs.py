"""Minutes and money before anything runs: from what it took before, or typed missing."""

from datetime import UTC, datetime

from tuneloop.artefacts.manifest import Counts, Manifest
from tuneloop.artefacts.store import Store
from tuneloop.plan_costs import cost_lines, stage_costs


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
