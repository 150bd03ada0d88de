"""Whether a deciding judge merely liked the longer answers."""

from __future__ import annotations

import numpy as np

from tuneloop.artefacts.decision import Gate
from tuneloop.decide.measure import rounded
from tuneloop.decide.outcomes import Evidence, judge_values
from tuneloop.statistics.length import length_controlled, length_feature
from tuneloop.statistics.resampling import Resampling

NAME = "judge_length"


def gate_length(evidence: Evidence, how: Resampling) -> list[Gate]:
    """Fail if the judge's win rate changes sides where both answers are equally long.

    No gate where the judge does not decide, or no two answers differ in length. The model is
    fitted again in every resample of families; `value` is the length-controlled win rate.
    """
    role = (evidence.evaluation.get("judge") or {}).get("role", "off")
    chars = {
        (row["prompt_id"], row["side"]): len(row["text"] or "")
        for row in evidence.answers
        if row["status"] == "ok"
    }
    rows = [
        (pair.candidate, chars[prompt, "candidate"], chars[prompt, "champion"], prompt)
        for prompt, pair in sorted(judge_values(evidence.judgments).items())
        if pair.candidate is not None
        and (prompt, "candidate") in chars
        and (prompt, "champion") in chars
    ]
    if role != "deciding" or not rows:
        return []
    share, candidate, champion = np.array([row[:3] for row in rows], dtype=np.float64).T
    feature = length_feature(candidate, champion)
    if feature is None:
        return []
    units = [evidence.units[row[3]] for row in rows]
    codes = np.unique(units, return_inverse=True)[1]
    found, raw = length_controlled(share, feature, how, codes=codes), float(np.mean(share))
    turned = (raw - 0.5) * (found.win_rate - 0.5) < 0
    by_length = f"{100 * (raw - found.win_rate):+.1f}".replace("-", "\N{MINUS SIGN}")
    said = "The judge's win rate changes sides" if turned else "The judge's win rate keeps its side"
    detail = (
        f"{said} once length is held equal: raw {100 * raw:.1f} %, length-controlled"
        f" {100 * found.win_rate:.1f} % ({100 * (1 - 2 * how.alpha):g} % interval"
        f" {100 * found.ci_low:.1f} to {100 * found.ci_high:.1f}) on {found.n} prompts;"
        f" length makes {by_length} points of it."
    )
    if turned and found.ci_low <= 0.5 <= found.ci_high:
        detail += " The interval has both sides: labels by people would tell which."
    return [
        Gate(
            name=NAME,
            status="failed" if turned else "passed",
            detail=detail,
            value=rounded(found.win_rate),
            limit=0.5,
        )
    ]
