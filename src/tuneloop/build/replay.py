"""General data mixed into SFT training against forgetting: read once, the same sample always."""

from __future__ import annotations

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tuneloop.artefacts.digest import canonical_json, digest_file
from tuneloop.artefacts.golden import read_golden
from tuneloop.artefacts.stage import GoldenSet
from tuneloop.build.prompts import BYTES_PER_TOKEN
from tuneloop.build.write import SCHEMAS
from tuneloop.config.sets import BuildConfig, ReplayConfig
from tuneloop.errors import DataError

RULE = "replay"
ROLES = ("system", "developer", "user", "assistant", "tool")
NOT_CHECKED = (
    "Rows whose question equals a golden or a validation one (case and spacing aside) are left "
    "out. Near and semantic likeness, and personal data, are not looked at: check general data "
    "before you name it."
)


@dataclass
class Replay:
    """Rows of general data, ready to be written, and what is known of where they come from."""

    table: pa.Table
    facts: dict[str, Any] = field(default_factory=dict)


def replay(
    config: BuildConfig, n_sft: int, *, seed: int, golden: GoldenSet | None, held_out: set[str]
) -> Replay:
    """Return the rows that bring general data to its share of `n_sft` and themselves.

    Args:
        config: Names the file and the share.
        n_sft: SFT training rows without it.
        seed: Of the sample.
        golden: Prompts that may not be repeated.
        held_out: Questions of the validation rows, as `question_key` has them.

    Raises:
        DataError: if the file cannot be read or holds no usable conversation.
    """
    source = config.replay
    path = Path(source.path or "")
    wanted = round(n_sft * source.share / (1.0 - source.share))
    kept_out = set(held_out)
    for prompt in read_golden(golden.path("golden.jsonl")) if golden else ():
        kept_out |= {question_key(m) for m in prompt.messages if m.get("role") == "user"}
    counts: Counter[str] = Counter()
    usable = _usable(path, config, kept_out, counts, seed)
    drawn = heapq.nsmallest(wanted, usable, key=lambda row: row[0])
    if not drawn and wanted:
        raise DataError(
            f"no usable conversation in the replay data: {dict(sorted(counts.items()))}",
            where=str(path),
            hint="give JSON lines or Parquet with `messages`, or `prompt` and `completion`",
        )
    rows = [row for _, row in sorted(drawn, key=lambda r: r[0])]
    facts = {
        "digest": digest_file(path),
        "terms": source.terms,
        "n_rows": len(rows),
        "n_wanted": wanted,
        "n_read": counts.pop("read", 0),
        "left_out": dict(sorted(counts.items())),
        "not_checked": NOT_CHECKED,
    }
    return Replay(pa.Table.from_pylist(rows, SCHEMAS["sft"]), facts)


def question_key(message: dict[str, Any]) -> str:
    """Return what is equal for equal questions, case and spacing aside."""
    words = " ".join(str(message.get("content") or "").lower().split())
    return hashlib.sha256(words.encode()).hexdigest()[:16]


def _usable(
    path: Path, config: BuildConfig, kept_out: set[str], counts: Counter[str], seed: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (draw, row) of every conversation that may be replayed, each once."""
    seen: set[str] = set()
    for raw in _records(path, counts):
        counts["read"] += 1
        messages = _conversation(raw)
        if messages is None:
            counts["no_conversation"] += 1
            continue
        prompt, answer = messages[:-1], messages[-1]
        if _too_long(prompt, config.max_prompt_tokens) or _too_long(
            [answer], config.max_answer_tokens
        ):
            counts["too_long"] += 1
            continue
        if any(question_key(m) in kept_out for m in prompt if m["role"] == "user"):
            counts["held_out_question"] += 1
            continue
        tools = raw.get("tools")
        tools = tools if isinstance(tools, str) or not tools else canonical_json(tools)
        digest = hashlib.sha256(canonical_json([messages, tools]).encode()).hexdigest()
        if digest in seen:
            counts["repeated"] += 1
            continue
        seen.add(digest)
        draw = hashlib.sha256(f"{seed}:{digest}".encode()).hexdigest()
        yield draw, {
            "prompt": prompt, "completion": [answer], "tools": tools or None,
            "loss_on": config.loss_on, "reasoning": config.reasoning, "row_id": digest[:16],
            "interaction_id": None, "rule": RULE, "weight": 1.0,
            "interaction_ids": [], "feedback_ids": [],
        }  # fmt: skip


def _too_long(messages: list[dict[str, Any]], max_tokens: int | None) -> bool:
    n_bytes = sum(len((m["content"] + (m["tool_calls"] or "")).encode()) for m in messages)
    return max_tokens is not None and n_bytes > max_tokens * BYTES_PER_TOKEN


def _records(path: Path, counts: Counter[str]) -> Iterator[dict[str, Any]]:
    try:
        if path.suffix == ".parquet":
            for batch in pq.ParquetFile(path).iter_batches(batch_size=1024):
                yield from batch.to_pylist()
            return
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                try:
                    row = json.loads(line) if line.strip() else None
                except ValueError:
                    counts["no_json"] += 1
                    continue
                if isinstance(row, dict):
                    yield row
    except (OSError, UnicodeDecodeError, pa.ArrowInvalid) as error:
        raise DataError(f"the replay data cannot be read: {error}", where=str(path)) from error


def _conversation(raw: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the messages of a record up to its last answer; None without question or answer."""
    messages = raw.get("messages")
    if messages is None:
        sides = ((raw.get("prompt"), "user"), (raw.get("completion"), "assistant"))
        messages = [m for side, role in sides
                    for m in ([{"role": role, "content": side}] if isinstance(side, str)
                              else side or [])]  # fmt: skip
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        return None
    plain = [_message(m) for m in messages]
    while plain and plain[-1]["role"] != "assistant":
        plain.pop()
    if not plain or not (plain[-1]["content"].strip() or plain[-1]["tool_calls"]):
        return None
    fits = all(m["role"] in ROLES for m in plain)
    return plain if fits and any(m["role"] == "user" for m in plain) else None


def _message(message: dict[str, Any]) -> dict[str, Any]:
    calls, content = message.get("tool_calls"), message.get("content")
    if isinstance(content, list):  # typed parts
        content = "\n".join(str(p.get("text", "")) for p in content if isinstance(p, dict))
    return {
        "role": str(message.get("role")),
        "content": str(content or ""),
        "name": message.get("name"),
        "tool_calls": calls if isinstance(calls, str) or not calls else canonical_json(calls),
        "tool_call_id": message.get("tool_call_id"),
    }


def wanted(config: ReplayConfig) -> bool:
    """Return whether general data is mixed in."""
    return config.path is not None and config.share > 0
