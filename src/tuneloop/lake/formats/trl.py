"""TRL's dataset types: language modelling, prompt and completion, preference, unpaired (KTO).

Standard (texts) and conversational (messages), with the prompt stated or implied.
Source: https://huggingface.co/docs/trl/dataset_formats
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.answers import read_answer, split_answer
from tuneloop.lake.chats import is_chat, parse_chat, read_messages
from tuneloop.lake.compose import Vote, feedback, has, interaction, pair
from tuneloop.lake.fields import parse_json, rest, rows
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id
from tuneloop.lake.parts import Message
from tuneloop.lake.ratings import demonstration

_USED = ("prompt", "completion", "chosen", "rejected", "label", "messages", "text", "tools")
_COLUMNS = {*_USED, "completions", "labels", "chat_template_kwargs", "images", "image"}
_SHAPES = (
    ({"prompt", "completion", "label"}, 0.9),
    ({"prompt", "chosen", "rejected"}, 0.8),
    ({"prompt", "completion"}, 0.8),
    ({"prompt", "completions", "labels"}, 0.9),
    ({"chosen", "rejected"}, 0.75),
    ({"messages"}, 0.4),
    ({"text"}, 0.6),
    ({"prompt"}, 0.6),
)


def recognise(record: Mapping[str, Any]) -> float:
    """Columns of one shape; the fewer others beside them, the surer."""
    text = record.get("chosen")
    if isinstance(text, str) and text.lstrip().startswith("Human:") and "prompt" not in record:
        return 0.1  # HH-RLHF
    for shape, score in _SHAPES:
        if record.keys() >= shape:
            return score if record.keys() <= _COLUMNS else 0.7 * score
    return 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Return what the row's shape says: an accepted answer, a labelled one, or two compared."""
    values = {name: parse_chat(record[name]) for name in _USED if record.get(name) is not None}
    id = content_id("trl", record)
    more: dict[str, Any] = {
        "request": {"tools": tools} if (tools := rows(record.get("tools"))) else {},
        "extra": rest(record, *_USED) or None,
    }
    if has(values, "chosen", "rejected"):
        before, answers = _compared(values)
        return pair(id, before, answers, [Vote("a")], **more)
    if "completion" in values:
        prompt = _prompt(values.get("prompt"))
        completion = read_messages(values["completion"], role="assistant")
        prompt, response = split_answer(prompt + completion)
        event = interaction(id, prompt, response, **more)
        if "label" not in values:
            return [event, demonstration(id)]
        return [event, _labelled(id, values["label"])]
    if "messages" in values:
        prompt, response = split_answer(read_messages(values["messages"]))
        return [interaction(id, prompt, response, **more), demonstration(id)]
    if isinstance(values.get("text"), str):
        # Without a question: the text is the answer to nothing.
        return [interaction(id, "", read_answer(values["text"]), **more), demonstration(id)]
    if has(record, "completions", "labels"):
        return _steps(id, values, record, more)
    raise UnfitError("no_answer", "the row has a prompt alone")


def _steps(id: str, values: Mapping[str, Any], record: Record, more: dict[str, Any]) -> list[Event]:
    """Return an answer in steps, which is right where every step is."""
    steps, labels = parse_json(record["completions"]), parse_json(record["labels"])
    if not isinstance(steps, list) or not isinstance(labels, list) or not labels:
        raise UnfitError("bad_label", "completions and labels are not lists")
    if not all(isinstance(step, str) for step in steps):
        raise UnfitError("not_text", "a step is no text")
    answer = "".join(f"\n{s}" if n and not s[:1].isspace() else s for n, s in enumerate(steps))
    event = interaction(id, _prompt(values.get("prompt")), read_answer(answer), **more)
    label = _labelled(id, all(_truth(label) for label in labels))
    return [event, label | {"metadata": {"steps": len(steps), "labels": labels}}]


def _prompt(value: Any) -> list[Message]:
    prompt = read_messages(value)
    if not prompt:
        raise UnfitError("no_prompt", "the prompt is empty")
    return prompt


def _labelled(id: str, label: Any) -> Event:
    return feedback(f"{id}-label", id, "thumb", _truth(label), actor={"kind": "reviewer"})


def _truth(label: Any) -> bool:
    truth = {"true": True, "false": False, "1": True, "0": False}.get(str(label).strip().lower())
    if truth is None:
        raise UnfitError("bad_label", f"the label {str(label)[:40]!r} is neither true nor false")
    return truth


def _compared(values: Mapping[str, Any]) -> tuple[tuple[list[Message], list[Message]], Any]:
    """Return what came before each answer, and both; an implied prompt is what they share.

    Answers of several messages are continuations: their last one is the answer, and what comes
    before it its own context.
    """
    chosen, rejected = values["chosen"], values["rejected"]
    stated = read_messages(values.get("prompt"))
    if is_chat(chosen) and is_chat(rejected):
        sides = [read_messages(side) for side in (chosen, rejected)]
        if not stated and not _common(*sides):
            raise UnfitError("no_prompt", "both conversations differ from the first message on")
        if not stated or all(side[: len(stated)] != stated for side in sides):
            sides = [stated + side for side in sides]
        (before, better), (before_too, worse) = map(split_answer, sides)
        return (before, before_too), (better, worse)
    if not stated and isinstance(chosen, str) and isinstance(rejected, str):
        shared = _common(chosen, rejected)
        while shared and not chosen[shared - 1].isspace():
            shared -= 1  # not within a word
        stated = read_messages(chosen[:shared].rstrip())
        chosen, rejected = chosen[shared:], rejected[shared:]
    if not stated:
        raise UnfitError("no_prompt", "there is no prompt, stated or implied")
    return (stated, stated), (read_answer(chosen), read_answer(rejected))


def _common(first: Any, second: Any) -> int:
    for n, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return n
    return min(len(first), len(second))


FORMAT = Format(
    name="trl",
    title="TRL",
    recognise=recognise,
    convert=convert,
    fields=(
        ("prompt + completion", "interaction, thumb +1 (demonstration)", "texts or messages"),
        ("prompt + completion + label", "interaction, thumb", "KTO"),
        ("prompt + completions + labels", "interaction, thumb", "+1 where every step is right"),
        ("prompt + chosen + rejected", "two interactions, preference", ""),
        ("chosen + rejected", "the same", "the prompt is what both begin with"),
        ("messages", "interaction, thumb +1 (demonstration)", "the last turn is the answer"),
        ("text", "interaction without a question", ""),
        ("prompt alone", "refused: no_answer", ""),
        ("tools", "request.tools", ""),
    ),
    examples=(
        {"prompt": "The sky is", "completion": " blue."},
        {
            "prompt": [{"role": "user", "content": "What colour is the sky?"}],
            "completion": [{"role": "assistant", "content": "It is blue."}],
            "label": True,
        },
        {"prompt": "The sun is", "completion": " cold.", "label": False},
        {
            "prompt": [{"role": "user", "content": "What colour is grass?"}],
            "chosen": [{"role": "assistant", "content": "Green."}],
            "rejected": [{"role": "assistant", "content": "Loud."}],
        },
        {
            "prompt": "Is 8 a cube?",
            "completions": ["Cubes are 1, 8, 27 and so on.", "So it is none."],
            "labels": [True, False],
        },
        {"prompt": "Two and two is", "chosen": " four.", "rejected": " five."},
        {
            "chosen": [
                {"role": "user", "content": "Name a river."},
                {"role": "assistant", "content": "The Rhine."},
            ],
            "rejected": [
                {"role": "user", "content": "Name a river."},
                {"role": "assistant", "content": "The Alps."},
            ],
        },
        {"chosen": "The moon is round.", "rejected": "The moon is flat."},
    ),
)
