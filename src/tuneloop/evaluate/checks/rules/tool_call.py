"""The answer calls the tools it should, with the arguments it should."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import regex

from tuneloop.artefacts.golden import Check
from tuneloop.evaluate.checks.kind import Answer, CheckOutcome, Kind, NotThereError
from tuneloop.evaluate.checks.values import REGEX_TIMEOUT_S, options, short

Call = dict[str, Any]
_TAGGED = regex.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|$)", regex.DOTALL)
_MARKED = regex.compile(r"^\s*(?:\[TOOL_CALLS\]|<\|python_tag\|>)\s*(.*)$", regex.DOTALL)


def calls_in(text: str) -> list[Call]:
    """Return the calls of an answer: name and arguments.

    Reads what models write: `<tool_call>` tags (Hermes, Qwen, SmolLM), `[TOOL_CALLS]` (Mistral),
    `<|python_tag|>` or bare JSON (Llama).

    Raises:
        NotThereError: where a call is begun and cannot be read.
    """
    tagged = _TAGGED.findall(text, timeout=REGEX_TIMEOUT_S)
    if tagged:
        return [call for body in tagged for call in _read(body)]
    marked = _MARKED.match(text, timeout=REGEX_TIMEOUT_S)
    if marked:
        return list(_read(marked.group(1)))
    if text.strip()[:1] in ("{", "["):
        try:
            return list(_read(text))
        except NotThereError:
            return []
    return []


def _read(body: str) -> Iterator[Call]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise NotThereError(f"a tool call that is no JSON: {short(body)}") from None
    for one in value if isinstance(value, list) else [value]:
        inner = one.get("function") if isinstance(one, dict) else None
        call = inner if isinstance(inner, dict) else one
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            raise NotThereError(f"a tool call without a name: {short(call)}")
        arguments = call.get("arguments", call.get("parameters", {}))
        if isinstance(arguments, str):
            try:
                arguments = json.loads(arguments)
            except (ValueError, RecursionError):
                raise NotThereError(f"arguments that are no JSON: {short(arguments)}") from None
        yield {"name": call["name"], "arguments": arguments or {}}


def _run(check: Check, answer: Answer) -> CheckOutcome:
    wanted = check.value.get("calls", [])
    exact = check.value.get("arguments", "exact") == "exact"
    ordered = check.value.get("order", False)
    made = calls_in(answer.text)
    if problem := _unknown(made, answer):
        return CheckOutcome(False, problem)
    left = list(made)
    for call in wanted:
        place = next((i for i, one in enumerate(left) if _fits(one, call, exact)), None)
        if place is None or (ordered and place > 0):
            return CheckOutcome(False, f"does not call {short(call)}; calls {short(made)}")
        del left[place]
    if left and not check.value.get("others", False):
        return CheckOutcome(False, f"also calls {short(left)}")
    return CheckOutcome(True)


def _unknown(made: list[Call], answer: Answer) -> str:
    """Return which call names a tool that the prompt does not offer."""
    offered = {
        tool.get("function", tool).get("name")
        for tool in (answer.prompt.tools if answer.prompt else [])
    }
    strange = [call["name"] for call in made if offered and call["name"] not in offered]
    return f"calls {strange[0]!r}, which is no tool of the prompt" if strange else ""


def _fits(made: Call, wanted: Call, exact: bool) -> bool:
    if made["name"] != wanted["name"]:
        return False
    if "arguments" not in wanted:
        return True
    given, needed = made["arguments"], wanted["arguments"]
    if not isinstance(given, dict) or (exact and set(given) != set(needed)):
        return False
    return all(key in given and _same(given[key], value) for key, value in needed.items())


def _same(a: Any, b: Any) -> bool:
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


def _problem(check: Check) -> str | None:
    known = {"calls": list, "arguments": str, "order": bool, "others": bool}
    if problem := options(check.value, known):  # type: ignore[arg-type]
        return problem
    if check.value.get("arguments", "exact") not in ("exact", "subset"):
        return "arguments is `exact` or `subset`"
    for call in check.value.get("calls", []):
        if not isinstance(call, dict) or not isinstance(call.get("name"), str):
            return f"a call needs a name: {short(call)}"
        if not isinstance(call.get("arguments", {}), dict):
            return f"arguments of {call['name']} must be a mapping"
    return None


KIND = Kind(
    name="tool_call",
    version=1,
    cost="free",
    about="The answer makes these calls and no other, to tools that the prompt offers; with "
    "`calls: []`, none.",
    value="`calls` (name and, where they matter, arguments), `arguments: exact|subset`, "
    "`order: true` where their order counts, `others: true` where more calls are allowed",
    run=_run,
    problem=_problem,
    uses=("negate",),
)
