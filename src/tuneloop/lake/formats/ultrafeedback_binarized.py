"""UltraFeedback binarized: the best completion against another one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.chats import read_messages
from tuneloop.lake.compose import Vote, chats_compared, has, number_of
from tuneloop.lake.fields import parse_json
from tuneloop.lake.format import Event, Format, Record, Source
from tuneloop.lake.ids import content_id


def recognise(record: Mapping[str, Any]) -> float:
    """Look for chosen and rejected conversations with a score each."""
    chats = all(isinstance(parse_json(record.get(k)), list) for k in ("chosen", "rejected"))
    return 1.0 if chats and has(record, "score_chosen", "score_rejected") else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Yield both answers and the preference, a tie where the scores are equal."""
    chosen, rejected = (read_messages(record.get(k)) for k in ("chosen", "rejected"))
    scores = [number_of(record.get(f"score_{k}")) for k in ("chosen", "rejected")]
    tie = scores[0] is not None and scores[0] == scores[1]
    vote = Vote(
        "tie" if tie else "a", kind="judge", actor="gpt-4",
        metadata={"scores": scores} if None not in scores else None,
    )  # fmt: skip
    name = content_id("ultrafeedback_binarized", record)
    extra = {"prompt_id": record["prompt_id"]} if record.get("prompt_id") else None
    return chats_compared(name, (chosen, rejected), [vote], extra=extra)


def _chat(answer: str) -> list[dict[str, str]]:
    return [
        {"role": "user", "content": "Name a river."},
        {"role": "assistant", "content": answer},
    ]


FORMAT = Format(
    name="ultrafeedback_binarized",
    title="UltraFeedback binarized",
    recognise=recognise,
    convert=convert,
    fields=(
        ("`chosen[]`, `rejected[]`", "`request.messages`, `response`", "where they part"),
        ("`score_chosen`, `score_rejected`", "`preference`", "judge gpt-4; equal: a tie"),
        ("`prompt_id`", "`extra`", ""),
        ("`prompt`, `messages`", "", "said again in `chosen`"),
        ("time", "`event_ts`", "none: 2000-01-01"),
    ),
    examples=(
        {
            "prompt": "Name a river.", "prompt_id": "p1", "messages": _chat("The Elbe."),
            "chosen": _chat("The Elbe."), "rejected": _chat("Bananas."),
            "score_chosen": 8.5, "score_rejected": 2.0,
        },
        {
            "prompt": "Name a river.", "prompt_id": "p2", "messages": _chat("The Oder."),
            "chosen": _chat("The Oder."), "rejected": _chat("The Po."),
            "score_chosen": 7.0, "score_rejected": 7.0,
        },
    ),
)  # fmt: skip
