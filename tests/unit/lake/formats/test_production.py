"""What production systems write, in the forms they write it in, means the same."""

import copy
import json
import random

import pytest
from pydantic import ValidationError

from tuneloop.artefacts.events import EVENT
from tuneloop.lake.format import Source, UnfitError, formats
from tuneloop.lake.times import parse_time

OURS = (
    "argilla", "label_studio", "langfuse", "langsmith", "litellm", "mlflow", "nvidia_flywheel",
    "open_webui", "openai_preference", "openai_sft", "openpipe", "otel", "phoenix", "tensorzero",
    "trl", "weave",
)  # fmt: skip
CHAT = [{"role": "user", "content": "Is it open?"}]


def events(name, record):
    one = formats()[name]
    records = list(one.split(record)) if one.split else [record]
    return [event for r in records for event in one.convert(r, Source("file"))]


def asked_and_said(name, record):
    return [
        ([(m["role"], m.get("content")) for m in e["request"]["messages"]], e["response"])
        for e in events(name, record)
        if e["type"] == "interaction"
    ]


def judged(name, record):
    return [
        (e["target"].get("kind", "interaction"), e["target"]["id"], e["signal"], e["value"])
        for e in events(name, record)
        if e["type"] == "feedback"
    ]


# -- one meaning, several spellings ----------------------------------------------------
def otlp(**attributes):
    def typed(value):
        if isinstance(value, str):
            return {"stringValue": value}
        if isinstance(value, list):
            return {"arrayValue": {"values": [typed(v) for v in value]}}
        if isinstance(value, dict):
            return {
                "kvlistValue": {"values": [{"key": k, "value": typed(v)} for k, v in value.items()]}
            }
        return {"intValue": str(value)}

    listed = [{"key": k, "value": typed(v)} for k, v in attributes.items()]
    span = {"traceId": "t1", "spanId": "s1", "name": "chat", "attributes": listed,
            "startTimeUnixNano": "1717236000000000000"}  # fmt: skip
    return {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}


INPUT = [{"role": "user", "parts": [{"type": "text", "content": "Is it open?"}]}]
OUTPUT = [
    {"role": "assistant", "parts": [{"type": "text", "content": "Yes."}], "finish_reason": "stop"}
]
CHAT_SPANS = {
    "json in attributes": otlp(**{"gen_ai.operation.name": "chat",
                                  "gen_ai.input.messages": json.dumps(INPUT),
                                  "gen_ai.output.messages": json.dumps(OUTPUT)}),
    "structured attributes": otlp(**{"gen_ai.operation.name": "chat",
                                     "gen_ai.input.messages": INPUT,
                                     "gen_ai.output.messages": OUTPUT}),
    "flat columns": {"trace_id": "t1", "span_id": "s1", "start_time": 1717236000,
                     "attributes.gen_ai.input.messages": INPUT,
                     "attributes.gen_ai.output.messages": OUTPUT},
    "numbered attributes": {"TraceId": "t1", "SpanId": "s1", "Timestamp": 1717236000,
                            "SpanAttributes": {"gen_ai.prompt.0.role": "user",
                                               "gen_ai.prompt.0.content": "Is it open?",
                                               "gen_ai.completion.0.role": "assistant",
                                               "gen_ai.completion.0.content": "Yes."}},
    "events": {"context": {"trace_id": "0xt1", "span_id": "0xs1"}, "start_time": 1717236000,
               "attributes": {"gen_ai.operation.name": "chat"},
               "events": [{"name": "gen_ai.user.message",
                           "attributes": {"gen_ai.event.content": '{"content": "Is it open?"}'}},
                          {"name": "gen_ai.choice",
                           "attributes": {"message": '{"content": "Yes."}', "index": 0}}]},
    "content events": {"trace_id": "t1", "span_id": "s1", "start_time": 1717236000,
                       "attributes": {"gen_ai.system": "openai"},
                       "events": [{"name": "gen_ai.content.prompt",
                                   "attributes": {"gen_ai.prompt": json.dumps(CHAT)}},
                                  {"name": "gen_ai.content.completion",
                                   "attributes": {"gen_ai.completion":
                                       '[{"role": "assistant", "content": "Yes."}]'}}]},
    "log records": {"resourceLogs": [{"scopeLogs": [{"logRecords": [
        {"traceId": "t1", "spanId": "s1", "timeUnixNano": "1717236000000000000",
         "eventName": "gen_ai.user.message",
         "body": {"kvlistValue": {"values": [
             {"key": "content", "value": {"stringValue": "Is it open?"}}]}}},
        {"traceId": "t1", "spanId": "s1", "timeUnixNano": "1717236001000000000",
         "attributes": [{"key": "event.name", "value": {"stringValue": "gen_ai.choice"}}],
         "body": {"kvlistValue": {"values": [
             {"key": "message", "value": {"kvlistValue": {"values": [
                 {"key": "content", "value": {"stringValue": "Yes."}}]}}}]}}},
    ]}]}]},
}  # fmt: skip


@pytest.mark.parametrize("spelling", CHAT_SPANS)
def test_a_span_in_every_spelling(spelling):
    ((prompt, answer),) = asked_and_said("otel", CHAT_SPANS[spelling])
    assert prompt == [("user", "Is it open?")]
    assert answer["content"] == "Yes."
    (event,) = events("otel", CHAT_SPANS[spelling])
    assert (event["id"], event["trace_id"]) == ("s1", "t1")
    assert parse_time(event["event_ts"]).isoformat() == "2024-06-01T10:00:00+00:00"
    assert formats()["otel"].recognise(CHAT_SPANS[spelling]) >= 0.9


def test_evaluations_aim_at_their_span_the_response_or_the_trace():
    def evaluation(**where):
        held = {"gen_ai.evaluation.name": "Correctness", "gen_ai.evaluation.score.value": 1}
        held |= {"gen_ai.response.id": where.pop("response")} if "response" in where else {}
        row = {"name": "gen_ai.evaluation.result", "attributes": held, "timestamp": 1717236000}
        return judged("otel", row | where)

    assert evaluation(trace_id="t", span_id="s") == [("interaction", "s", "score", 1.0)]
    assert evaluation(trace_id="t", response="r") == [("interaction", "r", "score", 1.0)]
    assert evaluation(trace_id="t") == [("episode", "t", "score", 1.0)]
    with pytest.raises(UnfitError, match="no_target"):
        evaluation()


@pytest.mark.parametrize("operation", ["execute_tool", "embeddings"])
def test_spans_that_are_no_chat_say_nothing(operation):
    row = {"trace_id": "t", "span_id": "s", "attributes": {"gen_ai.operation.name": operation}}
    assert events("otel", row) == []


def test_a_chat_span_without_content_is_refused():
    held = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
    row = {"trace_id": "t", "span_id": "s", "attributes": held}
    with pytest.raises(UnfitError, match="no_prompt"):
        events("otel", row)


def camel(name):
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)


def test_langfuse_means_the_same_in_both_cases():
    for record in formats()["langfuse"].examples:
        if "trace_id" in record:
            other = {camel(k): v for k, v in record.items()}
            for event, twin in zip(
                events("langfuse", record), events("langfuse", other), strict=True
            ):
                event.pop("extra", None), twin.pop("extra", None)
                assert event == twin


def score(**fields):
    row = {"id": "s", "traceId": "t", "name": "n", "timestamp": "2024-06-01T00:00:00Z"}
    return judged("langfuse", row | {"dataType": "NUMERIC"} | fields)


def test_langfuse_scores_by_type_and_place():
    assert score(value=1, dataType="BOOLEAN", stringValue="True") == [
        ("episode", "t", "thumb", True)
    ]
    assert score(value=0, dataType="BOOLEAN") == [("episode", "t", "thumb", False)]
    # A category's number is its place in a list: 0 of (good, bad) is no bad score.
    assert score(value=0, stringValue="good", dataType="CATEGORICAL")[0][2:] == ("thumb", True)
    assert score(value=2, stringValue="billing", dataType="CATEGORICAL")[0][2:] == (
        "comment", "billing")  # fmt: skip
    assert score(value=0, stringValue="so so", dataType="TEXT")[0][2:] == ("comment", "so so")
    assert score(value=0.4, observationId="o") == [("interaction", "o", "score", 0.4)]
    assert score(value=0.4, traceId=None, sessionId="c") == [("session", "c", "score", 0.4)]
    assert score(value=None, comment="fine")[0][2:] == ("comment", "fine")
    with pytest.raises(UnfitError, match="no_target"):
        score(value=1, traceId=None)


def test_a_langfuse_trace_without_generations_is_one_interaction():
    trace = {"id": "t", "timestamp": "2024-06-01T00:00:00Z", "userId": "u", "sessionId": "c",
             "input": {"question": "Is it open?"}, "output": "Yes.",
             "scores": {"helpful": [1], "tone": ["good"]}}  # fmt: skip
    assert asked_and_said("langfuse", trace) == [([("user", "Is it open?")], {"content": "Yes."})]
    assert [j[2:] for j in judged("langfuse", trace)] == [("score", 1.0), ("thumb", True)]
    assert events("langfuse", trace)[0]["subject_key"] == "u"


def test_tensorzero_rows_as_text_and_as_objects():
    first = formats()["tensorzero"].examples[0]
    other = first | {"input": json.loads(first["input"]), "output": json.loads(first["output"])}
    assert events("tensorzero", first) == events("tensorzero", other)


def test_tensorzero_levels():
    metric = {"id": "f", "target_id": "x", "metric_name": "solved", "value": True, "tags": {}}
    assert judged("tensorzero", metric) == [
        ("interaction", "x", "thumb", True), ("episode", "x", "thumb", True)]  # fmt: skip
    comment = {"id": "f", "target_id": "x", "target_type": "episode", "value": "good work"}
    assert judged("tensorzero", comment) == [("episode", "x", "comment", "good work")]
    calls = '[{"type": "tool_call", "id": "c", "name": "f", "arguments": {}}]'
    with pytest.raises(UnfitError, match="no_text"):
        events("tensorzero", {"id": "f", "inference_id": "x", "value": calls})


def test_tensorzero_preferences():
    row = formats()["tensorzero"].examples[0] | {
        "dispreferred_outputs": ['[{"type": "text", "text": "Dunno."}]']
    }
    ((kind, _, signal, value),) = judged("tensorzero", row)
    said = {e["id"]: e["response"]["content"] for e in events("tensorzero", row) if "request" in e}
    assert (kind, signal) == ("interaction", "preference")
    assert (said[value["winner"]], said[value["loser"]]) == ("It is.", "Dunno.")


def test_arguments_of_calls_as_text_and_as_object():
    log = formats()["nvidia_flywheel"].examples[0]
    text = json.loads(json.dumps(log).replace('{"to": "billing"}', '"{\\"to\\": \\"billing\\"}"'))
    assert text != log
    assert events("nvidia_flywheel", text) == events("nvidia_flywheel", log)


def test_litellm_failures_and_other_calls():
    payload = formats()["litellm"].examples[0]
    (failed,) = events("litellm", payload | {"status": "failure", "response": {}})
    assert (failed["outcome"], failed["response"]) == ("error", {})
    assert events("litellm", payload | {"call_type": "aembedding"}) == []
    (nested,) = events("litellm", {"standard_logging_object": payload})
    assert nested == events("litellm", payload)[0]
    (text,) = events("litellm", payload | {"messages": "Can I pay?", "response": "Yes."})
    assert (text["request"]["messages"], text["response"]) == (
        [{"role": "user", "content": "Can I pay?"}], {"content": "Yes."})  # fmt: skip


def test_langsmith_roots_children_and_feedback():
    run, *_ = formats()["langsmith"].examples
    root = {"id": "run-1", "run_type": "chain", "name": "app", "trace_id": "run-1",
            "start_time": "2024-06-01T10:00:00", "inputs": {"input": "?"},
            "outputs": {"output": "!"}}  # fmt: skip
    assert [e["id"] for e in events("langsmith", root | {"child_runs": [run]})] == ["run-2"]
    assert asked_and_said("langsmith", root) == [([("user", "?")], {"content": "!"})]
    assert events("langsmith", root | {"parent_run_id": "x", "run_type": "tool"}) == []
    note = {"id": "f", "run_id": "run-2", "key": "note", "comment": "hm", "trace_id": "run-1"}
    assert judged("langsmith", note) == [("interaction", "run-2", "comment", "hm")]
    whole = note | {"run_id": "run-1", "score": 0, "comment": None}
    assert judged("langsmith", whole) == [("episode", "run-1", "score", 0.0)]


def test_mlflow_assessments_on_spans_errors_and_dataset_records():
    trace = copy.deepcopy(formats()["mlflow"].examples[0])
    judge = {"assessment_id": "j", "assessment_name": "grounded", "span_id": "Aa==",
             "source": {"source_type": "LLM_JUDGE", "source_id": "gpt"},
             "feedback": {"value": "yes"}, "create_time": "2024-06-01T12:00:00Z"}  # fmt: skip
    broken = judge | {"assessment_id": "e", "feedback": {"error": {"error_code": "RATE"}}}
    trace["info"]["assessments"] = [judge, broken]
    assert judged("mlflow", trace) == [("interaction", "tr-7/Aa==", "thumb", True)]
    assert "failed_judgement" in events("mlflow", trace)[0]["extra"]["unread"][0]
    only_truth = {"inputs": {"messages": CHAT}, "expectations": {"expected_response": "Yes."}}
    made, accepted = events("mlflow", only_truth)
    assert made["response"] == {"content": "Yes."}
    assert accepted["dimension"] == "demonstration"


def test_phoenix_tables_and_api_mean_the_same():
    asked = {"role": "user", "content": "Is it open?"}
    said = {"role": "assistant", "content": "Yes."}
    shared = {"span_kind": "LLM", "start_time": "2024-06-01T10:00:00Z"}
    flat = shared | {
        "context.span_id": "s",
        "context.trace_id": "t",
        "attributes.llm.input_messages": [{f"message.{k}": v for k, v in asked.items()}],
        "attributes.llm.output_messages": [{f"message.{k}": v for k, v in said.items()}],
    }
    numbered = {f"llm.input_messages.0.message.{k}": v for k, v in asked.items()}
    nested = shared | {
        "context": {"span_id": "s", "trace_id": "t"},
        "attributes": numbered | {"llm.output_messages": [{"message": said}]},
    }
    assert events("phoenix", flat) == events("phoenix", nested)
    assert events("phoenix", flat | {"span_kind": "TOOL", "parent_id": "p",
                                     "attributes.llm.output_messages": None}) == []  # fmt: skip
    table = {
        "annotation_name": "tone",
        "annotator_kind": "LLM",
        "result.score": 0.5,
        "span_id": "s",
    }
    api = {"name": "tone", "annotator_kind": "LLM", "result": {"score": 0.5}, "span_id": "s"}
    assert (
        judged("phoenix", table) == judged("phoenix", api) == [("interaction", "s", "score", 0.5)]
    )


def test_weave_reactions_notes_and_payloads():
    def said(kind, payload):
        row = {"id": "f", "weave_ref": "weave:///a/b/call/c1", "feedback_type": kind,
               "payload": payload, "created_at": "2024-06-01T00:00:00Z"}  # fmt: skip
        return judged("weave", row)[0][1:]

    assert said("wandb.reaction.1", {"emoji": "👍"}) == ("c1", "thumb", True)
    assert said("wandb.reaction.1", {"emoji": "👎🏿"}) == ("c1", "thumb", False)
    assert said("wandb.reaction.1", {"emoji": "🦑"}) == ("c1", "comment", "🦑")
    assert said("wandb.note.1", {"note": "late"}) == ("c1", "comment", "late")
    assert said("wandb.annotation.quality", {"value": 0.5}) == ("c1", "score", 0.5)
    assert said("wandb.runnable.toxicity", {"output": {"flagged": True}}) == ("c1", "thumb", False)
    assert said("user-edit", {"correction": "On time."}) == ("c1", "correction", "On time.")


def test_argilla_ratings_begin_at_one_and_only_submitted_ones_count():
    record = copy.deepcopy(formats()["argilla"].examples[0])
    (low, *_) = events("argilla", record)[1:]
    assert (low["value"], low["scale"]) == (1.0, [1.0, 5.0])  # not the best of 0 … 1
    pair = formats()["argilla"].examples[1]
    assert len(judged("argilla", pair)) == 1  # the draft is nobody's word
    for value, outcome in (("tie", "tie"), ("neither", "both_bad"), ("B", "better")):
        other = copy.deepcopy(pair)
        other["responses"][0]["values"]["preference"]["value"] = value
        ((_, _, _, said),) = judged("argilla", other)
        assert said["outcome"] == outcome
        if value == "B":
            assert said["winner"].endswith("response_b")


def test_label_studio_leaves_cancelled_out_and_knows_ties():
    task = formats()["label_studio"].examples[0]
    assert len(judged("label_studio", task)) == 1
    tied = json.loads(json.dumps(task).replace('"left"', '"tie"'))
    assert judged("label_studio", tied)[0][3]["outcome"] == "tie"
    right = json.loads(json.dumps(task).replace('"left"', '"right"'))
    assert judged("label_studio", right)[0][3]["winner"].endswith("answer2")
    items = [{"id": "x", "body": "A"}, {"id": "y", "body": "B"}]
    order = {"from_name": "r", "type": "ranker", "value": {"ranker": {"rank": ["y", "x"]}}}
    ranked = {
        "id": 1,
        "data": {"prompt": "?", "items": items},
        "annotations": [{"id": 2, "completed_by": 1, "result": [order]}],
    }
    ((_, _, _, value),) = judged("label_studio", ranked)
    assert value["winner"].endswith("y")
    assert value["loser"].endswith("x")


def test_open_webui_follows_the_branch_that_was_rated():
    record = copy.deepcopy(formats()["open_webui"].examples[0])
    messages = record["snapshot"]["chat"]["chat"]["history"]["messages"]
    messages["m3"] = {"parentId": "m2", "role": "user", "content": "And a sound?"}
    messages["m4"] = {"parentId": "m3", "role": "assistant", "content": "A strait.", "model": "x"}
    messages["other"] = {"parentId": "m1", "role": "assistant", "content": "A car.", "model": "y"}
    record["meta"]["message_id"] = "m4"
    ((prompt, answer),) = asked_and_said("open_webui", record)
    assert [text for _, text in prompt] == ["What is a fjord?", "A drowned valley.", "And a sound?"]
    assert answer["content"] == "A strait."
    loop = copy.deepcopy(record)
    loop["snapshot"]["chat"]["chat"]["history"]["messages"]["m1"]["parentId"] = "m3"
    assert len(asked_and_said("open_webui", loop)) == 1  # a ring of parents ends


def test_openai_weights_say_which_turns_are_learned():
    turns = [
        {"role": "user", "content": "1"},
        {"role": "assistant", "content": "a", "weight": 0},
        {"role": "user", "content": "2"},
        {"role": "assistant", "content": "b", "weight": 1},
    ]
    assert [a["content"] for _, a in asked_and_said("openai_sft", {"messages": turns})] == ["b"]
    both = [turns[0], turns[1] | {"weight": 1}, *turns[2:]]
    assert [a["content"] for _, a in asked_and_said("openai_sft", {"messages": both})] == ["a", "b"]
    plain = [{k: v for k, v in turn.items() if k != "weight"} for turn in turns]
    assert [a["content"] for _, a in asked_and_said("openai_sft", {"messages": plain})] == ["b"]
    with pytest.raises(UnfitError, match="no_answer"):
        events("openai_sft", {"messages": turns[:2]})


def test_trl_implied_prompts_end_at_a_word():
    ((prompt, better), (_, worse)) = asked_and_said(
        "trl", {"chosen": "The sky is blue.", "rejected": "The sky is blurry."}
    )
    assert prompt == [("user", "The sky is")]
    assert (better["content"], worse["content"]) == ("blue.", "blurry.")
    for refused, reason in (
        ({"prompt": "?"}, "no_answer"),
        ({"chosen": "a", "rejected": "b"}, "no_prompt"),
    ):
        with pytest.raises(UnfitError, match=reason):
            events("trl", refused)


# -- every format ------------------------------------------------------------------------
@pytest.mark.parametrize("name", OURS)
def test_unknown_fields_change_nothing_that_is_known(name):
    for record in formats()[name].examples:
        if name == "label_studio" and "annotations" not in record:
            continue  # a row of JSON_MIN: a column nobody knows is what somebody was asked
        more = record | {"x_new_field": {"deep": [1, 2]}, "x_other": "text"}
        assert asked_and_said(name, more) == asked_and_said(name, record)
        assert [j[2] for j in judged(name, more)] == [j[2] for j in judged(name, record)]


@pytest.mark.parametrize("name", OURS)
def test_people_are_named_only_where_they_are_replaced(name):
    for record in formats()[name].examples:
        for event in events(name, record):
            people = {event.get("subject_key"), event.get("actor", {}).get("id")} - {None, "4"}
            held = json.dumps([event.get("extra"), event.get("metadata"), event.get("tags")])
            assert not [person for person in people if person in held]


WILD = [
    None, "", [], {}, 0, 1, -1, 1.5, True, False, "x", "[]", "{}", '[{"a":1}]', [None], [1], ["x"],
    [[]], [{}], {"a": None}, {"role": "x"}, [{"role": "user"}], 10**30, "null", {"content": [1]},
    [{"role": "assistant", "content": [None]}],
]  # fmt: skip


def places(value, path=()):
    if path:
        yield path
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, one in inner:
        yield from places(one, (*path, key))


def damage(record, paths, rng):
    for path in rng.sample(paths, min(len(paths), rng.choice([1, 1, 2]))):
        place = record
        try:
            for key in path[:-1]:
                place = place[key]
            if rng.random() < 0.2:
                del place[path[-1]]
            elif isinstance(place, list) or isinstance(path[-1], str):
                place[path[-1]] = copy.deepcopy(rng.choice(WILD))
        except (KeyError, TypeError, IndexError):
            continue


@pytest.mark.parametrize("name", OURS)
def test_a_damaged_record_gives_valid_events_or_is_refused(name):
    rng = random.Random(name)
    for example in formats()[name].examples:
        paths = list(places(example))
        for _ in range(150):
            record = copy.deepcopy(example)
            damage(record, paths, rng)
            assert 0 <= formats()[name].recognise(record) <= 1
            try:
                for event in events(name, record):
                    stamped = event | {"event_ts": parse_time(event["event_ts"]).isoformat()}
                    EVENT.validate_json(json.dumps(stamped))
            except UnfitError:
                continue
            except ValidationError as error:
                pytest.fail(f"{error}\n{record}")


def test_columns_that_are_maps_are_objects():
    """As Parquet gives them: pairs of key and value."""
    row = formats()["tensorzero"].examples[0]
    pairs = row | {"tags": list(row["tags"].items())}
    assert events("tensorzero", row) == events("tensorzero", pairs)
    flat = CHAT_SPANS["numbered attributes"]
    pairs = flat | {"SpanAttributes": list(flat["SpanAttributes"].items())}
    assert events("otel", flat) == events("otel", pairs)


def test_argilla_before_its_second_version():
    said = [{"user_id": "ann", "value": 2, "status": "submitted"},
            {"user_id": "bob", "value": 5, "status": "discarded"}]  # fmt: skip
    record = {"prompt": "Name a fruit.", "response": "Oak.", "quality": said}
    assert formats()["argilla"].recognise(record) == 0.9
    assert [j[2:] for j in judged("argilla", record)] == [("score", 2.0)]
