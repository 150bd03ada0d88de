"""Adding, reviewing and retiring golden prompts, and what differs between two versions."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from tuneloop.artefacts.digest import digest_json
from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.curate.overlap import Overlap
from tuneloop.errors import DataError
from tuneloop.evaluate.checks import check_golden
from tuneloop.golden_set.file import GoldenFile

NEAR = 0.7
"""Word 5-gram Jaccard from which two golden prompts are one; as `curate.leak.near_threshold`."""
BOOKKEEPING = {"added_by", "added_at", "reviewed_by", "version"}


def add(
    file: GoldenFile,
    prompts: Sequence[GoldenPrompt],
    *,
    by: str,
    update: bool = False,
    new_slices: bool = False,
) -> dict[str, Any]:
    """Put prompts into a golden file; return which were added and which were changed.

    Args:
        file: Where; written only if all of them fit.
        prompts: As stated; who and when are filled in.
        by: Who adds them.
        update: Let a prompt replace the one of its id, as its next version.
        new_slices: Let them name slices that no other prompt has.

    Raises:
        DataError: if an id is taken, a check does not compile, a prompt nearly repeats another
            one of the set, or a slice is unknown.
    """
    check_golden(list(prompts))
    known = {prompt.id: prompt for prompt in file.prompts}
    taken = [prompt.id for prompt in prompts if prompt.id in known and not update]
    if taken:
        raise DataError(
            f"these ids are taken: {', '.join(taken)}",
            where=str(file.path),
            hint="--update makes them the next version of those prompts",
        )
    twice = [id for id, n in Counter(prompt.id for prompt in prompts).items() if n > 1]
    if twice:
        raise DataError(f"these ids are given twice: {', '.join(twice)}", where="golden add")
    _refuse_unknown_slices(file, prompts, new_slices)
    _refuse_repeated(file, prompts)
    now = datetime.now(UTC).replace(microsecond=0)
    for prompt in prompts:
        old = known.get(prompt.id)
        file.put(
            prompt.model_copy(
                update={
                    "version": old.version + 1 if old else 1,
                    "added_by": old.added_by if old else by,
                    "added_at": old.added_at if old else now,
                    "reviewed_by": by if prompt.status == "active" else None,
                }
            )
        )
    file.save()
    return {
        "added": [prompt.id for prompt in prompts if prompt.id not in known],
        "changed": [prompt.id for prompt in prompts if prompt.id in known],
    }


def review(
    file: GoldenFile, *, accept: Sequence[str], reject: Sequence[str], by: str, why: str = ""
) -> dict[str, Any]:
    """Make candidates active, or retire them for the record; return which.

    From then on the interactions an accepted prompt was made from are never trained on.

    Raises:
        DataError: if one is no candidate, is both accepted and rejected, or is rejected
            without a reason.
    """
    both = sorted(set(accept) & set(reject))
    if both:
        raise DataError(f"both accepted and rejected: {', '.join(both)}", where="golden review")
    if reject and not why.strip():
        raise DataError("a rejection needs a reason", where="golden review", hint="--why TEXT")
    for id in (*accept, *reject):
        prompt = file.get(id)
        if prompt.status != "candidate":
            raise DataError(f"{id!r} is {prompt.status}, no candidate", where=str(file.path))
        update: dict[str, Any] = {"reviewed_by": by, "status": "active"}
        if id in reject:
            update |= {"status": "retired", "retired_reason": f"rejected: {why}"}
        file.put(prompt.model_copy(update=update))
    file.save()
    return {"accepted": list(accept), "rejected": list(reject)}


def retire(file: GoldenFile, ids: Sequence[str], *, by: str, why: str) -> dict[str, Any]:
    """Take prompts out of force, keeping their lines with the reason; return which.

    Raises:
        DataError: if there is none of that id, it is retired already, or no reason is given.
    """
    if not why.strip():
        raise DataError("retiring needs a reason", where="golden retire", hint="--why TEXT")
    for id in ids:
        prompt = file.get(id)
        if prompt.status == "retired":
            raise DataError(f"{id!r} is retired already", where=str(file.path))
        update = {"status": "retired", "retired_reason": why, "reviewed_by": by}
        file.put(prompt.model_copy(update=update))
    file.save()
    return {"retired": list(ids)}


def diff(old: Sequence[GoldenPrompt], new: Sequence[GoldenPrompt]) -> dict[str, Any]:
    """Return what differs between two versions of a golden set, as far as it counts.

    Who did what and when is left out. `slices` holds [before, after] of every slice whose
    number of active prompts changed.
    """
    before, after = ({prompt.id: prompt for prompt in prompts} for prompts in (old, new))
    changed = {}
    for id in before.keys() & after.keys():
        one, other = (
            side[id].model_dump(mode="json", exclude=BOOKKEEPING) for side in (before, after)
        )
        fields = sorted(name for name in one if one[name] != other[name])
        if fields:
            changed[id] = fields
    counts = [slice_counts(prompts) for prompts in (old, new)]
    return {
        "added": [prompt.id for prompt in new if prompt.id not in before],
        "removed": [prompt.id for prompt in old if prompt.id not in after],
        "retired": sorted(
            id for id, fields in changed.items()
            if "status" in fields and after[id].status == "retired"
        ),
        "changed": dict(sorted(changed.items())),
        "slices": {
            name: [counts[0][name], counts[1][name]]
            for name in sorted(counts[0] | counts[1])
            if counts[0][name] != counts[1][name]
        },
        "active": [sum(p.status == "active" for p in prompts) for prompts in (old, new)],
    }  # fmt: skip


def slice_counts(prompts: Sequence[GoldenPrompt]) -> Counter[str]:
    """Return how many active prompts each slice has."""
    return Counter(name for p in prompts if p.status == "active" for name in p.slices)


def derive_id(messages: Sequence[dict[str, Any]]) -> str:
    """Return an id for a prompt that has none, from its messages."""
    return f"g-{digest_json(list(messages))[:12]}"


def question(prompt: GoldenPrompt) -> str:
    """Return what a prompt asks: its user turns, in one text."""
    return "\n".join(m["content"] for m in prompt.messages if m["role"] == "user")


def _refuse_unknown_slices(
    file: GoldenFile, prompts: Sequence[GoldenPrompt], new_slices: bool
) -> None:
    known = {name for prompt in file.prompts for name in prompt.slices}
    unknown = sorted({name for prompt in prompts for name in prompt.slices} - known)
    if unknown and known and not new_slices:
        close = difflib.get_close_matches(unknown[0], known, n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        raise DataError(
            f"no other prompt has these slices: {', '.join(unknown)}",
            where=str(file.path),
            hint=f"{meant}--new-slice allows them",
        )


def _refuse_repeated(file: GoldenFile, prompts: Sequence[GoldenPrompt]) -> None:
    """Fail where a prompt nearly repeats another one that is in force or waits."""
    ids = {prompt.id for prompt in prompts}
    others = [p for p in file.prompts if p.status != "retired" and p.id not in ids]
    texts = pa.array([question(prompt) for prompt in prompts], type=pa.large_string())
    for held in (others, *(prompts[:place] for place in range(1, len(prompts)))):
        asked = texts if held is others else texts[len(held) : len(held) + 1]
        found = Overlap([question(p) for p in held], near=NEAR, contained=2).match(asked)
        for place in found.kind.nonzero()[0][:1].tolist():
            prompt = prompts[place if held is others else len(held)]
            raise DataError(
                f"{prompt.id!r} nearly repeats {held[int(found.index[place])].id!r} "
                f"(similarity {found.similarity[place]:.2f})",
                where=str(file.path),
                hint="retire the other one first, or ask something else",
            )
