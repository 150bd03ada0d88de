"""HelpSteer 2: answers rated on five scales; its preference subset compares two of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.compose import Vote, feedback, has, interaction, number_of, pair, text_of
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id

_SCALES = ("helpfulness", "correctness", "coherence")
# These say how an answer is, not how good: more is not better.
_NEUTRAL = ("complexity", "verbosity")
_TURN = re.compile(r"\s*<extra_id_1>(User|Assistant)\n")
_ROLES = {"User": "user", "Assistant": "assistant"}
_SINGLE = "all_preferences_unprocessed"


def recognise(record: Mapping[str, Any]) -> float:
    """Look for the five scales, or for two numbered responses and how strong the preference is."""
    if has(record, "prompt", "response", *_SCALES, *_NEUTRAL):
        return 1.0
    return 1.0 if has(record, "prompt", "response_1", "response_2", "preference_strength") else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Yield the answer and its ratings, or two answers and the preference."""
    prompt = _messages(text_of(record.get("prompt"), "prompt"))
    name = content_id("helpsteer2", record)
    if "preference_strength" in record:
        answers = [text_of(record.get(f"response_{n}"), f"response_{n}") for n in (1, 2)]
        return pair(name, prompt, (answers[0], answers[1]), _votes(record))
    traits = {scale: record[scale] for scale in _NEUTRAL if record.get(scale) is not None}
    answer = text_of(record.get("response"), "response")
    events = [interaction(name, prompt, answer, extra=traits)]
    for scale in _SCALES:
        value = number_of(record.get(scale))
        if value is None:
            continue
        if not 0 <= value <= 4:
            raise UnfitError("bad_verdict", f"{scale} is {value:g}, not from 0 to 4")
        events.append(
            feedback(
                f"{name}-{scale}", name, "score", value, scale=(0, 4), dimension=scale,
                actor={"kind": "reviewer"},
            )
        )  # fmt: skip
    return events


def _messages(prompt: str) -> list[dict[str, str]]:
    """Return the turns of a prompt: the later ones are marked, the first is the user's."""
    first, *parts = _TURN.split(prompt)
    rest = zip(parts[::2], parts[1::2], strict=True)
    return [
        {"role": "user", "content": first},
        *({"role": _ROLES[who], "content": said} for who, said in rest),
    ]


def _votes(record: Record) -> list[Vote]:
    single = record.get(_SINGLE)
    said = [one for one in single if isinstance(one, dict)] if isinstance(single, list) else []
    votes = [_vote(one.get("strength"), one.get("justification")) for one in said]
    return votes or [_vote(record["preference_strength"], record.get("preference_statement"))]


def _vote(strength: Any, why: Any) -> Vote:
    number = number_of(strength)
    if number is None:
        raise UnfitError("bad_verdict", f"a strength is {str(strength)[:40]!r}")
    return Vote(
        "tie" if number == 0 else "a" if number < 0 else "b",
        comment=why if isinstance(why, str) and why.strip() else None,
        metadata={"strength": abs(number)},
    )


FORMAT = Format(
    name="helpsteer2",
    title="HelpSteer 2",
    recognise=recognise,
    convert=convert,
    fields=(
        ("`prompt`", "`request.messages`", "cut at `<extra_id_1>`; rows of one prompt meet there"),
        ("`response`", "`response.content`", ""),
        ("`helpfulness`, `correctness`, `coherence`", "`score`", "0 to 4; `dimension`"),
        ("`complexity`, `verbosity`", "`extra`", "how an answer is, not how good"),
        ("`response_1`, `response_2`", "`response.content`", "the preference subset"),
        ("`all_preferences_unprocessed[]`", "`preference`", "one each, nameless; below 0: first"),
        ("`preference_strength`", "`preference`", "where there is nobody's own"),
        ("time", "`event_ts`", "none: 2000-01-01"),
    ),
    examples=(
        {
            "prompt": "Name a river.", "response": "The Elbe.", "helpfulness": 4,
            "correctness": 4, "coherence": 4, "complexity": 1, "verbosity": 0,
        },
        {
            "prompt": "Hello\n\n<extra_id_1>Assistant\nHi!\n<extra_id_1>User\nName a lake.",
            "response": "Water.", "helpfulness": 1, "correctness": 0, "coherence": 3,
            "complexity": 0, "verbosity": 0,
        },
        {
            "split": "train", "prompt": "Name a sea.", "response_1": "The Baltic.",
            "response_2": "Water.", "preference_strength": -2, "preference_statement": "It names.",
        },
    ),
)  # fmt: skip
