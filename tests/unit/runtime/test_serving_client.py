import threading
import time

import pytest
from fake_openai import Reply, completion, fake_openai
from systems import adapter_folder, served

from tuneloop.artefacts.systems import Sampling
from tuneloop.config.evaluate import EngineConfig
from tuneloop.errors import ServingError
from tuneloop.runtime.progress import SilentProgress
from tuneloop.runtime.serving import ChatRequest, open_engine
from tuneloop.runtime.serving.client import Server, stream_chats


def request(text, **fields):
    return ChatRequest(messages=[{"role": "user", "content": text}], **fields)


def config(url="http://x", **fields):
    return EngineConfig(backend="url", url=url, served_model="m", **fields)


def ask(url, requests, **fields):
    made = dict(
        stream_chats(requests, servers=[Server(url, "k", "m")], config=config(url, **fields))
    )
    return [made[i] for i in range(len(requests))]


def test_answers_come_back_by_position_whatever_order_they_arrive_in():
    def answer(path, body, headers):
        text = body["messages"][0]["content"]
        time.sleep(0.15 if text == "0" else 0)
        return completion(f"re {text}")

    with fake_openai(answer) as (url, _):
        results = ask(url, [request(str(i)) for i in range(6)])
    assert [r.text for r in results] == [f"re {i}" for i in range(6)]
    assert results[0].seconds > 0.14
    assert results[1].n_completion_tokens == 3


def test_no_more_requests_in_flight_than_allowed():
    lock, now, most = threading.Lock(), [0], [0]

    def answer(path, body, headers):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.03)
        with lock:
            now[0] -= 1
        return completion("x")

    with fake_openai(answer) as (url, _):
        ask(url, [request(str(i)) for i in range(12)], max_in_flight=3)
    assert most[0] == 3


def test_request_carries_sampling_and_vllm_extensions():
    with fake_openai(lambda *_: completion("A", top=[("A", -0.1), (" B", -2.5)])) as (url, seen):
        one = request(
            "q",
            sampling=Sampling(temperature=0.5, top_p=0.9, max_tokens=5, seed=3),
            choices=("A", "B"),
            top_logprobs=2,
            continue_final=True,
        )
        result = ask(url, [one])[0]
    body = seen[0][1]
    sampling = {"temperature": 0.5, "top_p": 0.9, "max_tokens": 5, "seed": 3}
    assert body | sampling == body
    assert body["structured_outputs"] == {"choice": ["A", "B"]}
    assert body["continue_final_message"] is True
    assert body["add_generation_prompt"] is False
    assert body["logprobs"] is True
    assert body["top_logprobs"] == 2
    assert [(t.token, t.logprob) for t in result.top_logprobs] == [("A", -0.1), (" B", -2.5)]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (completion(None, refusal="I will not"), "refusal"),
        (completion("", finish="content_filter"), "refusal"),
        (Reply(400, {"error": {"message": "maximum context length is 9"}}), "truncated"),
        (Reply(400, {"error": {"message": "roles must alternate"}}), "rejected"),
        ({"id": "x", "object": "chat.completion", "choices": []}, "transport"),
    ],
)
def test_failures_are_typed(reply, reason):
    def answer(path, body, headers):
        if isinstance(reply, Reply):
            raise reply
        return reply

    with fake_openai(answer) as (url, _):
        result = ask(url, [request("q")])[0]
    assert (result.status, result.reason, result.text) == ("missing", reason, "")


def test_overload_is_retried_and_then_missing():
    calls = []

    def answer(path, body, headers):
        calls.append(body)
        if body["messages"][0]["content"] == "once" and len(calls) > 1:
            return completion("ok")
        raise Reply(503, {"error": {"message": "busy"}})

    with fake_openai(answer) as (url, _):
        assert ask(url, [request("once")])[0].text == "ok"
        calls.clear()
        result = ask(url, [request("always")])[0]
    assert result.reason == "transport"
    assert len(calls) == 3


def test_slow_server_times_out():
    def answer(path, body, headers):
        time.sleep(0.6)
        return completion("late")

    with fake_openai(answer) as (url, _):
        began = time.monotonic()
        result = ask(url, [request("q")], request_timeout_s=0.05)[0]
    assert result.reason == "timeout"
    assert time.monotonic() - began < 60


def test_wrong_key_is_an_error_not_a_missing_answer():
    def answer(path, body, headers):
        raise Reply(401, {"error": {"message": "who are you"}})

    with fake_openai(answer) as (url, _), pytest.raises(ServingError, match="turned the request"):
        ask(url, [request(str(i)) for i in range(5)])


def test_dead_server_is_an_error_through_the_engine(tmp_path):
    with (
        open_engine(
            [], config("http://127.0.0.1:1/v1"), work=tmp_path, progress=SilentProgress()
        ) as engine,
        pytest.raises(ServingError, match="no request was answered"),
    ):
        engine.chat(served(), [request("q")], step="asking")


def test_leaving_early_cancels_what_is_in_flight():
    def answer(path, body, headers):
        time.sleep(0.02 if body["messages"][0]["content"] == "0" else 6)
        return completion("x")

    with fake_openai(answer) as (url, _):
        began = time.monotonic()
        stream = stream_chats(
            [request(str(i)) for i in range(3)],
            servers=[Server(url, "k", "m")],
            config=config(url),
        )
        next(stream)
        stream.close()
        assert time.monotonic() - began < 5


def test_works_inside_a_running_event_loop():
    import asyncio

    async def notebook(url):
        return ask(url, [request("q")])

    with fake_openai(lambda *_: completion("x")) as (url, _):
        assert asyncio.run(notebook(url))[0].text == "x"


def test_key_comes_from_the_named_variable_only(tmp_path, monkeypatch):
    with fake_openai(lambda *_: completion("x")) as (url, seen):
        made = config(url, api_key_env="SOME_KEY")
        monkeypatch.delenv("SOME_KEY", raising=False)
        with open_engine([], made, work=tmp_path, progress=SilentProgress()) as engine:
            with pytest.raises(ServingError, match="SOME_KEY"):
                engine.chat(served(), [request("q")], step="asking")
            monkeypatch.setenv("SOME_KEY", "sesame")
            engine.chat(served(), [request("q")], step="asking")
    assert seen[0][2]["Authorization"] == "Bearer sesame"
    assert "sesame" not in (tmp_path / "answers.jsonl").read_text()


def test_adapter_is_loaded_at_a_url_and_unloaded_after(tmp_path):
    folder = adapter_folder(tmp_path / "adapter")
    tuned = served("tuned", adapter=("a" * 64, folder))
    with fake_openai(lambda path, *_: {} if "lora" in path else completion("x")) as (url, seen):
        with open_engine([], config(url), work=tmp_path, progress=SilentProgress()) as engine:
            engine.chat(tuned, [request("q")], step="asking")
            engine.chat(served(), [request("q")], step="asking")
        calls = [(path.removeprefix("/v1/"), body) for path, body, _ in seen]
    name = "tuneloop-" + "a" * 16
    assert calls[0] == ("load_lora_adapter", {"lora_name": name, "lora_path": str(folder)})
    assert [body["model"] for path, body in calls[1:3]] == [name, "m"]
    assert calls[3] == ("unload_lora_adapter", {"lora_name": name})


def test_url_that_loads_no_adapters_says_what_to_do(tmp_path):
    def answer(path, body, headers):
        raise Reply(404, {"detail": "Not Found"})

    tuned = served("tuned", adapter=("a" * 64, adapter_folder(tmp_path / "adapter")))
    with (
        fake_openai(answer) as (url, _),
        open_engine([], config(url), work=tmp_path, progress=SilentProgress()) as engine,
        pytest.raises(ServingError, match="VLLM_ALLOW_RUNTIME_LORA_UPDATING"),
    ):
        engine.chat(tuned, [request("q")], step="asking")


def down():
    """An address where nobody answers."""
    with fake_openai(lambda *_: completion("x")) as (url, _):
        return url


@pytest.mark.parametrize("first", ["refuses the connection", "always fails"])
def test_a_dead_server_is_left_out_and_its_requests_go_to_the_others(first, monkeypatch):
    monkeypatch.setattr("tuneloop.runtime.serving.client.N_RETRIES", 0)

    def broken(path, body, headers):
        raise Reply(500, {"error": {"message": "engine dead"}})

    def good(path, body, headers):
        time.sleep(0.01)
        return completion("x")

    with fake_openai(broken) as (bad, failed), fake_openai(good) as (url, seen):
        servers = [Server(down() if first.startswith("refuses") else bad, "k", "m")]
        servers.append(Server(url, "k", "m"))
        many = [request(str(i)) for i in range(40)]
        made = dict(stream_chats(many, servers=servers, config=config(url, max_in_flight=4)))
    assert [made[i].text for i in range(40)] == ["x"] * 40
    assert [server.alive for server in servers] == [False, True]
    assert len(failed) <= 8
    assert {b["messages"][0]["content"] for _, b, _ in seen} == {str(i) for i in range(40)}


def test_the_last_server_is_never_given_up():
    servers = [Server(down(), "k", "m"), Server(down(), "k", "m")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tuneloop.runtime.serving.client.N_RETRIES", 0)
        made = dict(stream_chats([request("a"), request("b")], servers=servers, config=config()))
    assert [made[i].reason for i in range(2)] == ["transport"] * 2


def test_requests_are_balanced_over_servers():
    def answer(path, body, headers):
        time.sleep(0.01)
        return completion("x")

    with fake_openai(answer) as (a, seen_a), fake_openai(answer) as (b, seen_b):
        servers = [Server(a, "k", "m"), Server(b, "k", "m")]
        many = [request(str(i)) for i in range(40)]
        assert len(list(stream_chats(many, servers=servers, config=config(max_in_flight=2)))) == 40
    assert min(len(seen_a), len(seen_b)) >= 10


def test_what_follows_is_asked_of_the_same_server_before_anything_new():
    def follow(position, result):
        return request(f"{position}+") if result.text in {"0", "1", "2"} else None

    with fake_openai(lambda p, body, h: completion(body["messages"][0]["content"])) as (url, _):
        stream = stream_chats(
            [request(str(i)) for i in range(3)],
            servers=[Server(url, "k", "m")],
            config=config(url, max_in_flight=1),
            follow=follow,
        )
        assert [(i, r.text) for i, r in stream] == [
            (0, "0"), (0, "0+"), (1, "1"), (1, "1+"), (2, "2"), (2, "2+"),
        ]  # fmt: skip
