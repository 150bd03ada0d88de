"""Axolotl: `chat_template` chats, `chat_template.default` pairs, and KTO as plain texts.

Source: https://docs.axolotl.ai/docs/dataset-formats/conversation.html, …/docs/rlhf.html
"""

from __future__ import annotations

from typing import Any

from tuneloop.lake.examples import (
    Example,
    InexpressibleError,
    Message,
    Target,
    one_answer,
    text_content,
)


def express(example: Example) -> dict[str, Any]:
    """Return the row; `train` says which turns of a chat are learned."""
    if not example.has_question:
        raise InexpressibleError("no_prompt")
    tools = {"tools": example.tools} if example.tools else {}
    prompt = [_message(message) for message in example.prompt]
    if example.kind == "preference":
        if tools or any(message.get("tool_calls") for message in example.all_messages):
            raise InexpressibleError("tools")
        chosen, rejected = (_message(one_answer(answer)) for answer in example.answers)
        return {"messages": prompt, "chosen": chosen, "rejected": rejected}
    if example.kind == "kto":
        return _kto(example)
    answer = [_message(message) | {"train": True} for message in example.answers[0]]
    learned = [m["role"] == "assistant" and example.learn_all for m in prompt]
    earlier = [m | {"train": train} for m, train in zip(prompt, learned, strict=True)]
    return {"messages": [*earlier, *answer], **tools}


def _kto(example: Example) -> dict[str, Any]:
    """Return plain texts: a question and an answer, perhaps a system prompt."""
    if example.tools or any(message.get("tool_calls") for message in example.all_messages):
        raise InexpressibleError("tools")
    system = [m for m in example.prompt if m["role"] in ("system", "developer")]
    asked = [m for m in example.prompt if m not in system]
    if len(asked) != 1 or len(system) > 1 or example.prompt[-1]["role"] != "user":
        raise InexpressibleError("several_turns")
    return {
        **({"system": text_content(system[0])} if system else {}),
        "prompt": text_content(asked[0]),
        "completion": text_content(one_answer(example.answers[0])),
        "label": example.label,
    }


def _message(message: Message) -> dict[str, Any]:
    said: dict[str, Any] = {"role": message["role"], "content": text_content(message)}
    if message.get("reasoning"):
        said["reasoning_content"] = message["reasoning"]
    return said | {k: message[k] for k in ("tool_calls", "tool_call_id", "name") if message.get(k)}


_SUFFIXES = (".jsonl", ".json")
TARGET = Target(
    name="axolotl",
    suffixes={"sft": _SUFFIXES, "preference": _SUFFIXES, "kto": _SUFFIXES},
    express=express,
    reasoning=True,
)
