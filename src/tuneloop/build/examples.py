"""The rules that turn curated rows into examples, one function a rule."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any

from tuneloop.artefacts.digest import digest_json
from tuneloop.config.data import BuildConfig

EXPLICIT = ("thumb", "stars", "score", "preference")
Messages = list[dict[str, str]]


@dataclass(frozen=True)
class Answered:
    """One curated row as the rules see it."""

    id: str
    split: str
    prompt: Messages
    prompt_key: str
    answer: str
    correction: str | None
    score: float
    weight: float
    signals: list[dict[str, Any]]

    def feedback(self, *signals: str) -> tuple[str, ...]:
        """Return the ids of its feedback by these signals (all, if none are named)."""
        return tuple(
            s["feedback_id"] for s in self.signals if not signals or s["signal"] in signals
        )

    @property
    def has_thumb(self) -> bool:
        """Whether somebody said up or down, or that both answers of a pair were bad."""
        return any(
            s["signal"] == "thumb"
            or (s["signal"] == "preference" and '"both_bad"' in s["value_json"])
            for s in self.signals
        )


@dataclass(frozen=True)
class Example:
    """One training row before repetitions and contradictions are settled.

    `texts` is (completion,) for SFT and KTO, (chosen, rejected) for a preference.
    """

    rule: str
    split: str
    prompt: Messages
    prompt_key: str
    texts: tuple[str, ...]
    weight: float
    interactions: tuple[str, ...]
    feedback: tuple[str, ...]
    label: bool | None = None


@dataclass
class Examples:
    """Every example the rules make, and why some rows made none."""

    sft: list[Example] = field(default_factory=list)
    preference: list[Example] = field(default_factory=list)
    kto: list[Example] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def read_rows(table: list[dict[str, Any]], config: BuildConfig) -> list[Answered]:
    """Return curated rows with the prompts that training will see."""
    rows = []
    for row in table:
        prompt: Messages = row["prompt"]
        if config.system_prompt == "strip":
            prompt = [m for m in prompt if m["role"] != "system"]
        rows.append(
            Answered(
                id=row["interaction_id"],
                split=row["split"],
                prompt=prompt,
                prompt_key=prompt_key(prompt),
                answer=row["answer"],
                correction=row["correction"],
                score=row["score"],
                weight=row["weight"],
                signals=row["signals"],
            )
        )
    return rows


def prompt_key(prompt: Messages) -> str:
    """Return what is equal for equal prompts: roles and texts, spacing aside."""
    return digest_json([[m["role"], " ".join(m["content"].split())] for m in prompt])


def make_examples(
    rows: Sequence[Answered], preferences: list[dict[str, Any]], config: BuildConfig
) -> Examples:
    """Apply every rule to every row; unpaired thumbs come last, since they are what is left."""
    made = Examples()
    for row in rows:
        if row.correction is not None:
            _correct(row, made)
        elif row.score >= config.sft_min_score:
            liked = _example(row, "liked", (row.answer,), row.feedback())
            made.sft.append(replace(liked, weight=round(row.weight * row.score, 6)))
    made.preference += _contrasts(rows, config)
    made.preference += _stated(rows, preferences, made.skipped)
    paired = {id for example in made.preference for id in example.interactions}
    for row in rows:
        if row.id not in paired and row.has_thumb and row.score != 0:
            rule = "thumb_up" if row.score > 0 else "thumb_down"
            made.kto.append(
                _example(row, rule, (row.answer,), row.feedback(*EXPLICIT), label=row.score > 0)
            )
    return made


def _correct(row: Answered, made: Examples) -> None:
    """A correction is a good answer, and better than the one it corrects."""
    by = row.feedback("correction")
    chosen = row.correction or ""
    made.sft.append(_example(row, "correction", (chosen,), by))
    made.preference.append(_example(row, "correction", (chosen, row.answer), by))


def _contrasts(rows: Sequence[Answered], config: BuildConfig) -> Iterator[Example]:
    """Liked before less liked answers to the same prompt, widest margin first."""
    by_prompt: dict[str, dict[str, list[Answered]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        by_prompt[row.prompt_key][row.answer.strip()].append(row)
    for answers in by_prompt.values():
        if len(answers) < 2:
            continue
        ranked = sorted(((_mean_score(given), given) for given in answers.values()),
                        key=lambda pair: (-pair[0], pair[1][0].id))  # fmt: skip
        pairs = [
            (high - low, better, worse)
            for (high, better), (low, worse) in combinations(ranked, 2)
            if high > 0 and high - low >= config.pair_min_margin
        ]
        pairs.sort(key=lambda pair: -pair[0])
        for _, better, worse in pairs[: config.max_pairs_per_prompt]:
            yield _pair(better, worse, "contrast", _feedback_of([*better, *worse]))


def _stated(
    rows: Sequence[Answered], preferences: list[dict[str, Any]], skipped: Counter[str]
) -> Iterator[Example]:
    """What people said when they saw two answers side by side."""
    by_id = {row.id: row for row in rows}
    for stated in preferences:
        winner, loser = by_id.get(stated["winner_id"]), by_id.get(stated["loser_id"])
        if stated["outcome"] != "better":
            skipped[f"preference_{stated['outcome']}"] += 1
        elif winner is None or loser is None:
            skipped["preference_without_answers"] += 1
        elif winner.prompt_key != loser.prompt_key:
            skipped["preference_prompts_differ"] += 1
        elif winner.answer.strip() == loser.answer.strip():
            skipped["preference_same_answer"] += 1
        else:
            yield _pair([winner], [loser], "preference", (stated["feedback_id"],))


def _pair(
    better: list[Answered], worse: list[Answered], rule: str, feedback: tuple[str, ...]
) -> Example:
    mass = [max(row.weight for row in side) for side in (better, worse)]
    return Example(
        rule=rule,
        split=better[0].split,
        prompt=better[0].prompt,
        prompt_key=better[0].prompt_key,
        texts=(better[0].answer, worse[0].answer),
        weight=1.0 if rule == "preference" else min(mass),
        interactions=tuple(row.id for row in [*better, *worse]),
        feedback=feedback,
    )


def _example(
    row: Answered,
    rule: str,
    texts: tuple[str, ...],
    feedback: tuple[str, ...],
    *,
    label: bool | None = None,
) -> Example:
    return Example(
        rule=rule,
        split=row.split,
        prompt=row.prompt,
        prompt_key=row.prompt_key,
        texts=texts,
        weight=row.weight,
        interactions=(row.id,),
        feedback=feedback,
        label=label,
    )


def _mean_score(rows: list[Answered]) -> float:
    mass = sum(row.weight for row in rows)
    return sum(row.score * row.weight for row in rows) / mass if mass else 0.0


def _feedback_of(rows: list[Answered]) -> tuple[str, ...]:
    return tuple(id for row in rows for id in row.feedback())
