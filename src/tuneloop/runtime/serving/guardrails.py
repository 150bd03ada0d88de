"""A system's guardrails: rules over the prompt before the model, and over its answer after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuneloop.artefacts.systems import Guardrail
from tuneloop.runtime.serving.chat import ChatResult

TIMEOUT_S = 1.0
FINISHED = "guardrail"
"""`finish_reason` of an answer that a rule gave or changed."""


@dataclass(frozen=True)
class Guarded:
    """A prompt after the rules before the model: what to ask, or what to answer without it."""

    messages: list[dict[str, Any]]
    refusal: str | None = None


def guard_prompt(rules: Sequence[Guardrail], messages: list[dict[str, Any]]) -> Guarded:
    """Apply the rules for prompts, in their order, to the last message of the user."""
    last = next((i for i in reversed(range(len(messages))) if messages[i]["role"] == "user"), None)
    if last is None:
        return Guarded(messages)
    text = messages[last].get("content") or ""
    for rule in rules:
        if rule.on == "prompt" and (applied := _apply(rule, text)) is not None:
            if rule.action == "refuse":
                return Guarded(messages, refusal=rule.text)
            text = applied
    changed = [*messages[:last], messages[last] | {"content": text}, *messages[last + 1 :]]
    return Guarded(changed)


def guard_answer(rules: Sequence[Guardrail], result: ChatResult) -> ChatResult:
    """Return an answer after the rules for answers; one that is missing stays so."""
    if result.status != "ok":
        return result
    text, fired = result.text, False
    for rule in rules:
        if rule.on == "answer" and (applied := _apply(rule, text)) is not None:
            text, fired = applied, True
            if rule.action == "refuse":
                break
    return result.model_copy(update={"text": text, "finish_reason": FINISHED}) if fired else result


def refusal(text: str) -> ChatResult:
    """Return the answer of a rule that did not ask the model."""
    return ChatResult(text=text, finish_reason=FINISHED)


def _apply(rule: Guardrail, text: str) -> str | None:
    """Return what a rule makes of a text, or None where it does not fire."""
    import regex

    pattern = regex.compile(rule.pattern, regex.IGNORECASE if rule.ignore_case else 0)
    try:
        if pattern.search(text, timeout=TIMEOUT_S) is None:
            return None
        if rule.action == "refuse":
            return rule.text
        return str(pattern.sub(lambda _: rule.text, text, timeout=TIMEOUT_S))
    except TimeoutError:  # not shown to be harmless
        return rule.text
