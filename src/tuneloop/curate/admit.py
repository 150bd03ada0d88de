"""Gates that look at one interaction at a time, and its texts as columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa

from tuneloop.artefacts.stage import Scope
from tuneloop.artefacts.tables import MESSAGES
from tuneloop.config.curate import CurateConfig
from tuneloop.curate.decode import NOTHING, Interaction, Unmodelled, json_of, text_of
from tuneloop.curate.question import question_of_turns

GOLDEN_TAG = "golden"
CODED = ("system", "segment", "intent", "template", "task", "env")
_SINGLE = ("event_ts", *CODED, "source", "output_terms", "consent_basis", "answer", "question",
            "system_prompt", "tools", "answer_tool_calls", "answer_reasoning",
            "finish_reason")  # fmt: skip


@dataclass(frozen=True)
class Rules:
    """What the gates compare with."""

    config: CurateConfig
    scope: Scope | None
    watermark: float


def refusal(x: Interaction, rules: Rules) -> tuple[str, str] | None:
    """Return why this interaction may not be used, and a detail; None where it may.

    Consent ends by the lake's own clock (`watermark`, its newest event), so that the same
    lake always gives the same set.
    """
    scope, consent = rules.scope, x.consent
    if scope and x.task is not None and x.task != scope.task:
        return "other_task", x.task
    if scope and x.env is not None and x.env != scope.env:
        return "other_env", x.env
    if not x.shown or x.role in ("shadow", "replay"):
        return "not_shown", x.role
    if x.outcome != "ok":
        return f"outcome_{x.outcome}", ""
    if consent and not consent.train:
        return "consent_refused", consent.basis or ""
    if rules.config.require_consent and not consent:
        return "consent_missing", ""
    if consent and consent.until and _timestamp(consent.until) < rules.watermark:
        return "consent_expired", consent.until
    answer = x.response.content or ""
    if not answer.strip() and not json_of(x.response.tool_calls):
        return "empty_answer", ""
    if len(answer) > rules.config.max_answer_chars:
        return "too_long", f"{len(answer)} characters"
    return None


def _timestamp(text: str) -> float:
    stamp = datetime.fromisoformat(text)
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()


@dataclass
class Admitted:
    """Interactions that passed, one entry each; `messages` are those of all of them.

    Attributes:
        row: Places in the batch.
        single: Values of `_SINGLE`.
        n_messages: How many messages each prompt has.
        messages: Fields of `MESSAGES`.
        numbers: Turn (-1 unknown), propensity, probability of being asked, whether asked.
    """

    row: list[int] = field(default_factory=list)
    single: list[tuple[str | None, ...]] = field(default_factory=list)
    n_messages: list[int] = field(default_factory=list)
    messages: list[tuple[str | None, ...]] = field(default_factory=list)
    numbers: list[tuple[int, float, float, int]] = field(default_factory=list)
    documents: list[list[str]] = field(default_factory=list)
    golden: list[bool] = field(default_factory=list)

    def add(self, row: int, x: Interaction) -> bool:
        """Take one in; False where nothing was asked."""
        messages = [
            (
                "system" if m.role == "developer" else m.role,
                m.content if isinstance(m.content, str) else text_of(m.content), m.name,
                None if m.tool_calls is NOTHING else json_of(m.tool_calls), m.tool_call_id,
            )
            for m in x.request.messages
        ]  # fmt: skip
        question = question_of_turns([m[1] for m in messages if m[0] == "user"])
        if not question.strip():
            return False
        self.row.append(row)
        self.n_messages.append(len(messages))
        self.messages += messages
        template, consent, request, response = (
            x.request.template, x.consent, x.request, x.response
        )  # fmt: skip
        self.single.append((
            x.event_ts, x.system, x.segment, x.intent,
            f"{template.name}@{template.version or ''}".rstrip("@") if template else None,
            x.task, x.env, x.source, x.output_terms,
            consent.basis if consent else None,
            response.content or "", question,
            messages[0][1] if messages[0][0] == "system" else None,
            None if request.tools is NOTHING else json_of(request.tools),
            None if response.tool_calls is NOTHING else json_of(response.tool_calls),
            response.reasoning, _finish_reason(response.extra),
        ))  # fmt: skip
        self.numbers.append(_numbers(x))
        self.documents.append(_documents(x) if request.context else [])
        self.golden.append(GOLDEN_TAG in x.tags)
        return True

    def columns(self) -> dict[str, pa.Array]:
        """Return the prompts and the single values as columns."""
        fields = list(MESSAGES.value_type)
        flat = list(zip(*self.messages, strict=True)) or [()] * len(fields)
        messages = [pa.array(column, f.type) for f, column in zip(fields, flat, strict=True)]
        offsets = np.concatenate([[0], np.cumsum(self.n_messages)]).astype(np.int32)
        structs = pa.StructArray.from_arrays(messages, fields=fields)
        lists = pa.ListArray.from_arrays(pa.array(offsets), structs)
        single = list(zip(*self.single, strict=True)) or [()] * len(_SINGLE)
        columns = {
            name: pa.array(values, pa.string())
            for name, values in zip(_SINGLE, single, strict=True)
        }
        return {"prompt": lists.cast(MESSAGES), **columns}


def _finish_reason(extra: Unmodelled | None) -> str | None:
    """Return why generation stopped, where the log says so."""
    said = extra.finish_reason if extra else None
    return said if isinstance(said, str) else None


def _numbers(x: Interaction) -> tuple[int, float, float, int]:
    """Return turn, propensity, probability of being asked, and whether somebody was."""
    nothing = float("nan")
    propensity = x.assignment.propensity if x.assignment else None
    asked = x.solicitation
    p_asked = asked.p_asked if asked else None
    return (
        -1 if x.turn is None else x.turn,
        nothing if propensity is None else propensity,
        nothing if p_asked is None else p_asked,
        -1 if asked is None else int(asked.asked),
    )


def _documents(x: Interaction) -> list[str]:
    """Return what names the documents the prompt was made with."""
    names = []
    for part in x.request.context or ():
        known = (part.get(key) for key in ("document_id", "doc_id", "id", "url", "source", "text"))
        name = next((value for value in known if isinstance(value, str | int)), None)
        if name is not None:
            names.append(str(name))
    return names
