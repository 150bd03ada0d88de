"""What the two systems' answers are like as a whole: length, form, refusals, latency, drift.

Nothing here is a gate. It shows what the average of a metric hides: a candidate that answers
twice as long, refuses more, or talks about something else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuneloop.artefacts.golden import GoldenPrompt
from tuneloop.config.evaluate import DriftConfig
from tuneloop.evaluate.answers import Answers
from tuneloop.evaluate.calibration import cluster_codes, rounded
from tuneloop.evaluate.checks.rules.refusal import refuses
from tuneloop.evaluate.checks.run import all_passed
from tuneloop.evaluate.tables import SIDES, Row, Side
from tuneloop.runtime.encoder import find_encoder
from tuneloop.statistics.distance import Distance, kolmogorov_smirnov, mean_discrepancy
from tuneloop.statistics.paired import compare_differences
from tuneloop.statistics.resampling import Codes, Floats, Resampling

if TYPE_CHECKING:
    from pathlib import Path

    from tuneloop.runtime.encoder import Encoder
    from tuneloop.runtime.serving import ChatResult

ALPHA = 0.025
N_RESAMPLES = 2_000
FEWEST = 20
"""With fewer answered prompts no difference in meaning can be told from chance."""
MOST = 2_000
"""Answers of each system that are compared by meaning: the first by id."""
FORMATS = ("json_schema", "tool_call")
"""Kinds of checks that say whether an answer has the form that was asked for."""

Values = Mapping[str, tuple[float | None, float | None]]
"""Prompt id → value of champion and candidate; None is missing."""


@dataclass(frozen=True)
class Seen:
    """What was seen of both systems."""

    prompts: Sequence[GoldenPrompt]
    answers: Mapping[Side, Answers]
    checks: Sequence[Row]
    timings: Sequence[Row]


def open_encoder(config: DriftConfig, *, cache: Path | None = None) -> Encoder | None:
    """Return the encoder that meanings are compared with; None where they are not.

    Raises:
        TuneloopError: if it is not installed and `meaning` is `on`.
    """
    if config.meaning == "off":
        return None
    return find_encoder(config.encoder, cache=cache, required=config.meaning == "on")


def describe(seen: Seen, encoder: Encoder | None, *, seed: int) -> list[Row]:
    """Return the rows of `distributions.parquet`; what cannot be measured says why.

    Args:
        seen: Both systems' answers, checks and timings.
        encoder: For meanings; None: not installed or not wanted.
        seed: Of the resamples and the swaps.
    """
    how = Resampling(alpha=ALPHA, n_bootstrap=N_RESAMPLES, seed=seed)
    families = {p.id: p.family or p.id for p in seen.prompts}
    words = _of_answers(seen, lambda r: float(len(r.text.split())))
    return [
        _difference("length_words", "words", words, families, how),
        _difference(
            "length_tokens", "tokens", _of_answers(seen, lambda r: float(r.n_completion_tokens)),
            families, how,
        ),
        _difference("refusals", "share", _of_answers(seen, _refuses), families, how),
        _difference(
            "cut_off", "share", _of_answers(seen, lambda r: float(r.finish_reason == "length")),
            families, how,
        ),
        _difference("format", "share", _formats(seen), families, how),
        _difference("latency_s", "seconds", _latency(seen), families, how),
        _length_drift(words, families, how),
        _meaning_drift(seen, encoder, families, how),
    ]  # fmt: skip


def _of_answers(seen: Seen, value: Callable[[ChatResult], float | None]) -> Values:
    def one(side: Side, prompt: str) -> float | None:
        result = seen.answers[side][prompt]
        return value(result) if result.status == "ok" else None

    return {p.id: (one(SIDES[0], p.id), one(SIDES[1], p.id)) for p in seen.prompts}


def _refuses(result: ChatResult) -> float | None:
    try:
        return float(refuses(result.text))
    except TimeoutError:
        return None


def _formats(seen: Seen) -> Values:
    """Return whether every check of form held, where a prompt has one."""
    found: dict[str, dict[str, list[bool | None]]] = {}
    for row in seen.checks:
        if row["kind"] in FORMATS:
            by_side = found.setdefault(row["prompt_id"], {side: [] for side in SIDES})
            by_side[row["side"]].append(row["passed"])

    def value(outcomes: Sequence[bool | None]) -> float | None:
        passed = all_passed(outcomes)
        return None if passed is None else float(passed)

    return {p: (value(by[SIDES[0]]), value(by[SIDES[1]])) for p, by in found.items()}


def _latency(seen: Seen) -> Values:
    took: dict[str, dict[str, float | None]] = {}
    for row in seen.timings:
        took.setdefault(row["prompt_id"], {})[row["side"]] = row["seconds"]
    return {p: (by.get(SIDES[0]), by.get(SIDES[1])) for p, by in took.items()}


_NOTHING = {
    "format": "no golden prompt has a check of form (json_schema, tool_call)",
    "latency_s": "latency was not measured: evaluate.latency.n_prompts is 0",
}


def _row(metric: str, unit: str, n_asked: int, **fields: object) -> Row:
    row: Row = dict.fromkeys(
        ("reason", "champion", "candidate", "estimate", "ci_low", "ci_high", "p_value",
         "null_high", "method")
    )  # fmt: skip
    row |= {"metric": metric, "unit": unit, "status": "ok", "n": 0, "n_missing": n_asked} | fields
    return row


def _complete(
    values: Values, families: Mapping[str, str]
) -> tuple[Floats, Floats, Codes, list[str]]:
    """Return both sides' values where both are known, and the prompts' clusters."""
    known = [p for p, pair in values.items() if None not in pair]
    champion, candidate = (
        np.array([values[p][i] for p in known], dtype=np.float64) for i in (0, 1)
    )
    return champion, candidate, cluster_codes([families[p] for p in known]), known


def _difference(
    metric: str, unit: str, values: Values, families: Mapping[str, str], how: Resampling
) -> Row:
    champion, candidate, codes, known = _complete(values, families)
    if not known:
        reason = _NOTHING.get(metric, "no prompt was answered by both") if not values else None
        reason = reason or "no prompt has a value of both"
        return _row(metric, unit, len(values), status="missing", reason=reason)
    reach = max(1e-9, float(np.max(np.abs(np.concatenate([champion, candidate])))))
    step = 1.0 if unit == "share" else None
    found = compare_differences(candidate - champion, how, reach=reach, step=step, codes=codes)
    alone = found.n < 2
    return _row(
        metric, unit, 0, n=len(known), n_missing=len(values) - len(known),
        champion=rounded(float(champion.mean())), candidate=rounded(float(candidate.mean())),
        estimate=rounded(found.estimate), ci_low=None if alone else rounded(found.ci_low),
        ci_high=None if alone else rounded(found.ci_high),
        p_value=rounded(min(1.0, 2 * min(found.p_value, found.p_below))), method=found.method,
    )  # fmt: skip


def _length_drift(values: Values, families: Mapping[str, str], how: Resampling) -> Row:
    champion, candidate, codes, known = _complete(values, families)
    if not known:
        reason = "no prompt was answered by both"
        return _row("length_drift", "distance", len(values), status="missing", reason=reason)
    found = kolmogorov_smirnov(champion, candidate, codes, how)
    method = "Kolmogorov-Smirnov of words, swaps of answers"
    return _drift("length_drift", found, len(known), len(values), method)


def _meaning_drift(
    seen: Seen, encoder: Encoder | None, families: Mapping[str, str], how: Resampling
) -> Row:
    given = seen.answers
    both = [p.id for p in seen.prompts if all(given[s][p.id].status == "ok" for s in SIDES)]
    n_asked = len(seen.prompts)
    reason = None
    if encoder is None:
        reason = (
            "no encoder: it is not installed (extra semantic), or evaluate.drift.meaning is off"
        )
    elif len(both) < FEWEST:
        reason = f"{len(both)} prompts were answered by both, {FEWEST} are needed"
    if encoder is None or reason:
        return _row("meaning_drift", "distance", n_asked, status="missing", reason=reason)
    chosen = both[:MOST]
    vectors = encoder.encode([given[side][p].text for side in SIDES for p in chosen])
    codes = cluster_codes([families[p] for p in chosen])
    halves = (vectors[: len(chosen)], vectors[len(chosen) :])
    champion, candidate = (half.astype(np.float64) for half in halves)
    found = mean_discrepancy(champion, candidate, codes, how)
    method = "squared maximum mean discrepancy of embeddings, swaps of answers"
    return _drift("meaning_drift", found, len(chosen), n_asked, method)


def _drift(metric: str, found: Distance, n: int, n_asked: int, method: str) -> Row:
    return _row(
        metric, "distance", 0, n=n, n_missing=n_asked - n, estimate=rounded(found.estimate),
        ci_low=rounded(found.low), ci_high=rounded(found.high), p_value=rounded(found.p_value),
        null_high=rounded(found.null_high), method=method,
    )  # fmt: skip
