import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime

import pyarrow.parquet as pq
import pytest
from fake_openai import completion, fake_openai
from systems import served

from tuneloop.artefacts.digest import digest_file
from tuneloop.artefacts.manifest import Manifest
from tuneloop.artefacts.stage import Evaluation, GoldenSet, StageContext
from tuneloop.artefacts.store import Store
from tuneloop.artefacts.systems import Sampling
from tuneloop.config.decide import DecideConfig
from tuneloop.config.evaluate import EngineConfig, EvaluateConfig, JudgeConfig
from tuneloop.config.judge import CertificateConfig, PanelJudge
from tuneloop.decide.outcomes import read_evidence
from tuneloop.decide.stage import weigh
from tuneloop.evaluate.stage import evaluate
from tuneloop.runtime.progress import SilentProgress
from tuneloop.runtime.tiny import make_tiny


def golden_set(folder, n=8):
    lines = [
        {
            "id": f"p{i:02d}",
            "messages": [{"role": "user", "content": f"What is {i} + {i}?"}],
            "reference": str(2 * i),
            "checks": [
                {"name": "sum", "kind": "numeric", "value": 2 * i},
                {"name": "calm", "kind": "contains", "value": "!", "negate": True, "hard": True,
                 "required": False},
            ],
            "slices": ["even" if i % 2 == 0 else "odd"],
            "family": f"f{i // 2}",
        }
        for i in range(n)
    ]  # fmt: skip
    path = folder / "golden.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    draft = Manifest(kind="golden", key="k" * 64, digest="", files={}, started_at=datetime.now(UTC))
    store = Store(str(folder / "store"))
    return GoldenSet(store.commit(draft, {"golden.jsonl": path}).manifest, store)


def run(golden, work, config, champion, candidate, *, cache=None, n=1):
    work.mkdir(parents=True, exist_ok=True)
    context = StageContext(work=work, seed=7, progress=SilentProgress(), cache=cache)
    return evaluate(golden, champion, candidate, config, context, [None] * n)


def rows(output, name):
    return pq.read_table(output.files[f"{name}.parquet"]).to_pylist()


def digests(output):
    return {name: digest_file(path) for name, path in output.files.items()}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    make_tiny(folder)
    return folder


@pytest.fixture
def local(tiny):
    sampling = Sampling(max_tokens=6)
    champion = served("base", folder=tiny, sampling=sampling)
    candidate = served("terse", folder=tiny, sampling=sampling, system_prompt="Answer briefly.")
    engine = EngineConfig(backend="transformers", dtype="float32", max_in_flight=4)
    judge = JudgeConfig(
        role="advisory", n_prompts=3, reasoning_tokens=4, n_resamples=0,
        certificate=CertificateConfig(n_canaries=1, n_consistency=1),
    )  # fmt: skip
    config = EvaluateConfig(engine=engine, judge=judge, metrics=["token_f1"])
    return config, champion, candidate


def test_in_process_from_golden_set_to_files(tmp_path, local):
    config, champion, candidate = local
    golden = golden_set(tmp_path)
    output = run(golden, tmp_path / "one", config, champion, candidate)
    assert sorted(output.files) == [
        "answers.parquet", "certificate.json", "checks.parquet", "distributions.parquet",
        "evaluation.json", "judgments.parquet", "metrics.parquet",
    ]  # fmt: skip
    assert len(rows(output, "answers")) == 16
    assert len(rows(output, "checks")) == 32
    assert len(rows(output, "metrics")) == 16
    assert len(rows(output, "judgments")) == 6
    summary = json.loads(output.files["evaluation.json"].read_text())
    assert summary["systems"]["candidate"]["digest"] == candidate.spec.digest
    assert summary["systems"]["candidate"]["spec"]["system_prompt"] == "Answer briefly."
    assert summary["n_prompts"] == len(summary["prompts"]) == 8
    assert summary["prompts"][1]["slices"] == ["odd"]
    assert summary["judge"]["role"] == "advisory"
    assert {c["name"] for c in summary["judge"]["canaries"]} == {
        "identical", "copies", "padded", "null", "injection", "known_bad",
    }  # fmt: skip
    assert (output.counts.n_in, output.counts.n_out) == (8, 8)
    assert output.details["usage"]["candidate"]["n"] == 8


def test_the_same_inputs_give_the_same_bytes_also_after_a_half_done_run(tmp_path, local):
    config, champion, candidate = local
    golden = golden_set(tmp_path)
    first = run(golden, tmp_path / "one", config, champion, candidate)
    kept = (tmp_path / "one" / "answers.jsonl").read_bytes()
    half = tmp_path / "two"
    half.mkdir()
    (half / "answers.jsonl").write_bytes(kept[: len(kept) * 2 // 5])
    second = run(golden, half, config, champion, candidate)
    assert digests(second) == digests(first)
    text = first.files["evaluation.json"].read_text()
    assert str(tmp_path) not in text


class Oracle:
    """A served model: the champion cannot add, the candidate can, the judge can tell."""

    def __init__(self, pause_s=0.0):
        self.pause_s, self.n = pause_s, 0

    def __call__(self, path, body, headers):
        self.n += 1
        time.sleep(self.pause_s)
        system = body["messages"][0]["content"]
        if not system.startswith("You compare"):
            number = int(body["messages"][-1]["content"].split()[2])
            return completion(str(2 * number if system == "add" else 2 * number + 1))
        text = body["messages"][1]["content"]
        fenced = dict(re.findall(r"<([a-z_]+)(?:-[0-9a-f]+)?>\n(.*?)\n</\1", text, re.S))
        good = [fenced[x].startswith(fenced["reference"]) for x in ("answer_a", "answer_b")]
        label = "T" if good[0] == good[1] else "A" if good[0] else "B"
        return completion(label, top=[(label, -0.01), ("x", -5.0)])


def remote(url):
    engine = EngineConfig(backend="url", url=url, served_model="m", max_in_flight=4)
    judge = JudgeConfig(
        role="deciding", n_prompts=None, certificate=CertificateConfig(n_canaries=2)
    )
    config = EvaluateConfig(engine=engine, judge=judge)
    return config, served("champion"), served("candidate", system_prompt="add")


def test_an_able_judge_and_the_checks_see_the_better_system(tmp_path):
    with fake_openai(Oracle()) as (url, _):
        output = run(golden_set(tmp_path), tmp_path / "work", *remote(url))
    summary = json.loads(output.files["evaluation.json"].read_text())
    assert summary["pass"]["champion"] | {"n": 8, "passed": 0} == summary["pass"]["champion"]
    assert summary["pass"]["candidate"]["passed"] == 8
    judge = summary["judge"]
    assert judge["win_rate"]["estimate"] == pytest.approx(1.0)
    assert judge["order_agreement"] == {"estimate": 1.0, "n": 8}
    assert judge["check_agreement"] == {"estimate": 1.0, "n": 8}
    assert judge["first_share"]["estimate"] == 0.5
    assert all(c["passed"] for c in judge["canaries"])
    assert judge["missing"]["n"] == 0


def test_max_prompts_draws_a_sample_and_counts_the_rest(tmp_path):
    with fake_openai(Oracle()) as (url, _):
        config, champion, candidate = remote(url)
        config = config.model_copy(update={"max_prompts": 3, "judge": JudgeConfig()})
        output = run(golden_set(tmp_path), tmp_path / "work", config, champion, candidate)
    assert output.counts.dropped == {"not_sampled": 5}
    assert len(rows(output, "answers")) == 6
    assert rows(output, "judgments") == []


CHILD = """
import sys
from pathlib import Path
sys.path[:0] = {path!r}
import test_evaluate as t
config, champion, candidate = t.remote({url!r})
store = t.Store({store!r})
golden = t.GoldenSet(store.find("golden", "k" * 64).manifest, store)
output = t.run(golden, Path({work!r}), config, champion, candidate)
"""


def test_kill_9_half_way_asks_nothing_twice_and_ends_the_same(tmp_path):
    golden = golden_set(tmp_path)
    with fake_openai(Oracle()) as (url, seen):
        undisturbed = run(golden, tmp_path / "one", *remote(url))
        n_asked = len(seen)
    oracle = Oracle(pause_s=0.1)
    with fake_openai(oracle) as (url, seen):
        code = CHILD.format(
            path=[os.path.dirname(__file__), *sys.path],
            url=url,
            store=str(tmp_path / "store"),
            work=str(tmp_path / "two"),
        )
        child = subprocess.Popen([sys.executable, "-c", code])
        try:
            deadline = time.monotonic() + 30
            while oracle.n < 20 and time.monotonic() < deadline:
                time.sleep(0.01)
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
        kept = len((tmp_path / "two" / "answers.jsonl").read_text().splitlines())
        assert 10 <= kept < n_asked
        oracle.pause_s = 0
        time.sleep(0.3)
        before = len(seen)
        resumed = run(golden, tmp_path / "two", *remote(url))
        assert len(seen) - before <= n_asked - kept
    assert digests(resumed) == digests(undisturbed)


def judge_asked(seen):
    return [b for _, b, _ in seen if b["messages"][0]["content"].startswith("You compare")]


def test_another_candidate_asks_the_champion_and_known_judgments_nothing(tmp_path):
    golden, cache = golden_set(tmp_path), tmp_path / "cache"
    with fake_openai(Oracle()) as (url, seen):
        config, champion, candidate = remote(url)
        run(golden, tmp_path / "one", config, champion, candidate, cache=cache)
        first = len(seen)
        run(golden, tmp_path / "two", config, champion, candidate, cache=cache)
        anchors = len(seen) - first
        # The judge's weights cannot be seen behind an address: its anchors are asked anew.
        assert anchors == len(judge_asked(seen[first:])) == 2 * 2 * 12
        before = len(seen)
        other = served("another", system_prompt="add ")
        run(golden, tmp_path / "three", config, champion, other, cache=cache)
    asked = seen[before:]
    answered = [b for _, b, _ in asked if not b["messages"][0]["content"].startswith("You compare")]
    assert {b["messages"][0]["content"] for b in answered} == {"add "}
    assert len(answered) == 8


def certificate_of(output):
    return json.loads(output.files["certificate.json"].read_text())["judges"][0]


def test_an_able_judge_gets_its_certificate(tmp_path):
    with fake_openai(Oracle()) as (url, _):
        config, champion, candidate = remote(url)
        output = run(golden_set(tmp_path), tmp_path / "work", config, champion, candidate)
    found = certificate_of(output)
    assert {i["name"]: i["status"] for i in found["items"] if i["status"] != "passed"} == {
        "longer_preferred": "reported"
    }
    assert found["status"] == "passed"


def test_a_judge_that_always_says_a_holds_the_verdict(tmp_path):
    def answer(path, body, headers):
        if body["messages"][0]["content"].startswith("You compare"):
            return completion("A", top=[("A", -0.01)])
        return Oracle()(path, body, headers)

    with fake_openai(answer) as (url, _):
        config, champion, candidate = remote(url)
        output = run(golden_set(tmp_path, n=32), tmp_path / "work", config, champion, candidate)
    found = certificate_of(output)
    failed = {i["name"] for i in found["items"] if i["status"] == "failed"}
    assert {"identical", "copies", "null", "order_agreement", "first_position"} <= failed
    store = Store(str(tmp_path / "store"))
    made = evaluation_of(store, output)
    for metric, when_invalid, expected in (("judge", "hold", "HOLD"), ("pass", "hold", "HOLD"),
                                           ("pass", "rules", "PROMOTE")):  # fmt: skip
        evidence = read_evidence(made)
        evidence.evaluation["judge"]["when_invalid"] = when_invalid
        record = weigh(evidence, DecideConfig(metric=metric, n_bootstrap=500), seed=1, lineage={})
        assert record.verdict == expected, record.reasons
        if when_invalid == "hold":
            assert "no certificate" in record.reasons[0]


def evaluation_of(store, output):
    draft = Manifest(kind="evaluate", key="e" * 64, digest="", files={},
                     started_at=datetime(2026, 1, 1, tzinfo=UTC))  # fmt: skip
    return Evaluation(store.commit(draft, output.files).manifest, store)


def test_two_judges_are_one_panel(tmp_path):
    def says_a(path, body, headers):
        return completion("A", top=[("A", -0.01)])

    with fake_openai(Oracle()) as (url, _), fake_openai(says_a) as (bad, _):
        config, champion, candidate = remote(url)
        other = EngineConfig(backend="url", url=bad, served_model="other", max_in_flight=4)
        panel = [PanelJudge(engine=other)]
        judge = config.judge.model_copy(update={"panel": panel})
        config = config.model_copy(update={"judge": judge})
        output = run(golden_set(tmp_path), tmp_path / "work", config, champion, candidate, n=2)
    summary = json.loads(output.files["evaluation.json"].read_text())["judge"]
    assert summary["certified"] == ["judge"]
    assert [c["status"] for c in summary["certificates"]] == ["passed", "failed"]
    assert summary["win_rate"]["estimate"] == pytest.approx(1.0)
    assert {r["judge"] for r in rows(output, "judgments")} == {"judge", "judge-2"}


def test_latency_as_evidence_asks_both_systems_in_turns_and_past_the_cache(tmp_path):
    def answer(path, body, headers):
        return completion(str(len(body["messages"])))

    with fake_openai(answer) as (url, seen):
        config = EvaluateConfig(
            engine=EngineConfig(backend="url", url=url, served_model="m"),
            latency={"n_prompts": 5, "warm_up": 1},
        )
        champion, candidate = served(), served("brief", system_prompt="Be brief.")
        output = run(golden_set(tmp_path), tmp_path / "work", config, champion, candidate)
        asked = [len(body["messages"]) for _, body, _ in seen]
    timings = rows(output, "timings")
    assert len(timings) == 10
    assert all(row["status"] == "ok" and row["seconds"] >= 0 for row in timings)
    assert len(asked) == 2 * (8 + 1 + 5)
    probed = asked[-10:]  # the candidate has two messages, the champion one
    assert probed == [2, 1, 1, 2, 2, 1, 1, 2, 2, 1]
    summary = json.loads(output.files["evaluation.json"].read_text())
    assert summary["latency"]["alternated"] is True


def test_grounding_is_judged_though_the_judge_compares_nothing(tmp_path):
    from tuneloop.evaluate.grounding import ANCHORS

    known = {line["claim"]: line["supported"] for line in map(json.loads, ANCHORS.open())}

    def answer(path, body, headers):
        system = body["messages"][0]["content"]
        if not system.startswith("You say whether sources"):
            return completion("It costs 5 euros." if system == "add" else "It costs 9 euros.")
        claim = re.search(r"<claim-\w+>\n(.*?)\n</claim", body["messages"][1]["content"], re.S)[1]
        label = "A" if known.get(claim, "5" in claim) else "B"
        return completion(label, top=[(label, -0.01)])

    line = {
        "id": "p", "messages": [{"role": "user", "content": "What does it cost?"}],
        "context": [{"id": "a", "text": "The ticket costs 5 euros."}],
        "checks": [{"name": "grounded", "kind": "grounding", "hard": True},
                   {"name": "euros", "kind": "contains", "value": "euros"}],
    }  # fmt: skip
    (tmp_path / "golden.jsonl").write_text(json.dumps(line) + "\n")
    draft = Manifest(kind="golden", key="k" * 64, digest="", files={}, started_at=datetime.now(UTC))
    store = Store(str(tmp_path / "store"))
    golden = GoldenSet(
        store.commit(draft, {"golden.jsonl": tmp_path / "golden.jsonl"}).manifest, store
    )
    with fake_openai(answer) as (url, seen):
        config, champion, candidate = remote(url)
        config = config.model_copy(update={"judge": JudgeConfig()})
        cache = tmp_path / "cache"
        output = run(golden, tmp_path / "one", config, champion, candidate, cache=cache)
        before = len(seen)
        again = run(golden, tmp_path / "two", config, champion, candidate, cache=cache)
        # What is known beforehand is asked past the cache: twelve claims and one planted sentence.
        assert len(seen) - before == 2 * 13
    assert digests(again) == digests(output)
    found = {(r["side"], r["check"]): r["passed"] for r in rows(output, "checks")}
    assert found == {
        ("champion", "grounded"): False, ("candidate", "grounded"): True,
        ("champion", "euros"): True, ("candidate", "euros"): True,
    }  # fmt: skip
    summary = json.loads(output.files["evaluation.json"].read_text())
    assert [summary["pass"][side]["passed"] for side in ("champion", "candidate")] == [0, 1]
    assert summary["grounding"]["status"] == "passed"
    assert {r["finding"] for r in rows(output, "claims")} == {"supported", "unsupported"}
    assert summary["judge"] == {"role": "off"}
