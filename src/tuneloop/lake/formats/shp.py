"""Stanford Human Preferences: two replies to a post, of which one was voted higher."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.compose import Vote, has, interaction, number_of, preferences, text_of
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id

_FIELDS = ("history", "human_ref_A", "human_ref_B")


def recognise(record: Mapping[str, Any]) -> float:
    """Look for the post and the two replies."""
    return 1.0 if has(record, *_FIELDS) else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Yield both replies and which was voted higher."""
    post, *replies = (text_of(record.get(name), name) for name in _FIELDS)
    if replies[0] == replies[1]:
        raise UnfitError("identical_answers", "both replies are the same")
    thread = str(record.get("post_id") or content_id("shp", post))
    ids, events = [], []
    for side, reply in zip("AB", replies, strict=True):
        # A reply is compared with several others: it is one interaction all the same.
        root = record.get(f"c_root_id_{side}") or content_id("r", reply)
        stamp = record.get(f"created_at_utc_{side}")
        ids.append(f"shp-{thread}-{root}")
        dated = {} if stamp is None else {"event_ts": number_of(stamp) or stamp}
        events.append(
            interaction(
                ids[-1], post, reply, system="human", tags=["human-written"],
                intent=record.get("domain"), extra={"post_id": thread}, **dated,
            )
        )  # fmt: skip
    stamps = [e["event_ts"] for e in events]
    said: dict[str, Any] = {
        k: record[k] for k in ("score_A", "score_B", "score_ratio") if k in record
    }
    vote = Vote(_winner(record), kind="user", metadata=said)
    name = content_id("shp", ids, said)
    return events + preferences(name, (ids[0], ids[1]), [vote], event_ts=stamps[1])


def _winner(record: Record) -> Any:
    label = number_of(record.get("labels"))
    if label in (0, 1):
        return "a" if label == 1 else "b"
    scores = [number_of(record.get(f"score_{side}")) for side in "AB"]
    if scores[0] is None or scores[1] is None:
        raise UnfitError("no_verdict", "neither labels nor scores")
    return "tie" if scores[0] == scores[1] else "a" if scores[0] > scores[1] else "b"


FORMAT = Format(
    name="shp",
    title="Stanford Human Preferences",
    recognise=recognise,
    convert=convert,
    fields=(
        ("`history`", "`request.messages`", "the post"),
        ("`human_ref_A`, `human_ref_B`", "`response.content`", "`system`: human"),
        ("`labels`", "`preference`", "1: A; without it the higher score; nobody's in particular"),
        ("`score_*`, `score_ratio`", "`metadata`", ""),
        ("`c_root_id_*`", "`id`", "a reply in several pairs is one interaction"),
        ("`post_id`", "`extra`", "for splits"),
        ("`domain`", "`intent`", ""),
        ("`created_at_utc_*`", "`event_ts`", ""),
    ),
    examples=(
        {
            "post_id": "p1", "domain": "askculinary", "history": "How long do eggs keep?",
            "c_root_id_A": "a1", "c_root_id_B": "b1", "created_at_utc_A": 1650000000,
            "created_at_utc_B": 1650000100, "score_A": 12, "score_B": 3, "score_ratio": 4.0,
            "human_ref_A": "Four weeks in the fridge.", "human_ref_B": "For ever.", "labels": 1,
        },
    ),
)  # fmt: skip
