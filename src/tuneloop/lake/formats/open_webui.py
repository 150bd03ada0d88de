"""Open WebUI: the feedback export of its evaluations page, with the rated chat as a snapshot."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tuneloop.lake.answers import read_answer
from tuneloop.lake.chats import read_messages
from tuneloop.lake.compose import interaction, number_of
from tuneloop.lake.fields import as_text, ident, mapping, rest, rows, take, texts
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id
from tuneloop.lake.parts import Message
from tuneloop.lake.ratings import actor_of, judged, opinion, revision, thumb_of
from tuneloop.lake.times import UNDATED

_DETAILS = (1, 10)  # what the interface offers beside the thumb


def recognise(record: Mapping[str, Any]) -> float:
    """A rating with its data, its place and its snapshot."""
    if {"data", "meta", "snapshot"} <= record.keys():
        return 1.0 if "rating" in mapping(record["data"]) or "type" in record else 0.6
    rating = mapping(record.get("data"))
    return 0.7 if {"rating", "model_id"} <= rating.keys() and "user_id" in record else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Return the rated answer, its rivals where there were some, and what was said."""
    data, meta = mapping(record.get("data")), mapping(record.get("meta"))
    tree, current = _messages(mapping(record.get("snapshot")))
    id = str(take(meta, "message_id") or current or "")
    rated = tree.get(id)
    if rated is None:
        raise UnfitError("no_answer", "the export holds no snapshot of the rated message")
    held = mapping(mapping(record.get("snapshot")).get("chat"))
    chat = str(take(meta, "chat_id") or held.get("id") or content_id("chat", record))
    path = _path(tree, rated)
    if not path:
        raise UnfitError("no_prompt", "no message comes before the rated one")
    prompt = [message for node in path for message in _read(node)]
    rivals = _rivals(tree, rated, data)
    made = [
        interaction(
            f"{chat}/{node['id']}",
            prompt,
            read_answer(_read(node)[-1]),
            event_ts=node.get("timestamp") or held.get("created_at") or UNDATED,
            session_id=chat,
            turn=sum(1 for before in path if before.get("role") == "assistant"),
            subject_key=ident(record.get("user_id")),
            system=ident(take(node, "model", "modelName")) or ident(data.get("model_id")),
        )
        for node in (rated, *rivals)
    ]
    return [*made, *_said(record, data, meta, [event["id"] for event in made])]


def _messages(snapshot: Record) -> tuple[dict[str, Record], str | None]:
    """Return the chat's messages by id and the one on screen, wherever the version keeps them."""
    chat = mapping(snapshot.get("chat"))
    for place in (mapping(chat.get("chat")), chat, snapshot):
        history = mapping(place.get("history"))
        tree = history.get("messages")
        if isinstance(tree, Mapping) and tree:
            nodes = {key: mapping(node) | {"id": key} for key, node in tree.items()}
            return nodes, ident(history.get("currentId"))
    for place in (mapping(chat.get("chat")), chat, snapshot):
        listed = rows(place.get("messages"))
        for n, node in enumerate(listed):
            node["id"] = str(node.get("id") or n)
            node.setdefault("parentId", listed[n - 1]["id"] if n else None)
        if listed:
            return {node["id"]: node for node in listed}, listed[-1]["id"]
    return {}, None


def _path(tree: dict[str, Record], node: Record) -> list[Record]:
    """Return the messages that led to this one, first to last."""
    path: list[Record] = []
    seen = {node["id"]}
    parent = tree.get(str(node.get("parentId")))
    while parent is not None and parent["id"] not in seen:
        seen.add(parent["id"])
        path.append(parent)
        parent = tree.get(str(parent.get("parentId")))
    return path[::-1]


def _read(node: Record) -> list[Message]:
    message = {k: node[k] for k in ("role", "content", "reasoning_content") if node.get(k)}
    images = [
        {"type": "image_url", "image_url": {"url": str(f.get("url"))}}
        for f in rows(node.get("files"))
        if f.get("type") == "image"
    ]
    if images:
        message["content"] = [{"type": "text", "text": str(node.get("content") or "")}, *images]
    return read_messages([{"content": ""} | message])


def _rivals(tree: dict[str, Record], rated: Record, data: Record) -> list[Record]:
    """Return the other answers to the same message by the models that stood beside it."""
    models = set(texts(data.get("sibling_model_ids")) or [])
    return [
        node
        for key, node in sorted(tree.items())
        if models
        and key != rated["id"]
        and node.get("parentId") == rated.get("parentId")
        and node.get("role") == "assistant"
        and str(node.get("model")) in models
        and node.get("content")
    ]


def _said(record: Record, data: Record, meta: Record, ids: list[str]) -> list[Event]:
    """A thumb; beside rivals the same click says who won. Words and details come apart."""
    id = str(record.get("id") or content_id("open-webui", record))
    reason, comment = data.get("reason"), data.get("comment")
    more: dict[str, Any] = {
        "event_ts": take(record, "updated_at", "created_at") or UNDATED,
        "actor": actor_of("user", record.get("user_id")),
        **revision(record.get("created_at"), record.get("updated_at")),
    }
    metadata = rest(data, "rating", "model_id", "comment", "details", "sibling_model_ids")
    metadata |= rest({name: meta.get(name) for name in ("tags", "base_models")})
    beside: dict[str, Any] = {"comment": comment or None, "metadata": metadata or None}
    up = thumb_of(data.get("rating"))
    events: list[Event] = []
    rated, *rivals = ids
    for n, rival in enumerate(rivals if up is not None else []):
        winner, loser = (rated, rival) if up else (rival, rated)
        won = {"signal": "preference", "value": {"winner": winner, "loser": loser}}
        events.append(opinion(winner, won, id=f"{id}-{n}", **more, **beside))
    if up is not None and not rivals:
        events.append(opinion(rated, {"signal": "thumb", "value": up}, id=id, **more, **beside))
    details = number_of(mapping(data.get("details")).get("rating"))
    if details is not None and _DETAILS[0] <= details <= _DETAILS[1]:
        said = judged(details, scale=_DETAILS)
        events.append(opinion(rated, said, id=f"{id}-details", dimension="details", **more))
    if not events and (comment or reason):
        words = {"signal": "comment", "value": as_text(comment or reason)}
        events.append(opinion(rated, words, id=id, **more))
    if not events:
        raise UnfitError("no_value", f"the rating {data.get('rating')!r} is neither up nor down")
    return events


FORMAT = Format(
    name="open_webui",
    title="Open WebUI feedback",
    recognise=recognise,
    convert=convert,
    fields=(
        ("snapshot.chat.chat.history", "request.messages, response", "the path to the message"),
        ("meta.chat_id, meta.message_id", "session_id, id = chat/message", ""),
        ("user_id", "subject_key, actor.id", ""),
        ("data.model_id, message.model", "system", ""),
        ("data.rating ±1", "thumb", ""),
        ("data.sibling_model_ids (arena)", "preference", "against each rival in the snapshot"),
        ("data.details.rating", "score from 1 to 10, dimension details", ""),
        ("data.comment, data.reason, data.tags", "comment, metadata", ""),
        ("created_at, updated_at", "event_ts, revision", "seconds since 1970"),
    ),
    examples=(
        {
            "id": "f-1",
            "user_id": "member-1",
            "version": 0,
            "type": "rating",
            "data": {"rating": 1, "model_id": "llama3", "sibling_model_ids": None,
                     "reason": "accurate_information", "comment": "thanks", "tags": [],
                     "details": {"rating": 9}},
            "meta": {"arena": False, "chat_id": "chat-1", "message_id": "m2", "message_index": 2},
            "snapshot": {
                "chat": {
                    "id": "chat-1",
                    "chat": {
                        "models": ["llama3"],
                        "history": {
                            "currentId": "m2",
                            "messages": {
                                "m1": {"id": "m1", "parentId": None, "childrenIds": ["m2"],
                                       "role": "user", "content": "What is a fjord?",
                                       "timestamp": 1717236000},
                                "m2": {"id": "m2", "parentId": "m1", "childrenIds": [],
                                       "role": "assistant", "content": "A drowned valley.",
                                       "model": "llama3", "timestamp": 1717236004},
                            },
                        },
                    },
                }
            },
            "created_at": 1717236060,
            "updated_at": 1717236065,
        },
        {
            "id": "f-2",
            "user_id": "member-2",
            "version": 0,
            "type": "rating",
            "data": {"rating": "-1", "model_id": "small", "sibling_model_ids": ["large"]},
            "meta": {"arena": True, "chat_id": "chat-2", "message_id": "b1"},
            "snapshot": {
                "chat": {
                    "chat": {
                        "history": {
                            "currentId": "b1",
                            "messages": {
                                "a": {"id": "a", "parentId": None, "role": "user",
                                      "content": "Add 2 and 2."},
                                "b1": {"id": "b1", "parentId": "a", "role": "assistant",
                                       "content": "5", "model": "small"},
                                "b2": {"id": "b2", "parentId": "a", "role": "assistant",
                                       "content": "4", "model": "large"},
                            },
                        }
                    }
                }
            },
            "created_at": 1717236160,
            "updated_at": 1717236160,
        },
    ),
)  # fmt: skip
