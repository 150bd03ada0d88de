"""One chat in every dialect is the same chat."""

import json

import pytest

from tuneloop.lake.answers import read_answer, split_answer
from tuneloop.lake.chats import read_messages
from tuneloop.lake.format import UnfitError

CALL = {
    "id": "c1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"at": "Oslo"}'},
}
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Rain?"},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": "4 °C", "tool_call_id": "c1"},
    {"role": "assistant", "content": "No."},
]
ARGS = {"at": "Oslo"}
OPENAI = [*CHAT[:2], {"role": "assistant", "tool_calls": [CALL]}, *CHAT[3:]]
OBJECTS = json.loads(json.dumps(OPENAI))
OBJECTS[2]["tool_calls"][0]["function"]["arguments"] = ARGS
OTEL = [
    {"role": "system", "parts": [{"type": "text", "content": "Be brief."}]},
    {"role": "user", "parts": [{"type": "text", "content": "Rain?"}]},
    {"role": "assistant",
     "parts": [{"type": "tool_call", "id": "c1", "name": "weather", "arguments": ARGS}]},
    {"role": "tool", "parts": [{"type": "tool_call_response", "id": "c1", "response": "4 °C"}]},
    {"role": "assistant", "parts": [{"type": "text", "content": "No."}], "finish_reason": "stop"},
]  # fmt: skip
ANTHROPIC = {
    "system": "Be brief.",
    "messages": [
        {"role": "user", "content": [{"type": "text", "text": "Rain?"}]},
        {"role": "assistant",
         "content": [{"type": "tool_use", "id": "c1", "name": "weather", "input": ARGS}]},
        {"role": "user",
         "content": [{"type": "tool_result", "tool_use_id": "c1",
                      "content": [{"type": "text", "text": "4 °C"}]}]},
        {"role": "assistant", "content": [{"type": "text", "text": "No."}]},
    ],
}  # fmt: skip
TENSORZERO = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": [{"type": "text", "value": "Rain?"}]},
    {"role": "assistant",
     "content": [{"type": "tool_call", "id": "c1", "name": "weather", "arguments": ARGS}]},
    {"role": "user", "content": [{"type": "tool_result", "id": "c1", "result": "4 °C"}]},
    {"role": "assistant", "content": [{"type": "text", "text": "No."}]},
]  # fmt: skip
OPENINFERENCE = [
    {"message": {"role": "system", "content": "Be brief."}},
    {"message.role": "user",
     "message.contents": [{"message_content.type": "text", "message_content.text": "Rain?"}]},
    {"message.role": "assistant",
     "message.tool_calls": [{"tool_call.id": "c1", "tool_call.function.name": "weather",
                             "tool_call.function.arguments": '{"at": "Oslo"}'}]},
    {"message.role": "tool", "message.content": "4 °C", "message.tool_call_id": "c1"},
    {"message": {"role": "assistant", "content": "No."}},
]  # fmt: skip
LANGCHAIN = [[
    {"lc": 1, "id": ["langchain", "SystemMessage"], "kwargs": {"content": "Be brief."}},
    {"type": "human", "content": "Rain?"},
    {"lc": 1, "id": ["langchain", "AIMessage"],
     "kwargs": {"content": "", "tool_calls": [{"name": "weather", "args": ARGS, "id": "c1"}]}},
    {"type": "tool", "data": {"content": "4 °C", "tool_call_id": "c1"}},
    {"lc": 1, "id": ["langchain", "AIMessageChunk"], "kwargs": {"content": "No."}},
]]  # fmt: skip
RESPONSES = [
    {"role": "system", "content": [{"type": "input_text", "text": "Be brief."}]},
    {"role": "user", "content": [{"type": "input_text", "text": "Rain?"}]},
    {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"at": "Oslo"}'},
    {"type": "function_call_output", "call_id": "c1", "output": "4 °C"},
    {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "No."}]},
]
DIALECTS = {
    "openai": OPENAI, "objects": OBJECTS, "otel": OTEL, "anthropic": ANTHROPIC,
    "tensorzero": TENSORZERO, "openinference": OPENINFERENCE, "langchain": LANGCHAIN,
    "responses": RESPONSES, "json": json.dumps(OPENAI), "wrapped": {"messages": OPENAI},
}  # fmt: skip


def plain(messages):
    """What was said, without what the dialect adds; arguments by meaning."""
    out = []
    for message in messages:
        said = {k: v for k, v in message.items() if k != "extra" and v not in (None, "")}
        said["tool_calls"] = [
            (call.get("id"), call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in message.get("tool_calls", [])
        ]
        out.append(said)
    return out


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_dialect_says_the_same(dialect):
    assert plain(read_messages(DIALECTS[dialect])) == plain(CHAT)


def test_turns_of_other_names():
    shared = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    gemini = [
        {"role": "user", "parts": [{"text": "Hi"}]},
        {"role": "model", "parts": [{"text": "Hello"}]},
    ]
    both = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert read_messages(shared) == read_messages(gemini) == both


def test_pictures_and_reasoning_stay():
    data = {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": "aGk="},
    }
    uri = {"type": "uri", "modality": "image", "uri": "https://example.org/a.png"}
    (asked,) = read_messages(
        [{"role": "user", "content": [{"type": "text", "text": "?"}, data, uri]}]
    )
    urls = [part["image_url"]["url"] for part in asked["content"][1:]]
    assert urls == ["data:image/png;base64,aGk=", "https://example.org/a.png"]
    thought = {"role": "assistant", "content": [{"type": "thinking", "thinking": "so"},
                                                {"type": "text", "text": "yes"}]}  # fmt: skip
    assert read_answer(thought) == {"content": "yes", "reasoning": "so"}
    assert read_answer({"role": "assistant", "content": "yes", "reasoning_content": "so"}) == {
        "content": "yes",
        "reasoning": "so",
    }


@pytest.mark.parametrize(
    "said",
    [
        "Yes.",
        {"role": "assistant", "content": "Yes."},
        {"choices": [{"message": {"role": "assistant", "content": "Yes."}}]},
        {"choices": [{"text": "Yes."}]},
        {"generations": [[{"text": "Yes.", "generation_info": None}]], "llm_output": None},
        {"messages": [{"role": "user", "content": "?"}, {"role": "assistant", "content": "Yes."}]},
        {"output": [{"type": "reasoning", "summary": []},
                    {"type": "message", "role": "assistant",
                     "content": [{"type": "output_text", "text": "Yes."}]}]},
        {"role": "assistant", "type": "message", "content": [{"type": "text", "text": "Yes."}]},
        [{"type": "text", "text": "Yes."}],
        {"output": "Yes."},
        '{"role": "assistant", "content": "Yes."}',
    ],
)  # fmt: skip
def test_every_answer_says_yes(said):
    assert read_answer(said)["content"] == "Yes."


@pytest.mark.parametrize("text", ['{"name": "Anna"}', "[1, 2]", "{not json", '["a", "b"]'])
def test_an_answer_that_is_json_stays_what_was_said(text):
    assert read_answer(text) == {"content": text}
    assert read_messages(text) == [{"role": "user", "content": text}]


def test_no_answer_is_refused_and_an_empty_one_is_not():
    for nothing in (None, [], {}, {"choices": []}, {"role": "assistant", "content": None}):
        with pytest.raises(UnfitError, match="no_answer"):
            read_answer(nothing)
    assert read_answer("") == {"content": ""}
    assert read_answer({"role": "assistant", "content": ""}) == {"content": ""}
    with pytest.raises(UnfitError, match="no_prompt"):
        split_answer([{"role": "system", "content": "x"}, {"role": "assistant", "content": "y"}])
    with pytest.raises(UnfitError, match="no_answer"):
        split_answer(read_messages("a question alone"))


def test_other_candidates_are_kept_beside():
    both = {"choices": [{"message": {"role": "assistant", "content": c}} for c in ("one", "two")]}
    answer = read_answer(both)
    assert answer["content"] == "one"
    assert answer["extra"]["other_choices"][0]["message"]["content"] == "two"


def test_an_unknown_role_is_named():
    with pytest.raises(UnfitError, match="narrator"):
        read_messages([{"role": "narrator", "content": "Once"}])
