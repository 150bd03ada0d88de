"""OpenAI fine-tuning: chats with weights, and preference rows. It has no unpaired labels.

Source: https://platform.openai.com/docs/guides/fine-tuning
"""

from __future__ import annotations

from typing import Any

from tuneloop.lake.examples import Example, InexpressibleError, Message, Target, one_answer


def express(example: Example) -> dict[str, Any]:
    """Return the row; of the answers in a chat only the last is learned (weight), or all."""
    if not example.has_question:
        raise InexpressibleError("no_prompt")
    tools = {"tools": example.tools} if example.tools else {}
    prompt = [_message(message) for message in example.prompt]
    if example.kind == "preference":
        chosen, rejected = (one_answer(answer) for answer in example.answers)
        return {
            "input": {"messages": prompt, **tools},
            "preferred_output": [_message(chosen)],
            "non_preferred_output": [_message(rejected)],
        }
    if not example.learn_all:
        prompt = [m | ({"weight": 0} if m["role"] == "assistant" else {}) for m in prompt]
    return {"messages": [*prompt, *map(_message, example.answers[0])], **tools}


def _message(message: Message) -> dict[str, Any]:
    said = {k: message[k] for k in ("role", "content", "tool_calls", "tool_call_id", "name")
            if message.get(k)}  # fmt: skip
    if message["role"] != "assistant" or "tool_calls" not in said:
        said.setdefault("content", "")
    return said


TARGET = Target(
    name="openai", suffixes={"sft": (".jsonl",), "preference": (".jsonl",)}, express=express
)
