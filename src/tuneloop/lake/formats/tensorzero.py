"""TensorZero's tables, from ClickHouse or the API: a row an inference or a piece of feedback.

Source: https://www.tensorzero.com/docs/gateway/data-model
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.answers import read_answer
from tuneloop.lake.chats import read_messages, read_system
from tuneloop.lake.compose import Vote, has, interaction, pair
from tuneloop.lake.fields import amount, as_text, ident, mapping, parse_json, rest, rows, take
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id
from tuneloop.lake.parts import Message
from tuneloop.lake.ratings import judged, opinion
from tuneloop.lake.times import UNDATED

_USED = (
    "id", "inference_id", "function_name", "variant_name", "episode_id", "input", "output", "type",
    "inference_params", "processing_time_ms", "ttft_ms", "timestamp", "tags", "tool_params",
    "dynamic_tools", "dispreferred_outputs", "output_schema",
)  # fmt: skip
_TOOL = ("name", "description", "parameters", "strict")
_FEEDBACK = ("id", "target_id", "metric_name", "value", "tags", "timestamp", "target_type",
             "inference_id", "feedback_id", "level")  # fmt: skip


def recognise(record: Mapping[str, Any]) -> float:
    """Columns of one of the six tables."""
    if has(record, "function_name", "variant_name", "episode_id", "input"):
        return 1.0
    if has(record, "target_id", "value") and ("metric_name" in record or "target_type" in record):
        return 1.0
    return 0.9 if has(record, "id", "inference_id", "value") else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Return an inference as an interaction, with its dispreferred outputs as comparisons."""
    if "function_name" in record:
        return _inference(record)
    return _feedback(record)


def _inference(record: Record) -> list[Event]:
    id = str(take(record, "id", "inference_id") or content_id("tensorzero", record))
    tags, params = mapping(record.get("tags")), mapping(record.get("inference_params"))
    more: dict[str, Any] = {
        "event_ts": _when(record, id),
        "episode_id": ident(record.get("episode_id")),
        "task": ident(record["function_name"]),
        "system": ident(record.get("variant_name")),
        "subject_key": ident(tags.get("user_id")),
        "latency_ms": amount(record.get("processing_time_ms")),
        "ttft_ms": amount(record.get("ttft_ms")),
        "request": _request(record, params),
        "tags": [f"{k}={v}" for k, v in sorted(tags.items()) if k != "user_id"] or None,
        "extra": rest(record, *_USED) or None,
    }
    prompt, answer = _prompt(record.get("input")), read_answer(parse_json(record.get("output")))
    worse = parse_json(record.get("dispreferred_outputs"))
    if not isinstance(worse, list) or not worse:
        return [interaction(id, prompt, answer, **more)]
    # What was preferred is a demonstration; what the variant answered is what it was preferred to.
    systems = (None, more.pop("system"))
    others = [read_answer(parse_json(output)) for output in worse]
    return [
        event
        for n, other in enumerate(others)
        for event in pair(
            f"{id}-{n}", prompt, (answer, other), [Vote("a")], systems=systems, **more
        )
    ]


def _request(record: Record, params: Mapping[str, Any]) -> dict[str, Any]:
    held = mapping(record.get("tool_params"))
    offered = rows(held.get("tools_available")) or rows(record.get("dynamic_tools"))
    tools = [
        {"type": "function", "function": {k: tool[k] for k in _TOOL if k in tool}}
        for tool in offered
    ]
    sampling = params.get("chat_completion", params)
    schema = mapping(record.get("output_schema"))
    shaped = {"type": "json_schema", "json_schema": {"schema": schema}} if schema else None
    return {k: v for k, v in (("tools", tools), ("sampling", sampling),
                              ("response_format", shaped)) if v}  # fmt: skip


def _prompt(value: Any) -> list[Message]:
    given = mapping(value)
    prompt = read_system(given.get("system")) + read_messages(given.get("messages"))
    if not prompt:
        raise UnfitError("no_prompt", "the input has no messages")
    return prompt


def _feedback(record: Record) -> list[Event]:
    id = str(take(record, "id", "feedback_id") or content_id("tensorzero", record))
    value, tags = record.get("value"), mapping(record.get("tags"))
    user = {"id": str(tags["user_id"])} if tags.get("user_id") else {}
    human = str(tags.get("tensorzero::human_feedback")).lower() == "true"
    machine = any(k.startswith("tensorzero::evalua") for k in tags) and not human
    more: dict[str, Any] = {
        "event_ts": _when(record, id),
        "actor": {"kind": "judge" if machine else "reviewer" if human else "user"} | user,
        "extra": rest(record, *_FEEDBACK) | ({"tags": rest(tags, "user_id")} if tags else {}),
    }
    if "metric_name" not in record and "inference_id" in record:
        text = read_answer(parse_json(value)).get("content")
        if not text:
            raise UnfitError("no_text", "the demonstration calls tools and says nothing")
        more["actor"]["kind"] = "judge" if machine else "reviewer"
        said = {"signal": "correction", "value": text}
        return [opinion(_target(record), said, id=id, **more)]
    name = record.get("metric_name")
    said = judged(value, name=name) if name else {"signal": "comment", "value": as_text(value)}
    kind = str(take(record, "target_type", "level") or "").lower()
    target = _target(record)
    more |= {"dimension": name}
    if kind in ("inference", "episode"):
        about = "episode" if kind == "episode" else "interaction"
        return [opinion(target, said, id=id, kind=about, **more)]
    # A metric's level is in the gateway's config, not in the row. Ids are unique among inferences
    # and episodes, so that of the two only one finds what it is about.
    more["metadata"] = {"level": "unstated"}
    return [
        opinion(target, said, id=id, **more),
        opinion(target, said, id=f"{id}-episode", kind="episode", **more),
    ]


def _target(record: Record) -> str:
    target = ident(take(record, "target_id", "inference_id", "episode_id"))
    if target is None:
        raise UnfitError("no_target", "the feedback names nothing it is about")
    return target


def _when(record: Record, id: str) -> Any:
    """Return the row's time: stated, or the milliseconds in a UUID of version 7."""
    if record.get("timestamp"):
        return record["timestamp"]
    digits = id.replace("-", "")
    if len(digits) == 32 and digits[12] == "7":
        try:
            return int(digits[:12], 16)
        except ValueError:
            return UNDATED
    return UNDATED


FORMAT = Format(
    name="tensorzero",
    title="TensorZero",
    recognise=recognise,
    convert=convert,
    fields=(
        ("id (inference)", "id", "its UUID holds the time where `timestamp` is missing"),
        ("episode_id", "episode_id", ""),
        ("function_name, variant_name", "task, system", ""),
        ("input.system, input.messages", "request.messages", "objects or JSON"),
        ("output", "response", "content blocks, or the raw text of a JSON function"),
        ("tool_params, inference_params, output_schema", "request.tools, sampling", ""),
        ("processing_time_ms, ttft_ms", "latency_ms, ttft_ms", ""),
        ("tags.user_id", "subject_key", "other tags become tags"),
        ("dispreferred_outputs[]", "preference", "against `output`"),
        ("metric_name, value (boolean)", "thumb", "turned round where the name is a fault's"),
        ("metric_name, value (float)", "score", ""),
        ("target_type", "target.kind", "metrics do not state theirs: both are tried"),
        ("comment", "comment", ""),
        ("inference_id, value (demonstration)", "correction by a reviewer", ""),
    ),
    examples=(
        {
            "id": "018f5a2e-7c00-7a11-8000-000000000001",
            "function_name": "draft_reply",
            "variant_name": "gpt_4o_mini",
            "episode_id": "018f5a2e-7bff-7a11-8000-0000000000aa",
            "input": '{"system": "You answer mail.", "messages": [{"role": "user", '
            '"content": [{"type": "text", "text": "Is it in stock?"}]}]}',
            "output": '[{"type": "text", "text": "It is."}]',
            "tool_params": "",
            "inference_params": '{"chat_completion": {"temperature": 0.5}}',
            "processing_time_ms": 812,
            "timestamp": "2024-05-08 20:49:28",
            "tags": {"user_id": "u-9", "channel": "mail"},
            "ttft_ms": None,
        },
        {
            "id": "018f5a2e-7c00-7a11-8000-000000000002",
            "function_name": "extract",
            "variant_name": "haiku",
            "episode_id": "018f5a2e-7bff-7a11-8000-0000000000ab",
            "input": {"messages": [{"role": "user", "content": "Anna from Ulm"}]},
            "output": {"raw": '{"name": "Anna"}', "parsed": {"name": "Anna"}},
            "output_schema": '{"type": "object"}',
            "inference_params": {},
            "processing_time_ms": 400,
            "tags": {},
        },
        {
            "id": "018f5a2e-9000-7a11-8000-000000000003",
            "target_id": "018f5a2e-7bff-7a11-8000-0000000000aa",
            "metric_name": "task_solved",
            "value": True,
            "tags": {},
        },
        {
            "id": "018f5a2e-9000-7a11-8000-000000000004",
            "target_id": "018f5a2e-7c00-7a11-8000-000000000001",
            "metric_name": "politeness",
            "value": 0.9,
            "tags": {"tensorzero::evaluator_inference_id": "018f5a2e"},
        },
        {
            "id": "018f5a2e-9000-7a11-8000-000000000005",
            "target_id": "018f5a2e-7bff-7a11-8000-0000000000aa",
            "target_type": "episode",
            "value": "quick and right",
            "tags": {},
        },
        {
            "id": "018f5a2e-9000-7a11-8000-000000000006",
            "inference_id": "018f5a2e-7c00-7a11-8000-000000000001",
            "value": '[{"type": "text", "text": "Yes, three are left."}]',
            "tags": {},
        },
    ),
)
