import json

import pytest

from tuneloop.errors import DataError
from tuneloop.golden_set.file import GoldenFile
from tuneloop.golden_set.traffic import Row
from tuneloop.golden_set.weigh import weigh


def traffic(**counts):
    return [
        Row(id=f"{intent}{i}", cluster="c", split="train",
            cohorts={} if intent == "none" else {"intent": intent}, messages=[], answer="",
            correction=None, score=0, weight=1, signals=[])
        for intent, n in counts.items()
        for i in range(n)
    ]  # fmt: skip


def golden(folder, *slices):
    path = folder / "golden.jsonl"
    path.write_text(
        "".join(
            json.dumps(
                {"id": f"p{i}", "messages": [{"role": "user", "content": "q"}], "slices": names}
            )
            + "\n"
            for i, names in enumerate(slices)
        )
    )
    return GoldenFile(path)


def weights(file):
    return [prompt.weight for prompt in GoldenFile(file.path).prompts]


def test_cohorts_count_as_in_the_traffic(tmp_path):
    file = golden(tmp_path, ["intent:refund"], ["refund"], ["intent:login"], ["login"])
    found = weigh(file, traffic(refund=90, login=10), by="intent")
    assert weights(file) == [1.8, 1.8, 0.2, 0.2]
    assert found["n_effective"] == pytest.approx(16 / (2 * 1.8**2 + 2 * 0.2**2), abs=0.1)
    assert [p.version for p in GoldenFile(file.path).prompts] == [2, 2, 2, 2]
    before = file.path.read_bytes()
    assert weigh(GoldenFile(file.path), traffic(refund=90, login=10), by="intent")["changed"] == []
    assert file.path.read_bytes() == before


def test_a_prompt_of_two_cohorts_counts_half_in_each(tmp_path):
    file = golden(tmp_path, ["a", "b"], ["a"], ["b"])
    weigh(file, traffic(a=30, b=10), by="intent")
    one, two, three = weights(file)
    assert (one / 2 + two) / (one / 2 + three) == pytest.approx(3 / 1, rel=0.35)
    assert two / three == pytest.approx(3, rel=0.01)
    assert sum((one, two, three)) == pytest.approx(3, abs=0.01)


def test_traffic_that_no_prompt_is_like_is_said_and_not_made_up_for(tmp_path):
    file = golden(tmp_path, ["a"], ["b"], ["tone"])
    found = weigh(file, traffic(a=50, b=25, c=25), by="intent", dry_run=True)
    assert found["unseen"] == 0.25
    assert weights(file) == [1, 1, 1]
    assert {row["name"]: row["factor"] for row in found["cohorts"]}["c"] is None


def test_prompts_of_no_cohort_stand_for_traffic_of_none(tmp_path):
    file = golden(tmp_path, ["a"], ["tone"])
    weigh(file, traffic(a=75, none=25), by="intent")
    assert weights(file) == [1.5, 0.5]


def test_a_set_like_no_traffic_cannot_be_weighed(tmp_path):
    with pytest.raises(DataError, match="no active prompt"):
        weigh(golden(tmp_path, ["x"]), traffic(a=3), by="intent")
