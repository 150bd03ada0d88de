import json

import pytest
from systems import adapter_folder, served

from tuneloop.artefacts.systems import Sampling
from tuneloop.config.evaluate import EngineConfig
from tuneloop.errors import ServingError
from tuneloop.runtime.progress import SilentProgress
from tuneloop.runtime.serving import ChatRequest, ChatResult, can_share, engine
from tuneloop.runtime.serving.cache import AnswerCache, answer_key


class Echo:
    """A backend that counts what it is asked and answers back to front."""

    def __init__(self, chunk_size=1, missing=()):
        self.chunk_size, self.missing = chunk_size, missing
        self.started, self.asked = 0, []

    def start(self):
        self.started += 1

    def stream(self, system, requests):
        self.asked.append([r.messages[0]["content"] for r in requests])
        for i, r in reversed(list(enumerate(requests))):
            text = r.messages[0]["content"]
            if text in self.missing:
                yield i, ChatResult.missing(self.missing[text], "why")
            else:
                yield i, ChatResult(text=text.upper())

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
    assert [json.loads(line)["key"] for line in path.read_text().splitlines()] == [
        json.loads(line)["key"] for line in whole.decode().splitlines()
    ]


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
