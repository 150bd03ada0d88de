"""Gates that look at one interaction at a time, and its texts as columns."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from tuneloop.artefacts.stage import Scope
from tuneloop.artefacts.tables import MESSAGES
from tuneloop.config.curate import CurateConfig
from tuneloop.curate.decode import Interaction, json_of, text_of
from tuneloop.curate.question import question_of_turns

GOLDEN_TAG = "golden"
CODED = ("system", "segment", "intent", "template", "task", "env")
_SINGLE = ("event_ts", *CODED, "source", "output_terms", "consent_basis", "answer", "question",
           "system_prompt", "tools", "answer_tool_calls", "answer_reasoning")  # fmt: skip


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
    """Interactions that passed, as lists of columns; `messages` are those of all rows."""

    row: list[int] = field(default_factory=list)
    single: dict[str, list[Any]] = field(default_factory=lambda: {name: [] for name in _SINGLE})
    n_messages: list[int] = field(default_factory=list)
    messages: dict[str, list[Any]] = field(
        default_factory=lambda: {f.name: [] for f in MESSAGES.value_type}
    )
    turn: list[int] = field(default_factory=list)
    numbers: list[tuple[float, float, int]] = field(default_factory=list)
    documents: list[list[str]] = field(default_factory=list)
    golden: list[bool] = field(default_factory=list)

    def add(self, row: int, x: Interaction) -> bool:
        """Take one in; False where nothing was asked."""
        said = [
            ("system" if m.role == "developer" else m.role, text_of(m.content))
            for m in x.request.messages
        ]
        question = question_of_turns([text for role, text in said if role == "user"])
        if not question.strip():
            return False
        self.row.append(row)
        self.n_messages.append(len(said))
        flat = self.messages
        for (role, text), message in zip(said, x.request.messages, strict=True):
            flat["role"].append(role)
            flat["content"].append(text)
            flat["name"].append(message.name)
            flat["tool_calls"].append(json_of(message.tool_calls))
            flat["tool_call_id"].append(message.tool_call_id)
        template = x.request.template
        consent = x.consent
        values = (
            x.event_ts, x.system, x.segment, x.intent,
            template and f"{template.name}@{template.version or ''}".rstrip("@"),
            x.task, x.env, x.source, x.output_terms, consent and consent.basis,
            x.response.content or "", question,
            said[0][1] if said[0][0] == "system" else None,
            json_of(x.request.tools), json_of(x.response.tool_calls), x.response.reasoning,
        )  # fmt: skip
        for column, value in zip(self.single.values(), values, strict=True):
            column.append(value)
        self.turn.append(-1 if x.turn is None else x.turn)
        self.numbers.append(_numbers(x))
        self.documents.append(_documents(x))
        self.golden.append(GOLDEN_TAG in x.tags)
        return True

    def texts(self) -> dict[str, pa.Array]:
        """Return the texts as columns: those of `clean.WHOLE`."""
        columns = {
            name: pa.array(self.single[name], pa.string())
            for name in ("question", "answer", "answer_reasoning", "answer_tool_calls", "tools",
                         "system_prompt")
        }  # fmt: skip
        fields = list(MESSAGES.value_type)
        messages = [pa.array(self.messages[f.name], f.type) for f in fields]
        offsets = np.concatenate([[0], np.cumsum(self.n_messages)]).astype(np.int32)
        structs = pa.StructArray.from_arrays(messages, fields=fields)
        lists = pa.ListArray.from_arrays(pa.array(offsets), structs)
        return {"prompt": lists.cast(MESSAGES), **columns}


def _numbers(x: Interaction) -> tuple[float, float, int]:
    """Return the propensity, the probability of being asked, and whether somebody was."""
    nothing = float("nan")
    propensity = x.assignment.propensity if x.assignment else None
    asked = x.solicitation
    p_asked = asked.p_asked if asked else None
    return (
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
