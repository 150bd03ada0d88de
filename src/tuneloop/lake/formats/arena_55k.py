"""LMSYS arena, 55,000 battles: the turns are JSON in texts."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.chats import is_chat
from tuneloop.lake.compose import Vote, Winner, chats_compared, has, winner_of
from tuneloop.lake.fields import parse_json
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id
from tuneloop.lake.ratings import thumb_of

_WINNERS: Mapping[str, Winner] = {
    "winner_model_a": "a", "winner_model_b": "b", "winner_tie": "tie",
    "winner_both_bad": "both_bad", "winner_bothbad": "both_bad", "winner_tie_bothbad": "both_bad",
}  # fmt: skip


def recognise(record: Mapping[str, Any]) -> float:
    """Look for the columns that say who won, or for turns as JSON and a winner."""
    if not has(record, "prompt", "response_a", "response_b"):
        return 0.0
    if has(record, "winner_model_a", "winner_model_b"):
        return 1.0
    turns = isinstance(asked := parse_json(record["prompt"]), list) and not is_chat(asked)
    return 0.9 if turns and has(record, "model_a", "model_b", "winner") else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Yield what both models answered, and the verdict."""
    asked = _turns(record.get("prompt"), "prompt")
    chats = [_chat(asked, _turns(record.get(f"response_{side}"), side)) for side in "ab"]
    return chats_compared(
        f"arena55k-{record.get('id') or content_id('r', record)}",
        (chats[0], chats[1]),
        [Vote(_winner(record), kind="user")],
        systems=(record.get("model_a"), record.get("model_b")),
    )


def _winner(record: Record) -> Winner:
    if record.get("winner") is not None:
        return winner_of(record["winner"])
    said = {name: record[name] for name in _WINNERS if record.get(name) is not None}
    won = [name for name, value in said.items() if thumb_of(value)]
    if len(won) != 1:
        raise UnfitError("bad_verdict", f"who won is {list(said.values())}")
    return _WINNERS[won[0]]


def _turns(value: Any, what: str) -> list[str]:
    """Return the turns in a text of JSON; a text that is none is one turn, a null an empty one."""
    if isinstance(value, str):
        try:
            value = json.loads(value, strict=False)
        except (ValueError, RecursionError):
            value = [value]
    turns = value if isinstance(value, list) else [value]
    if not turns or not all(turn is None or isinstance(turn, str) for turn in turns):
        raise UnfitError("not_text", f"{what} is no list of texts")
    return [_whole(turn or "") for turn in turns]


def _whole(text: str) -> str:
    """Return a text without halves of signs, which the JSON has escaped."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _chat(asked: list[str], answered: list[str]) -> list[dict[str, str]]:
    said = []
    for question, answer in zip(asked, answered, strict=False):
        said += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return said


FORMAT = Format(
    name="arena_55k",
    title="LMSYS arena, 55k",
    recognise=recognise,
    convert=convert,
    fields=(
        ("`prompt`", "`request.messages`", "the first turn; JSON in a text"),
        ("`response_a`, `response_b`", "`response.content`", "the first; a null is an empty one"),
        ("later turns", "interactions of the episode", "the verdict was on the whole"),
        ("`model_a`, `model_b`", "`system`", ""),
        ("`winner_model_a`, `_b`, `_tie`, `_both_bad`", "`preference`",
         "exactly one is 1; or `winner` in words"),
        ("half a surrogate pair", "U+FFFD", ""),
        ("time", "`event_ts`", "none: 2000-01-01"),
    ),
    examples=(
        {
            "id": 30192, "model_a": "m1", "model_b": "m2", "prompt": '["Name a river.", "More"]',
            "response_a": '["The Elbe.", "The Oder. \\ud83d"]', "response_b": '["No.", null]',
            "winner_model_a": 1, "winner_model_b": 0, "winner_tie": 0,
        },
    ),
)  # fmt: skip
