"""W&B Weave: calls and the feedback on them, as its API gives them.

Source: https://docs.wandb.ai/weave/reference/service-api
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.answers import read_answer
from tuneloop.lake.chats import read_messages
from tuneloop.lake.compose import has, interaction
from tuneloop.lake.fields import as_text, ident, mapping, nest, parse_json, rest, rows, take
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id
from tuneloop.lake.ratings import judged, opinion, thumb_of, together
from tuneloop.lake.times import UNDATED, parse_time

_MODEL_CALL = re.compile(
    r"completions?\.(create|parse|stream)|messages\.(create|stream)|generate_content|responses\."
    r"(create|parse)|\bchat\b|acompletion|\bcompletion\b|converse|invoke_model", re.I,
)  # fmt: skip
_CALL_IN_REF = re.compile(r"/call/([^/?#]+)")
_SAMPLING = ("temperature", "top_p", "max_tokens", "seed", "stop", "tool_choice")


def recognise(record: Mapping[str, Any]) -> float:
    """A call's operation, or a feedback's type and reference."""
    if has(record, "feedback_type", "payload"):
        return 1.0
    if has(record, "op_name", "inputs") and ("trace_id" in record or "started_at" in record):
        return 1.0
    return 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Return a model call, or a root call that a person saw, then the feedback on it."""
    if "feedback_type" in record:
        return [_feedback(record, "")]
    row = record if isinstance(record.get("inputs"), Mapping | str) else nest(record)
    within = mapping(mapping(row.get("summary")).get("weave")).get("feedback")
    given = rows(row.get("feedback")) or rows(within)
    inputs = mapping(row.get("inputs"))
    model_call = _MODEL_CALL.search(_operation(row)) or isinstance(
        parse_json(inputs.get("messages")), list
    )
    calls = [row] if model_call or not row.get("parent_id") else []
    id = str(row.get("id") or "")
    return together(
        (calls, lambda call: [_call(call, inputs)]),
        (
            given if isinstance(given, list) else [],
            lambda f: [_feedback(mapping(f), id)],
        ),
    )


def _operation(row: Record) -> str:
    name = str(row.get("op_name") or "")
    return name.rsplit("/op/", 1)[-1].split(":", maxsplit=1)[0]


def _call(row: Record, inputs: Record) -> Event:
    asked = rest(inputs, "self", "model")
    system = asked.get("system") or asked.get("instructions")
    prompt = read_messages(system, role="system") if system and "messages" not in asked else []
    prompt += read_messages(asked)
    if not prompt:
        raise UnfitError("no_prompt", "the call has no inputs")
    error = row.get("exception")
    attributes, summary = mapping(row.get("attributes")), mapping(row.get("summary"))
    start, end = take(row, "started_at"), take(row, "ended_at")
    passed = (parse_time(end) - parse_time(start)).total_seconds() if start and end else -1
    request = {
        "tools": rows(inputs.get("tools")),
        "response_format": mapping(inputs.get("response_format")),
        "sampling": {k: inputs[k] for k in _SAMPLING if inputs.get(k) is not None},
    }
    model, usage = inputs.get("model"), mapping(summary.get("usage"))
    trace_id = ident(row.get("trace_id"))
    return interaction(
        str(row.get("id") or content_id("weave", row)),
        prompt,
        {} if error else read_answer(parse_json(row.get("output"))),
        event_ts=start or UNDATED,
        outcome="error" if error else "ok",
        trace_id=trace_id,
        episode_id=trace_id,
        parent_id=ident(row.get("parent_id")),
        session_id=ident(take(row, "thread_id") or take(attributes, "session_id", "thread_id")),
        subject_key=ident(take(attributes, "user_id", "user")),
        system=model if isinstance(model, str) else None,
        request={k: v for k, v in request.items() if v},
        latency_ms=round(passed * 1000, 3) if passed >= 0 else None,
        usage=usage or None,
        extra={"op": _operation(row)} | ({"error": str(error)[:2000]} if error else {}),
    )


def _feedback(row: Record, call_id: str) -> Event:
    """A reaction, a note, an annotation, a scorer's result or a payload of one's own."""
    ref = str(take(row, "call_ref", "weave_ref") or "")
    found = _CALL_IN_REF.search(ref)
    target = found[1] if found else call_id
    if not target:
        raise UnfitError("no_target", "the feedback is on no call")
    kind, payload = str(row.get("feedback_type")), mapping(row.get("payload"))
    said, dimension, by, comment = _said(kind, payload)
    author = take(row, "wb_user_id", "creator")
    return opinion(
        target,
        said,
        id=str(row.get("id") or content_id("weave", row, target)),
        event_ts=row.get("created_at") or UNDATED,
        actor={"kind": by} | ({"id": str(author)} if author and by != "judge" else {}),
        dimension=dimension,
        comment=comment,
        extra=rest(row, "id", "feedback_type", "payload", "created_at", "wb_user_id", "creator",
                   "weave_ref", "call_ref", "project_id") or None,
    )  # fmt: skip


def _said(kind: str, payload: Record) -> tuple[dict[str, Any], str | None, str, str | None]:
    """Return the judgement, its dimension, the kind of its author, and a comment beside it."""
    if kind.startswith("wandb.reaction"):
        emoji = take(payload, "detoned", "emoji", "alias")
        up = thumb_of(emoji)
        if up is None:
            return {"signal": "comment", "value": str(emoji)}, "reaction", "user", None
        return {"signal": "thumb", "value": up}, None, "user", None
    if kind.startswith("wandb.note"):
        return (
            {"signal": "comment", "value": as_text(payload.get("note") or "")},
            None,
            "user",
            None,
        )
    if kind.startswith("wandb.annotation."):
        name = kind.removeprefix("wandb.annotation.")
        return _judgement(payload.get("value"), name), name, "reviewer", None
    if kind.startswith("wandb.runnable."):
        name = kind.removeprefix("wandb.runnable.")
        return _judgement(payload.get("output"), name), name, "judge", _why(payload.get("output"))
    value = take(payload, "value", "score", "rating", "thumbs_up", "correct", "label")
    corrected = take(payload, "correction", "corrected", "expected", "ideal_response")
    if value is None and isinstance(corrected, str):
        return {"signal": "correction", "value": corrected}, kind, "user", None
    return _judgement(payload if value is None else value, kind), kind, "user", _why(payload)


def _judgement(value: Any, name: str) -> dict[str, Any]:
    """Return what a value, or the one judging field of an object, says."""
    if isinstance(value, Mapping):
        inner = take(value, "score", "value", "correct", "passed", "label", "output")
        if inner is None and len(value) == 1:
            inner = next(iter(value.values()))
        if isinstance(inner, bool | int | float | str):
            return judged(inner, name=name)
        return {"signal": "comment", "value": as_text(dict(value))}
    return judged(value, name=name)


def _why(value: Any) -> str | None:
    held = take(value, "reason", "explanation", "comment", "note") if isinstance(
        value, Mapping) else None  # fmt: skip
    return held if isinstance(held, str) else None


FORMAT = Format(
    name="weave",
    title="W&B Weave",
    recognise=recognise,
    convert=convert,
    fields=(
        ("call of a model (op_name), or a root call", "interaction", "others are left out"),
        ("trace_id, thread_id", "trace_id = episode_id, session_id", ""),
        ("inputs, output", "request, response", ""),
        ("exception", "outcome error", ""),
        ("attributes.user_id", "subject_key", ""),
        ("feedback wandb.reaction.1", "thumb", "other signs than thumbs: comment"),
        ("feedback wandb.note.1", "comment", ""),
        ("feedback wandb.annotation.*", "thumb, score or comment, by a reviewer", ""),
        ("feedback wandb.runnable.*", "the same, by a judge", ""),
        ("other types: payload.value, .score, .correction", "the same, by a user", ""),
        ("weave_ref …/call/ID", "target interaction", ""),
    ),
    examples=(
        {
            "id": "0190-c1",
            "project_id": "acme/support",
            "op_name": "weave:///acme/support/op/openai.chat.completions.create:abc",
            "trace_id": "0190-t1",
            "parent_id": "0190-c0",
            "started_at": "2024-06-01T10:00:00Z",
            "ended_at": "2024-06-01T10:00:01.5Z",
            "inputs": {
                "model": "gpt-4o",
                "messages": [{"role": "user", "content": "Is there a night bus?"}],
                "temperature": 0.4,
            },
            "output": {
                "choices": [{"message": {"role": "assistant", "content": "The N3, hourly."}}]
            },
            "attributes": {"user_id": "rider-1"},
            "summary": {"usage": {"gpt-4o": {"prompt_tokens": 9, "completion_tokens": 6}}},
            "exception": None,
            "feedback": [
                {
                    "id": "0190-f0",
                    "feedback_type": "wandb.note.1",
                    "payload": {"note": "right, but say from where"},
                    "created_at": "2024-06-01T10:02:00Z",
                    "weave_ref": "weave:///acme/support/call/0190-c1",
                }
            ],
        },
        {
            "id": "0190-f1",
            "project_id": "acme/support",
            "weave_ref": "weave:///acme/support/call/0190-c1",
            "creator": None,
            "created_at": "2024-06-01T10:01:00Z",
            "feedback_type": "wandb.reaction.1",
            "payload": {"emoji": "👍🏽", "alias": ":thumbs_up_medium_skin_tone:", "detoned": "👍"},
            "wb_user_id": "VXNlcjox",
        },
        {
            "id": "0190-f2",
            "weave_ref": "weave:///acme/support/call/0190-c1",
            "created_at": "2024-06-01T10:03:00Z",
            "feedback_type": "wandb.runnable.politeness",
            "payload": {"output": {"score": 0.8, "reason": "no greeting"}},
        },
    ),
)
