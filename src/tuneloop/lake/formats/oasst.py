"""OpenAssistant conversations: trees of messages, whole or message by message."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tuneloop.lake.compose import feedback, has, interaction, number_of, text_of
from tuneloop.lake.fields import ident, parse_json
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ratings import thumb_of

_ROLES = {"prompter": "user", "assistant": "assistant"}
_QUALITIES = ("quality", "helpfulness")
# Trees come whole or nearly so; those that were read longest ago are forgotten.
_TREES = 64


def recognise(record: Mapping[str, Any]) -> float:
    """Look for a message of a tree, or for a tree."""
    tree = parse_json(record.get("prompt"))
    if "message_tree_id" in record and isinstance(tree, Mapping) and "replies" in tree:
        return 1.0
    roles = record.get("role") in ("prompter", "assistant")
    return 1.0 if roles and has(record, "message_id", "parent_id", "text") else 0.0


def split(record: Record) -> Iterator[Record]:
    """Yield the messages of a tree, parents first; a message alone is itself."""
    root = parse_json(record.get("prompt"))
    if not isinstance(root, Mapping):
        yield record
        return
    tree = record.get("message_tree_id")
    waiting: list[tuple[Any, Any]] = [(root, None)]
    while waiting:
        message, parent = waiting.pop()
        if not isinstance(message, Mapping):
            raise UnfitError("not_an_object", "a message of the tree is no object")
        replies = message.get("replies")
        own = {k: v for k, v in message.items() if k != "replies"}
        yield {"message_tree_id": tree, "parent_id": parent} | own
        if isinstance(replies, list):
            waiting += [(reply, own.get("message_id")) for reply in reversed(replies)]


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Yield an assistant's message after those before it, and how it ranks among its siblings."""
    trees = source.memory.setdefault("trees", OrderedDict())
    name, parent = str(record.get("message_id")), ident(record.get("parent_id"))
    root = ident(record.get("message_tree_id"))
    tree = trees.setdefault(root, {"messages": {}, "ranked": {}})
    trees.move_to_end(root)
    while len(trees) > _TREES:
        trees.popitem(last=False)
    role = _ROLES.get(str(record.get("role")))
    if role is None:
        raise UnfitError("bad_role", f"the role is {str(record.get('role'))[:40]!r}")
    before: list[Any] = []
    if parent is not None:
        if parent not in tree["messages"]:
            raise UnfitError("no_parent", f"message {parent} did not come before it")
        before = tree["messages"][parent]
    text = text_of(record.get("text"), "text")
    tree["messages"][name] = [
        *before,
        {"role": role, "content": text, "_user": record.get("user_id")},
    ]
    if thumb_of(record.get("deleted")):
        raise UnfitError("deleted", "the message was taken back")
    if role != "assistant" or not before:
        return []
    return _answered(record, name, before, text, tree["ranked"].setdefault(parent, []))


def _answered(
    record: Record, name: str, before: list[Any], text: str, siblings: list[tuple[str, float]]
) -> Iterator[Event]:
    stamp = {"event_ts": record["created_date"]} if record.get("created_date") else {}
    own = f"oasst-{name}"
    chat = [{"role": m["role"], "content": m["content"]} for m in before]
    extra = {
        k: record[k] for k in ("message_tree_id", "review_result") if record.get(k) is not None
    }
    yield interaction(
        own, chat, text, **stamp, subject_key=before[-1]["_user"],
        system=record.get("model_name") or "human",
        tags=[str(record["lang"])] if record.get("lang") else None, extra=extra,
    )  # fmt: skip
    for label, value in _labels(record.get("labels")):
        if label in _QUALITIES and 0 <= value <= 1:
            yield feedback(
                f"{own}-{label}", own, "score", value, dimension=label,
                actor={"kind": "reviewer"}, **stamp,
            )  # fmt: skip
    rank = number_of(record.get("rank"))
    if rank is None:
        return
    for other, other_rank in siblings:
        winner, loser = (own, other) if rank < other_rank else (other, own)
        outcome = "tie" if rank == other_rank else "better"
        yield feedback(
            f"{own}-over-{other}", winner, "preference",
            {"winner": winner, "loser": loser, "outcome": outcome},
            actor={"kind": "reviewer"}, metadata={"ranks": sorted((rank, other_rank))}, **stamp,
        )  # fmt: skip
    siblings.append((own, rank))


def _labels(labels: Any) -> Iterator[tuple[str, float]]:
    """Yield the means of what reviewers said, in either shape."""
    labels = parse_json(labels)
    if not isinstance(labels, Mapping):
        return
    pairs: Iterable[tuple[Any, Any]]
    if isinstance(labels.get("name"), list):
        values = labels.get("value")
        pairs = zip(labels["name"], values if isinstance(values, list) else [], strict=False)
    else:
        pairs = ((k, v.get("value")) for k, v in labels.items() if isinstance(v, Mapping))
    for name, value in pairs:
        if (number := number_of(value)) is not None:
            yield str(name), number


FORMAT = Format(
    name="oasst",
    title="OpenAssistant",
    recognise=recognise,
    convert=convert,
    split=split,
    fields=(
        ("`text` of an assistant", "`response.content`", "an interaction; `system`: human"),
        ("its ancestors", "`request.messages`", "they must come before it"),
        ("`rank`", "`preference`", "between siblings; 0 is best; equal: a tie"),
        ("`labels.quality`, `.helpfulness`", "`score`", "0 to 1, the mean of reviewers"),
        ("`user_id` of the prompter", "`subject_key`", ""),
        ("`message_tree_id`", "`extra`", "for splits"),
        ("`deleted`", "refused", "`deleted`; its replies stay"),
        ("`lang`", "`tags`", ""),
        ("`created_date`", "`event_ts`", "without: 2000-01-01"),
    ),
    examples=(
        {
            "message_id": "m1", "parent_id": None, "message_tree_id": "m1", "role": "prompter",
            "user_id": "person-17", "text": "Name a river.", "lang": "en", "rank": None,
            "created_date": "2023-02-05T14:23:50.983374+00:00", "deleted": False,
        },
        {
            "message_id": "m2", "parent_id": "m1", "message_tree_id": "m1", "role": "assistant",
            "text": "The Elbe.", "lang": "en", "rank": 0, "deleted": False,
            "created_date": "2023-02-05T14:30:00+00:00",
            "labels": {"name": ["spam", "quality"], "value": [0.0, 0.75], "count": [3, 3]},
        },
        {
            "message_id": "m3", "parent_id": "m1", "message_tree_id": "m1", "role": "assistant",
            "text": "Bananas.", "lang": "en", "rank": 1, "deleted": False,
            "created_date": "2023-02-05T14:31:00+00:00",
        },
        {
            "message_tree_id": "t1", "tree_state": "ready_for_export",
            "prompt": {
                "message_id": "t1", "role": "prompter", "text": "Name a lake.",
                "replies": [
                    {"message_id": "t2", "role": "assistant", "text": "Water.", "rank": 1,
                     "labels": {"quality": {"value": 0.1, "count": 3}}, "replies": []},
                    {"message_id": "t3", "role": "assistant", "text": "Lake Constance.",
                     "rank": 0, "replies": []},
                ],
            },
        },
    ),
)  # fmt: skip
