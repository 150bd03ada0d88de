"""Anthropic's HH-RLHF: two whole transcripts, of which people chose one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.chats import read_transcript
from tuneloop.lake.compose import Vote, chats_compared, text_of
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id


def recognise(record: Mapping[str, Any]) -> float:
    """Look for `chosen` and `rejected` as texts in which `Human:` speaks first."""
    texts = [record.get("chosen"), record.get("rejected")]
    ours = all(isinstance(text, str) and text.lstrip().startswith("Human:") for text in texts)
    return 1.0 if ours and "prompt" not in record else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Yield the two answers at which the transcripts part, and the preference."""
    chats = (_turns(record.get("chosen"), "chosen"), _turns(record.get("rejected"), "rejected"))
    name = content_id("hh", record["chosen"], record["rejected"])
    return chats_compared(name, chats, [Vote("a")])


def _turns(text: Any, what: str) -> list[dict[str, Any]]:
    turns = read_transcript(text_of(text, what))
    if turns is None:
        raise UnfitError("bad_transcript", f"{what} does not begin with who speaks")
    return turns


FORMAT = Format(
    name="hh_rlhf",
    title="HH-RLHF",
    recognise=recognise,
    convert=convert,
    fields=(
        ("`chosen`, `rejected`", "`request.messages`", "what both begin with, cut at a turn"),
        ("the next `Assistant:`", "`response.content`", "one interaction each; may be empty"),
        ("turns after that", "interactions of the episode", "the verdict was on the whole"),
        ("which is `chosen`", "`preference`", "a nameless reviewer's"),
        ("identical pairs", "refused", "`identical_answers`"),
        ("time", "`event_ts`", "none: 2000-01-01"),
    ),
    examples=(
        {
            "chosen": "\n\nHuman: How do I boil an egg?\n\nAssistant: Eight minutes in hot water.",
            "rejected": "\n\nHuman: How do I boil an egg?\n\nAssistant: I do not know.",
        },
        {
            "chosen": "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: A name for a cat?"
            "\n\nAssistant: Miso.\n\nHuman: Another\n\nAssistant: Pepper.",
            "rejected": "\n\nHuman: Hi\n\nAssistant: Hello!\n\nHuman: A name for a cat?"
            "\n\nAssistant: No.",
        },
    ),
)
