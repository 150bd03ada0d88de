"""Settle repetitions and contradictions: one row for what many said, the better-evidenced wins."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass

from tuneloop.artefacts.digest import digest_json
from tuneloop.build.examples import Example

Votes = dict[tuple[str, ...], list[Example]]
MAX_WEIGHT = 1.0


@dataclass(frozen=True)
class Settled:
    """One training row and everything it rests on."""

    row_id: str
    example: Example

    @property
    def interaction_id(self) -> str:
        """The interaction whose prompt and answer the row shows."""
        return self.example.interactions[0]


def settle_sft(examples: list[Example], skipped: Counter[str]) -> list[Settled]:
    """Merge equal rows; of several completions to one prompt keep the best-evidenced.

    Evidence is the sum of weights; a correction wins a tie, since its author saw the answer.
    """
    kept = []
    for votes in _by_prompt(examples).values():
        ranked = sorted(votes.values(), key=_evidence, reverse=True)
        kept.append(_merge("sft", ranked[0]))
        skipped["sft_repeated"] += len(ranked[0]) - 1
        skipped["sft_contradicted"] += sum(len(other) for other in ranked[1:])
    return sorted(kept, key=lambda row: (row.interaction_id, row.row_id))


def settle_preferences(examples: list[Example], skipped: Counter[str]) -> list[Settled]:
    """Merge equal pairs; where people disagree on the order the heavier side wins, a tie none."""
    kept = []
    for votes in _by_prompt(examples).values():
        for (chosen, rejected), agreeing in votes.items():
            against = votes.get((rejected, chosen), [])
            if chosen == rejected or _mass(agreeing) <= _mass(against):
                skipped["preference_contradicted"] += len(agreeing)
            else:
                kept.append(_merge("preference", agreeing))
                skipped["preference_repeated"] += len(agreeing) - 1
    return sorted(kept, key=lambda row: (row.interaction_id, row.row_id))


def settle_kto(examples: list[Example], skipped: Counter[str]) -> list[Settled]:
    """Merge thumbs on one answer to one prompt; where they disagree the heavier side wins."""
    kept = []
    for votes in _by_prompt(examples).values():
        for given in votes.values():
            sides = {label: [e for e in given if e.label is label] for label in (True, False)}
            up, down = _mass(sides[True]), _mass(sides[False])
            if up == down:
                skipped["kto_contradicted"] += len(given)
                continue
            winner, loser = sides[up > down], sides[up < down]
            kept.append(_merge("kto", winner))
            skipped["kto_repeated"] += len(winner) - 1
            skipped["kto_contradicted"] += len(loser)
    return sorted(kept, key=lambda row: (row.interaction_id, row.row_id))


def sample(rows: list[Settled], most: int | None, *, seed: int) -> list[Settled]:
    """Return at most `most` rows, the same for the same rows and seed, in their order."""
    if most is None or len(rows) <= most:
        return rows

    def draw(row: Settled) -> str:
        return hashlib.sha256(f"{seed}:{row.row_id}".encode()).hexdigest()

    chosen = {row.row_id for row in sorted(rows, key=draw)[:most]}
    return [row for row in rows if row.row_id in chosen]


def _by_prompt(examples: list[Example]) -> dict[str, Votes]:
    """Return prompt → texts → the examples that say so; spacing at the ends aside."""
    found: dict[str, Votes] = defaultdict(lambda: defaultdict(list))
    for example in examples:
        texts = tuple(text.strip() for text in example.texts)
        found[example.prompt_key][texts].append(example)
    return found


def _mass(examples: list[Example]) -> float:
    return round(sum(example.weight for example in examples), 9)


def _evidence(examples: list[Example]) -> tuple[float, bool, str]:
    corrected = any(example.rule == "correction" for example in examples)
    return _mass(examples), corrected, min(example.interactions[0] for example in examples)


def _merge(kind: str, examples: list[Example]) -> Settled:
    """Return one row for equal examples: the heaviest shown, all sources kept."""
    best = min(examples, key=lambda e: (-e.weight, e.interactions[0]))
    rest = [example for example in examples if example is not best]
    # The same prompt on both sides of the split trains: validation must hold nothing seen.
    split = "train" if any(e.split == "train" for e in examples) else best.split
    interactions = dict.fromkeys([*best.interactions, *(i for e in rest for i in e.interactions)])
    merged = Example(
        rule=best.rule,
        split=split,
        prompt=best.prompt,
        prompt_key=best.prompt_key,
        texts=best.texts,
        weight=min(best.weight, MAX_WEIGHT),
        interactions=tuple(interactions),
        feedback=tuple(dict.fromkeys(f for e in [best, *rest] for f in e.feedback)),
        label=best.label,
    )
    return Settled(digest_json([kind, best.prompt_key, *best.texts])[:16], merged)
