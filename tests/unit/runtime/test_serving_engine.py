import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from systems import adapter_folder, served

from tuneloop.artefacts.systems import Sampling
from tuneloop.config.engine import EngineConfig, PriceConfig
from tuneloop.errors import ServingError
from tuneloop.runtime.progress import SilentProgress
from tuneloop.runtime.serving import ChatRequest, ChatResult, can_share, engine
from tuneloop.runtime.serving.cache import AnswerCache, SharedAnswers, answer_key
from tuneloop.runtime.serving.cost import cost_of
from tuneloop.runtime.serving.counters import read_counters


class Echo:
    """A backend that counts what it is asked and answers back to front."""

    def __init__(self, chunk_size=1, missing=()):
        self.chunk_size, self.missing = chunk_size, missing
        self.started, self.asked = 0, []

    def start(self):
        self.started += 1

    def counters(self):
        return {}

    def stream(self, system, requests, follow=None):
        self.asked.append([r.messages[0]["content"] for r in requests])
        for i, first in reversed(list(enumerate(requests))):
            asked = first
            while asked is not None:
                text = asked.messages[0]["content"]
                result = ChatResult(text=text.upper())
                if text in self.missing:
                    result = ChatResult.missing(self.missing[text], "why")
                asked = follow(i, result) if follow else None
                yield i, result

    def stop(self):
        pass


def requests(*texts):
    return [ChatRequest(messages=[{"role": "user", "content": t}]) for t in texts]


def make(backend, path, mode=None):
    return engine.Engine(
        backend, mode=mode or {"m": 1}, cache=AnswerCache(path), progress=SilentProgress()
    )


def test_answers_keep_the_order_and_are_asked_once(tmp_path):
    backend = Echo()
    one = make(backend, tmp_path / "a.jsonl")
    assert [r.text for r in one.chat(served(), requests("a", "b"), step="s")] == ["A", "B"]
    assert [r.text for r in one.chat(served(), requests("c", "b"), step="s")] == ["C", "B"]
    assert backend.asked == [["a", "b"], ["c"]]
    assert backend.started == 1


def test_a_second_process_starts_no_server_for_answers_it_has(tmp_path):
    make(Echo(), tmp_path / "a.jsonl").chat(served(), requests("a"), step="s")
    backend = Echo()
    assert make(backend, tmp_path / "a.jsonl").chat(served(), requests("a"), step="s")
    assert (backend.started, backend.asked) == (0, [])


@pytest.mark.parametrize("change", ["system", "mode", "sampling", "choices"])
def test_whatever_changes_an_answer_is_in_its_key(change, tmp_path):
    first, second = requests("a")[0], requests("a")[0]
    systems, modes = [served(), served()], [{"dtype": "float32"}] * 2
    if change == "system":
        systems[1] = served(system_prompt="be brief")
    elif change == "mode":
        modes[1] = {"dtype": "bfloat16"}
    elif change == "sampling":
        second = first.model_copy(update={"sampling": Sampling(seed=1)})
    else:
        second = first.model_copy(update={"choices": ("a", "b")})
    keys = {
        answer_key(s.spec.digest, m, r)
        for s, m, r in zip(systems, modes, (first, second), strict=True)
    }
    assert len(keys) == 2


def test_a_line_cut_off_by_a_kill_costs_that_answer_only(tmp_path):
    path = tmp_path / "a.jsonl"
    make(Echo(), path).chat(served(), requests("a", "b", "c"), step="s")
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    backend = Echo()
    results = make(backend, path).chat(served(), requests("a", "b", "c"), step="s")
    assert [r.text for r in results] == ["A", "B", "C"]
    assert len(backend.asked[0]) == 1
    again = Echo()
    assert make(again, path).chat(served(), requests("a", "b", "c"), step="s") == results
    assert again.asked == []


def shared_engine(backend, tmp_path, run, mode=None, source=()):
    return engine.Engine(
        backend,
        mode=mode or {"m": 1},
        cache=AnswerCache(tmp_path / f"{run}.jsonl"),
        progress=SilentProgress(),
        shared=SharedAnswers(tmp_path / "answers", source),
    )


def test_another_run_asks_nothing_again_and_claims_no_latency(tmp_path):
    first = shared_engine(Echo(), tmp_path, "one").chat(served(), requests("a"), step="s")
    backend = Echo()
    second = shared_engine(backend, tmp_path, "two").chat(served(), requests("a", "b"), step="s")
    assert backend.asked == [["b"]]
    assert [r.text for r in second] == ["A", "B"]
    assert first[0].text == second[0].text
    assert second[0].seconds is None


@pytest.mark.parametrize("change", ["system", "mode", "source", "padded", "fresh"])
def test_an_earlier_runs_answer_is_taken_only_where_all_is_equal(change, tmp_path):
    system = served()
    shared_engine(Echo(), tmp_path, "one", source=["http://a/v1"]).chat(
        system, requests("a"), step="s"
    )
    backend = Echo(chunk_size=2 if change == "padded" else 1)
    one = shared_engine(
        backend,
        tmp_path,
        "two",
        mode={"m": 2} if change == "mode" else None,
        source=["http://b/v1"] if change == "source" else ["http://a/v1"],
    )
    system = served(system_prompt="be brief") if change == "system" else system
    dialogues = [engine._once(r) for r in requests("a")]
    one.converse(system, dialogues, step="s", fresh=change == "fresh")
    assert backend.asked == [["a"]]


def spell(word):
    """A dialogue that asks for one more letter each time."""
    said = ""
    for letter in word:
        result = yield requests(said + letter)[0]
        said = result.text.lower()
    return said


@pytest.mark.parametrize("backend", [Echo(), Echo(chunk_size=2)])
def test_dialogues_end_where_they_end_and_are_resumed_where_they_stopped(backend, tmp_path):
    words = ["abc", "x", "", "abd"]
    path = tmp_path / "a.jsonl"
    one = make(backend, path)
    assert one.converse(served(), [spell(w) for w in words], step="s") == words
    n_lines = len(path.read_text().splitlines())
    assert n_lines == len({"a", "ab", "abc", "x", "abd"})
    backend.asked.clear()
    assert make(backend, path).converse(served(), [spell(w) for w in words], step="s") == words
    assert backend.asked == []


@given(st.lists(st.text("ab", max_size=4), max_size=6), st.integers(0, 20))
def test_a_file_cut_anywhere_resumes_to_the_same(words, kept):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        make(Echo(), path).converse(served(), [spell(w) for w in words], step="s")
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) * kept // 20])
        again = make(Echo(), path).converse(served(), [spell(w) for w in words], step="s")
    assert again == words


def test_costs_are_counted(tmp_path):
    price = PriceConfig(per_million_prompt_tokens=10.0, per_million_completion_tokens=20.0)
    results = [ChatResult(n_prompt_tokens=90, n_completion_tokens=5)] * 10
    counted = {"prefix_tokens_looked_up": 900.0, "prefix_tokens_found": 600.0}
    cost = cost_of("s", results, 2.0, counted, price)
    assert cost["money"] == pytest.approx((900 * 10 + 50 * 20) / 1e6)
    assert cost["prefix_hit_rate"] == pytest.approx(2 / 3, abs=1e-4)
    assert cost["requests_per_s"] == 5.0
    assert cost_of("s", results, 2.0, {}, PriceConfig())["money"] is None


def test_counters_of_a_vllm_metrics_page_are_read():
    page = (
        "# HELP x\n"
        'vllm:prefix_cache_queries_total{engine="0",model_name="base"} 120.0\n'
        'vllm:prefix_cache_queries_total{engine="1",model_name="base"} 30.0\n'
        'vllm:prefix_cache_hits_total{engine="0",model_name="base"} 1.2e+01\n'
        'vllm:other{engine="0"} 5\n'
    )
    assert read_counters(page) == {"prefix_tokens_looked_up": 150, "prefix_tokens_found": 12}


def test_padded_batches_are_asked_again_whole(tmp_path):
    path = tmp_path / "a.jsonl"
    make(Echo(chunk_size=2), path).chat(served(), requests("a", "b", "c", "d", "e"), step="s")
    lines = path.read_text().splitlines(keepends=True)
    lost = next(line for line in lines if '"C"' in line)
    path.write_text("".join(line for line in lines if line != lost))
    backend = Echo(chunk_size=2)
    make(backend, path).chat(served(), requests("a", "b", "c", "d", "e"), step="s")
    assert backend.asked == [["c", "d"]]


def test_failures_of_the_connection_are_not_remembered_others_are(tmp_path):
    path = tmp_path / "a.jsonl"
    bad = {"b": "transport", "c": "timeout", "d": "truncated"}
    first = make(Echo(missing=bad), path).chat(served(), requests(*"abcd"), step="s")
    assert [r.reason for r in first] == [None, "transport", "timeout", "truncated"]
    backend = Echo()
    second = make(backend, path).chat(served(), requests(*"abcd"), step="s")
    assert backend.asked == [["b", "c"]]
    assert [r.text for r in second] == ["A", "B", "C", ""]


def test_an_engine_that_answers_nothing_is_an_error(tmp_path):
    backend = Echo(missing={"a": "transport", "b": "rejected"})
    with pytest.raises(ServingError, match="why"):
        make(backend, tmp_path / "a.jsonl").chat(served(), requests("a", "b"), step="s")


def test_parts_no_engine_applies_are_refused(tmp_path):
    one = make(Echo(), tmp_path / "a.jsonl")
    with pytest.raises(ServingError, match="retrieval"):
        one.chat(served(retrieval="index-1"), requests("a"), step="s")


def test_system_prompt_and_few_shot_make_the_prompt():
    shots = [{"role": "user", "content": "1"}, {"role": "assistant", "content": "2"}]
    system = served(system_prompt="new", few_shot=shots)
    prompt = [{"role": "system", "content": "old"}, {"role": "user", "content": "q"}]
    assert [m["content"] for m in system.messages(prompt)] == ["new", "1", "2", "q"]
    assert served().messages(prompt) == prompt


@pytest.mark.parametrize("cuda", [False, True])
def test_who_may_share_a_server(cuda, tmp_path, monkeypatch):
    monkeypatch.setattr("tuneloop.runtime.serving.device.has_cuda", lambda: cuda)
    config = EngineConfig()
    base = served()
    lora = served("lora", adapter=("a" * 64, adapter_folder(tmp_path / "lora")))
    dora = served("dora", adapter=("d" * 64, adapter_folder(tmp_path / "dora", use_dora=True)))
    assert can_share([base], served("judge"), config)
    assert can_share([lora], lora, config)
    assert can_share([base], lora, config) is cuda
    assert can_share([lora, base], served("judge"), config) is cuda
    assert not can_share([base], dora, config)
    assert not can_share([base], served(base="c" * 64), config)
    assert not can_share([base], served(chat_template="{{ x }}"), config)
