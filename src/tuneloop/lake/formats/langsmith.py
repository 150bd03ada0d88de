"""LangSmith: runs and feedback, from the SDK, the API or the bulk export.

Source: https://docs.langchain.com/langsmith/run-data-format, …/feedback-data-format
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.answers import read_answer
from tuneloop.lake.chats import read_messages
from tuneloop.lake.compose import has, interaction, number_of
from tuneloop.lake.fields import as_text, ident, mapping, parse_json, rest, rows, take, texts
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id
from tuneloop.lake.ratings import actor_of, judged, opinion, revision, together
from tuneloop.lake.times import UNDATED, parse_time

_THREADS = ("session_id", "thread_id", "conversation_id")
_PEOPLE = ("user_id", "user", "end_user_id")
_RUN = (
    "id", "run_type", "inputs", "outputs", "start_time", "end_time", "error", "extra", "tags",
    "trace_id", "parent_run_id", "prompt_tokens", "completion_tokens", "total_tokens", "total_cost",
    "first_token_time", "child_runs", "feedback", "events", "serialized", "dotted_order", "status",
)  # fmt: skip
_FEEDBACK = (
    "id", "run_id", "trace_id", "key", "score", "value", "comment", "correction", "feedback_source",
    "created_at", "modified_at", "feedback_config", "extra",
)  # fmt: skip


def recognise(record: Mapping[str, Any]) -> float:
    """A run with its type, or feedback with a key on a run."""
    if has(record, "run_type", "inputs"):
        return 1.0 if {"trace_id", "dotted_order", "outputs", "start_time"} & record.keys() else 0.7
    if has(record, "run_id", "key") and {"score", "value", "comment", "correction"} & record.keys():
        return 1.0
    return 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Return model calls and roots as interactions, then the feedback on them."""
    if "run_type" not in record:
        return _feedback(record)
    runs = list(_unfold(record))
    given = [
        {"run_id": run.get("id"), "trace_id": run.get("trace_id")} | one
        for run in runs
        for one in rows(run.get("feedback"))
    ]
    calls = [run for run in runs if run.get("run_type") in ("llm", "chat_model")]
    root = not record.get("parent_run_id") and record.get("outputs")
    if not calls and root:
        calls = [record]  # what a person saw, where the calls below were exported apart
    return together((calls, lambda run: [_call(run, record)]), (given, _feedback))


def _unfold(run: Record) -> Iterable[Record]:
    yield run
    for child in rows(run.get("child_runs")):
        yield from _unfold(child)


def _call(run: Record, root: Record) -> Event:
    inputs, extra = mapping(run.get("inputs")), mapping(run.get("extra"))
    metadata = mapping(mapping(root.get("extra")).get("metadata")) | mapping(extra.get("metadata"))
    params = mapping(extra.get("invocation_params"))
    prompt = read_messages(inputs)
    if not prompt:
        raise UnfitError("no_prompt", "the inputs are empty")
    error = run.get("error")
    sampling = {k: v for k, v in params.items() if isinstance(v, int | float | str)}
    request = {"tools": rows(params.get("tools") or inputs.get("tools")), "sampling": sampling}
    tokens = ("prompt_tokens", "completion_tokens", "total_tokens")
    trace_id = ident(run.get("trace_id") or root.get("trace_id") or root.get("id"))
    start, end, first = (run.get(k) for k in ("start_time", "end_time", "first_token_time"))
    return interaction(
        str(run.get("id") or content_id("langsmith", run)),
        prompt,
        {} if error else read_answer(parse_json(run.get("outputs"))),
        event_ts=start or root.get("start_time") or UNDATED,
        outcome="error" if error else "ok",
        trace_id=trace_id,
        episode_id=trace_id,
        parent_id=ident(run.get("parent_run_id")),
        session_id=ident(take(metadata, *_THREADS)),
        subject_key=ident(take(metadata, *_PEOPLE)),
        system=ident(take(metadata, "ls_model_name") or take(params, "model", "model_name")),
        request={k: v for k, v in request.items() if v},
        latency_ms=_between_ms(start, end),
        ttft_ms=_between_ms(start, first),
        usage={k: run[k] for k in tokens if run.get(k) is not None} or None,
        cost=number_of(run.get("total_cost")),
        tags=texts(run.get("tags")),
        extra=rest(run, *_RUN)
        | ({"error": str(error)[:2000]} if error else {})
        | ({"metadata": rest(metadata, *_PEOPLE, *_THREADS)} if metadata else {}),
    )


def _between_ms(start: Any, end: Any) -> float | None:
    if not start or not end:
        return None
    passed = (parse_time(end) - parse_time(start)).total_seconds() * 1000
    return round(passed, 3) if passed >= 0 else None


def _feedback(row: Record) -> list[Event]:
    """A score, a label, a correction or a comment; a score and a correction are two."""
    run = ident(row.get("run_id"))
    if run is None:
        raise UnfitError("no_target", "the feedback is on no run")
    id = str(row.get("id") or content_id("langsmith", row))
    source, config = mapping(row.get("feedback_source")), mapping(row.get("feedback_config"))
    name, comment = row.get("key"), row.get("comment") or None
    value = take(row, "score", "value")
    corrected = _text_of(parse_json(row.get("correction")))
    said: list[dict[str, Any]] = []
    if value is not None:
        value = parse_json(value)
        scale = (config.get("min"), config.get("max"))
        said.append(
            judged(value, name=name, scale=scale)
            if isinstance(value, bool | int | float | str)
            else {"signal": "comment", "value": as_text(value)}
        )
    if corrected:
        said.append({"signal": "correction", "value": corrected})
    if not said and comment:
        said = [{"signal": "comment", "value": as_text(comment)}]
    if not said:
        raise UnfitError("no_value", "the feedback has no score, value, comment or correction")
    # The root of a trace has the trace's id: what is said of it is said of the whole.
    kind = "episode" if run == ident(row.get("trace_id")) else "interaction"
    author = source.get("user_id") or mapping(source.get("metadata")).get("user_id")
    metadata = rest(mapping(source.get("metadata")), "user_id")
    more: dict[str, Any] = {
        "event_ts": row.get("created_at") or UNDATED,
        "actor": actor_of(source.get("type") or "api", author),
        "dimension": name,
        "extra": rest(row, *_FEEDBACK) or None,
    } | revision(row.get("created_at"), row.get("modified_at"))
    return [
        opinion(
            run,
            one,
            id=id if n == 0 else f"{id}-{one['signal']}",
            kind=kind,
            comment=comment if n == 0 else None,
            metadata=metadata,
            **more,
        )
        for n, one in enumerate(said)
    ]


def _text_of(correction: Any) -> str | None:
    """Return the corrected text: the one text in what was given, or all of it as JSON."""
    if isinstance(correction, Mapping):
        texts = [v for v in correction.values() if isinstance(v, str)]
        return texts[0] if len(correction) == len(texts) == 1 else as_text(dict(correction) or "")
    return as_text(correction) if correction else None


FORMAT = Format(
    name="langsmith",
    title="LangSmith",
    recognise=recognise,
    convert=convert,
    fields=(
        ("run (llm)", "interaction", "child_runs are unfolded; chains and tools are left out"),
        ("run (root) without llm runs inside", "interaction", "from its inputs and outputs"),
        ("trace_id", "trace_id, episode_id", ""),
        ("extra.metadata.session_id | thread_id | conversation_id", "session_id", ""),
        ("extra.metadata.user_id", "subject_key", ""),
        ("inputs, outputs", "request.messages, response", "LangChain's and OpenAI's forms"),
        ("extra.invocation_params", "request.tools, request.sampling, system", ""),
        ("error", "outcome error", ""),
        ("feedback: key", "dimension", ""),
        ("feedback: score, value", "score, thumb or comment", "scale from feedback_config"),
        ("feedback: correction", "correction", ""),
        ("feedback: run_id = trace_id", "target episode", "else the interaction"),
        ("feedback_source.type app, api, model", "actor reviewer, user, judge", ""),
    ),
    examples=(
        {
            "id": "run-2",
            "name": "ChatOpenAI",
            "run_type": "llm",
            "start_time": "2024-06-01T10:00:00.100000",
            "end_time": "2024-06-01T10:00:01.100000",
            "inputs": {
                "messages": [
                    [
                        {
                            "lc": 1,
                            "type": "constructor",
                            "id": ["langchain", "schema", "messages", "HumanMessage"],
                            "kwargs": {"content": "Which plan do I need?", "type": "human"},
                        }
                    ]
                ]
            },
            "outputs": {
                "generations": [
                    [
                        {
                            "text": "The small one.",
                            "type": "ChatGeneration",
                            "message": {
                                "lc": 1,
                                "type": "constructor",
                                "id": ["langchain", "schema", "messages", "AIMessage"],
                                "kwargs": {"content": "The small one.", "type": "ai"},
                            },
                        }
                    ]
                ],
                "llm_output": {"model_name": "gpt-4o"},
                "run": None,
            },
            "extra": {
                "invocation_params": {"model": "gpt-4o", "temperature": 0.1},
                "metadata": {"thread_id": "th-1", "user_id": "customer-5"},
            },
            "trace_id": "run-1",
            "parent_run_id": "run-1",
            "prompt_tokens": 12,
            "completion_tokens": 4,
            "tags": ["plans"],
        },
        {
            "id": "fb-1",
            "run_id": "run-1",
            "trace_id": "run-1",
            "key": "user_score",
            "score": 1.0,
            "value": None,
            "comment": "that was it",
            "correction": None,
            "feedback_source": {"type": "api", "metadata": {}},
            "created_at": "2024-06-01T10:02:00+00:00",
            "modified_at": "2024-06-01T10:02:00+00:00",
        },
        {
            "id": "fb-2",
            "run_id": "run-2",
            "trace_id": "run-1",
            "key": "quality",
            "score": 2,
            "feedback_config": {"type": "continuous", "min": 1, "max": 10},
            "correction": {"output": "The small plan is enough for you."},
            "feedback_source": {"type": "app", "user_id": "editor-2"},
            "created_at": "2024-06-01T11:00:00+00:00",
            "modified_at": "2024-06-01T11:00:30+00:00",
        },
    ),
)
