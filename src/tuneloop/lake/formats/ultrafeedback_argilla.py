"""Argilla's UltraFeedback: binarized by the mean of the aspects' ratings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.chats import read_messages
from tuneloop.lake.compose import Vote, chats_compared, has, number_of, text_of
from tuneloop.lake.format import Event, Format, Record, Source
from tuneloop.lake.ids import content_id

# The first release, and the cleaned one with conversations.
_RATINGS = (("chosen_avg_rating", "rejected_avg_rating"), ("chosen-rating", "rejected-rating"))


def recognise(record: Mapping[str, Any]) -> float:
    """Look for chosen and rejected answers with a rating each."""
    first = has(record, "instruction", "chosen_response", "rejected_response")
    cleaned = has(record, "chosen", "rejected", *_RATINGS[1])
    return 1.0 if first or cleaned else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Yield both answers and the preference, a tie where the ratings are equal."""
    cleaned = "chosen" in record
    chats, systems, ratings = [], [], []
    for side in ("chosen", "rejected"):
        if cleaned:
            chats.append(read_messages(record.get(side)))
        else:
            asked = text_of(record.get("instruction"), "instruction")
            answer = record.get(f"{side}_response")
            answer = "" if answer == "" else text_of(answer, f"{side}_response")
            chats.append(
                [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
            )
        systems.append(record.get(f"{side}-model") or record.get(f"{side}_model"))
        ratings.append(number_of(record.get(f"{side}-rating" if cleaned else f"{side}_avg_rating")))
    tie = ratings[0] is not None and ratings[0] == ratings[1]
    vote = Vote(
        "tie" if tie else "a", kind="judge", actor="gpt-4",
        metadata={"ratings": ratings} if None not in ratings else None,
    )  # fmt: skip
    name = content_id("ultrafeedback_argilla", record)
    extra = {"source": record["source"]} if record.get("source") else None
    return chats_compared(
        name, (chats[0], chats[1]), [vote], systems=(systems[0], systems[1]), extra=extra
    )


FORMAT = Format(
    name="ultrafeedback_argilla",
    title="UltraFeedback by Argilla",
    recognise=recognise,
    convert=convert,
    fields=(
        ("`instruction`", "`request.messages`", "cleaned release: what both begin with"),
        ("`chosen_response`, `rejected_response`", "`response.content`", "or `chosen[]`, …"),
        ("`chosen_avg_rating`, …", "`preference`", "judge gpt-4; equal: a tie; `chosen-rating`"),
        ("`chosen_model`, `chosen-model`, …", "`system`", ""),
        ("`source`", "`extra`", ""),
        ("time", "`event_ts`", "none: 2000-01-01"),
    ),
    examples=(
        {
            "source": "sharegpt", "instruction": "Name a river.", "chosen_response": "The Elbe.",
            "rejected_response": "Bananas.", "chosen_avg_rating": 4.75,
            "rejected_avg_rating": 1.5, "chosen_model": "m1",
        },
        {
            "source": "sharegpt", "prompt": "Name a lake.", "chosen-rating": 5.0,
            "chosen-model": "m1", "rejected-rating": 3.0, "rejected-model": "m2",
            "chosen": [
                {"role": "user", "content": "Name a lake."},
                {"role": "assistant", "content": "Lake Constance."},
            ],
            "rejected": [
                {"role": "user", "content": "Name a lake."},
                {"role": "assistant", "content": "Water."},
            ],
        },
    ),
)  # fmt: skip
