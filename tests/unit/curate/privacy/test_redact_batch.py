"""A batch of columns: policies, messages, JSON, names found again, reports that add up."""

import json
import pickle

import pyarrow as pa
import pytest
from pydantic import ValidationError

from tuneloop.artefacts.tables import MESSAGES
from tuneloop.config.privacy import RedactConfig
from tuneloop.curate.privacy.redact import make_redactor, redact_batch
from tuneloop.curate.privacy.report import RedactionReport
from tuneloop.errors import DataError

SECRET = "my password: hunter2hunter2"


def redactor(**fields):
    return make_redactor(RedactConfig.model_validate({"engine": "patterns"} | fields), seed=1)


def messages(*rows):
    keys = ("name", "tool_calls", "tool_call_id")
    full = [row and [dict.fromkeys(keys) | message for message in row] for row in rows]
    return pa.array(full, type=MESSAGES)


def test_a_person_is_the_same_in_prompt_answer_and_a_later_batch():
    prompt = messages([{"role": "user", "content": "My name is Maria Lopez."}])
    done = redact_batch({"prompt": prompt, "answer": ["Hello Maria!"]}, ["s"], redactor())
    said = done.columns["prompt"][0].as_py()[0]["content"]
    first, last = said.removeprefix("My name is ").rstrip(".").split()
    assert (first, last) != ("Maria", "Lopez")
    assert done.columns["answer"].to_pylist() == [f"Hello {first}!"]
    later = redact_batch({"comment": ["Regards,\nMaria"]}, ["s"], redactor())
    assert later.columns["comment"].to_pylist() == [f"Regards,\n{first}"]
    other = redact_batch({"comment": ["Regards,\nMaria"]}, ["another"], redactor())
    assert other.columns["comment"].to_pylist() != [f"Regards,\n{first}"]


def test_batches_of_any_size_give_the_same_texts_and_the_same_report():
    texts = [f"mail user{i}@x.org or call +44 7700 900{i:03d}, thanks" for i in range(40)]
    conversations = [f"s{i % 7}" for i in range(40)]
    whole = redact_batch({"answer": texts}, conversations, redactor())
    out, report = [], RedactionReport(5)
    for i in (25, 0):  # and in any order
        part = redact_batch({"answer": texts[i : i + 25]}, conversations[i : i + 25], redactor())
        out = part.columns["answer"].to_pylist() + out
        report.merge(part.report)
    assert out == whole.columns["answer"].to_pylist()
    assert report.summary() == whole.report.summary()
    assert report.summary()["by_kind"]["email"] == {"found": 40, "replaced": 40}
    assert len(report.summary()["sample"]) == 10
    assert not any("user" in one["context"] for one in report.summary()["sample"])


def test_messages_keep_everything_else():
    calls = json.dumps(
        [{"function": {"name": "find", "arguments": '{"password":"hunter2","phone":447700900123}'}}]
    )
    rows = (
        [{"role": "system", "content": "You help."}, {"role": "user", "content": "a@x.org"}],
        None,
        [],
        [{"role": "assistant", "content": None, "tool_calls": calls},
         {"role": "tool", "content": "call +44 7700 900123", "tool_call_id": "t"}],
    )  # fmt: skip
    before = messages(*rows)
    done = redact_batch({"prompt": before}, ["s"] * 4, redactor())
    after = done.columns["prompt"]
    assert after.type == before.type
    assert [row if row is None else len(row) for row in after.to_pylist()] == [2, None, 0, 2]
    assert after[0].as_py()[0]["content"] == "You help."
    assert after[0].as_py()[1]["content"].endswith(".example")
    call = json.loads(after[3].as_py()[0]["tool_calls"])[0]["function"]
    arguments = json.loads(call["arguments"])
    assert call["name"] == "find"
    assert arguments["password"].startswith("[SECRET_")
    assert arguments["phone"] != 447700900123
    assert after[3].as_py()[1]["tool_call_id"] == "t"
    assert done.report.found["tools", "phone"] == 2


def test_slices_and_nulls():
    column = pa.array(["x", "a@x.org", None, "b@x.org"])[1:]
    done = redact_batch({"answer": column}, pa.array(["s"] * 3), redactor())
    texts = done.columns["answer"].to_pylist()
    assert texts[1] is None
    assert texts[0].endswith(".example")
    empty = redact_batch(
        {"answer": pa.array([], pa.string())}, pa.array([], pa.string()), redactor()
    )
    assert len(empty.columns["answer"]) == 0


@pytest.mark.parametrize("action", ["redact", "hash", "drop", "keep"])
def test_the_policy_of_a_field_holds_there_and_secrets_go_everywhere(action, monkeypatch):
    monkeypatch.setenv("REDACT_KEY", "k")
    one = redactor(fields={"answer": action}, hash_key="REDACT_KEY")
    done = redact_batch(
        {"question": ["a@x.org"], "answer": [f"a@x.org {SECRET}"]}, ["s"], one, masked=["answer"]
    )
    answer = done.columns["answer"].to_pylist()[0]
    assert done.columns["question"].to_pylist()[0].endswith(".example")
    assert done.left_out["answer"].tolist() == [action == "drop"]
    assert not done.left_out["question"].any()
    if action == "drop":
        assert answer is None
    else:
        assert "hunter2" not in answer
        assert ("a@x.org" in answer) == (action == "keep")
        assert ("[EMAIL_" in answer) == (action == "hash")
    assert done.masked["answer"].to_pylist() == ["[EMAIL] my password: [SECRET]"]
    assert done.report.found["answer", "email"] == 1
    assert done.report.replaced["answer", "email"] == (action != "keep")


def redact_texts(texts, conversation, redactor):
    done = redact_batch({"question": texts}, [conversation] * len(texts), redactor)
    return done.columns["question"].to_pylist()


def test_switched_off_it_still_removes_secrets():
    assert "hunter2" not in redact_texts([SECRET], "s", redactor(enabled=False))[0]
    assert redact_texts(["a@x.org"], "s", redactor(enabled=False)) == ["a@x.org"]
    assert "hunter2" not in redact_texts([SECRET], "s", redactor(kinds=["email"]))[0]


def test_what_is_allowed_stays():
    allowed = redactor(allow=["Help@Shop.example", "Maria Lopez"])
    text = "My name is Maria Lopez, help@shop.example, me@x.org"
    said = redact_texts([text], "s", allowed)[0]
    assert said.startswith("My name is Maria Lopez, help@shop.example, ")
    assert "me@x.org" not in said


def test_a_redactor_travels_and_shows_no_key(monkeypatch):
    monkeypatch.setenv("REDACT_KEY", "very-secret")
    one = redactor(hash_key="REDACT_KEY")
    redact_texts(["a@x.org"], "s", one)
    copy = pickle.loads(pickle.dumps(one))
    assert redact_texts(["a@x.org"], "s", copy) == redact_texts(["a@x.org"], "s", one)
    assert "key" not in repr(one)
    assert redact_texts(["a@x.org"], "s", redactor()) != redact_texts(["a@x.org"], "s", one)


def test_impossible_configs_are_refused(monkeypatch):
    with pytest.raises(ValidationError, match="hash_key"):
        RedactConfig.model_validate({"fields": {"answer": "hash"}})
    with pytest.raises(ValidationError, match="presidio"):
        RedactConfig(kinds=["place"], engine="patterns")
    with pytest.raises(ValidationError, match="email"):
        RedactConfig.model_validate({"kinds": ["emial"]})
    monkeypatch.delenv("REDACT_KEY", raising=False)
    with pytest.raises(DataError, match="REDACT_KEY"):
        redactor(hash_key="REDACT_KEY")


def test_broken_and_deep_json_is_a_text():
    deep = "[" * 5_000 + "]" * 5_000
    done = redact_batch({"tools": ['{"mail": "a@x.org"', deep]}, ["s", "s"], redactor())
    assert "a@x.org" not in done.columns["tools"].to_pylist()[0]


def test_what_is_said_of_an_answer_goes_along_as_a_list():
    columns = {
        "question": ["My name is Maria Lopez."],
        "correction": pa.array([["Maria, your parcel is here.", None]], pa.list_(pa.string())),
    }
    done = redact_batch(columns, ["s"], redactor())
    first = done.columns["question"].to_pylist()[0].split()[3]
    assert done.columns["correction"].to_pylist() == [[f"{first}, your parcel is here.", None]]
