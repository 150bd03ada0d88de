"""Why generation stopped is kept, in whatever words it was logged."""

import pytest

from tuneloop.lake.answers import read_answer
from tuneloop.lake.format import Source, formats

SAID = {"role": "assistant", "content": "Because"}
TEXT = [{"type": "text", "text": "Because"}]
STOPPED = {
    "chat": ({"choices": [{"finish_reason": "length", "message": SAID}]}, "length"),
    "responses": (
        {"object": "response", "status": "incomplete",
         "incomplete_details": {"reason": "max_output_tokens"},
         "output": [{"type": "message", "role": "assistant",
                     "content": [{"type": "output_text", "text": "Because"}]}]},
        "max_output_tokens",
    ),
    "anthropic": (
        {"type": "message", "role": "assistant", "content": TEXT, "stop_reason": "max_tokens"},
        "max_tokens",
    ),
    "gemini": (
        {"candidates": [{"content": {"role": "model", "parts": [{"text": "Because"}]},
                         "finishReason": "MAX_TOKENS"}]},
        "MAX_TOKENS",
    ),
    "langchain": (SAID | {"response_metadata": {"finish_reason": "length"}}, "length"),
    "message": (SAID | {"finish_reason": "length"}, "length"),
}  # fmt: skip


@pytest.mark.parametrize("dialect", STOPPED)
def test_the_reason_is_kept(dialect):
    value, reason = STOPPED[dialect]
    answer = read_answer(value)
    assert answer["content"] == "Because"
    assert answer["extra"]["finish_reason"] == reason


def test_what_is_no_reason_is_none():
    assert read_answer(SAID | {"finish_reason": {"type": "length"}}).get("extra", {}) == {}
    assert "extra" not in read_answer({"answer": "Because", "finish_reason": None})


def test_spans_state_it_beside_the_answer():
    span = {
        "trace_id": "t", "span_id": "s", "start_time": 1717236000,
        "attributes": {
            "gen_ai.operation.name": "chat",
            "gen_ai.input.messages": [{"role": "user", "content": "Why?"}],
            "gen_ai.output.messages": [SAID],
            "gen_ai.response.finish_reasons": ["length"],
        },
    }  # fmt: skip
    (event,) = formats()["otel"].convert(span, Source(""))
    assert event["response"]["extra"]["finish_reason"] == "length"
