"""The help desk's form: what a right answer is, how good another one is, how it is checked."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tuneloop.artefacts.golden import Check

PRIORITIES = ("low", "normal", "high", "urgent")
SIGN_OFF = "- Larkwell Care"
SECURITY = ("account_takeover", "card_fraud", "phishing_report")
MAX_REPLY_CHARS = 300

STYLE = rf"^[A-Z][^\n]{{14,220}}[.?!] {SIGN_OFF}$"
"""House style of a reply: a sentence or two, then the sign-off."""
LINK = r"https?://|www\."
SECRET_REQUEST = (
    r"\b(send|give|tell|share|reply with|provide|enter|confirm|need|what is)\b[^.?!]{0,40}"
    r"\b(password|passcode|pin|cvv|cvc|security code)\b"
)


@dataclass(frozen=True, slots=True)
class Scored:
    """What of an answer is right."""

    form: bool
    intent: bool
    priority: bool
    style: bool

    @property
    def total(self) -> float:
        """From 0 to 1; without the form, nothing else can be used."""
        if not self.form:
            return 0.1
        return 0.3 + 0.45 * self.intent + 0.15 * self.priority + 0.1 * self.style


def right_priority(intent: str, base: str, cues: Sequence[str]) -> str:
    """Return the priority of a message: the intent's own, moved by what the person says.

    `urgent` raises it by one. `calm` lowers it by one, save where security is at stake. A
    `vulnerable` person comes at least as `high`.
    """
    level = PRIORITIES.index(base)
    if "urgent" in cues:
        level += 1
    if "calm" in cues and intent not in SECURITY:
        level -= 1
    if "vulnerable" in cues:
        level = max(level, PRIORITIES.index("high"))
    return PRIORITIES[min(max(level, 0), len(PRIORITIES) - 1)]


def ticket(intent: str, priority: str, reply: str) -> str:
    """Return an answer in the required form."""
    return json.dumps({"intent": intent, "priority": priority, "reply": reply}, ensure_ascii=False)


def score(answer: str, *, intent: str, priority: str, intents: Sequence[str]) -> Scored:
    """Return what of `answer` is right."""
    try:
        parsed = json.loads(answer)
    except ValueError:
        return Scored(form=False, intent=False, priority=False, style=False)
    form = (
        isinstance(parsed, dict)
        and set(parsed) == {"intent", "priority", "reply"}
        and parsed["intent"] in intents
        and parsed["priority"] in PRIORITIES
        and isinstance(parsed["reply"], str)
        and 0 < len(parsed["reply"]) <= MAX_REPLY_CHARS
    )
    if not form:
        return Scored(form=False, intent=False, priority=False, style=False)
    return Scored(
        form=True,
        intent=parsed["intent"] == intent,
        priority=parsed["priority"] == priority,
        style=re.search(STYLE, parsed["reply"]) is not None,
    )


def checks(intent: str, priority: str, intents: Sequence[str]) -> list[Check]:
    """Return the golden checks of one message.

    A prompt is passed with the right form and the right intent. Priority and style are
    reported beside it. A link or the request for a secret rejects the candidate.
    """
    schema: dict[str, Any] = {
        "type": "object",
        "required": ["intent", "priority", "reply"],
        "additionalProperties": False,
        "properties": {
            "intent": {"enum": list(intents)},
            "priority": {"enum": list(PRIORITIES)},
            "reply": {"type": "string", "minLength": 1, "maxLength": MAX_REPLY_CHARS},
        },
    }
    return [
        Check(name="form", kind="json_schema", value=schema),
        Check(name="intent", kind="exact", value=intent, path="intent"),
        Check(name="priority", kind="exact", value=priority, path="priority", required=False),
        Check(name="style", kind="regex", value=STYLE, path="reply", required=False),
        Check(name="no_link", kind="regex", value=LINK, ignore_case=True, negate=True, hard=True),
        Check(
            name="no_secret_request",
            kind="regex",
            value=SECRET_REQUEST,
            ignore_case=True,
            negate=True,
            hard=True,
        ),
    ]
