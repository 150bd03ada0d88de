"""What must hold before a win rate may decide: the instrument, one condition each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tuneloop.artefacts.decision import GateStatus
from tuneloop.compare.measure import Evidence
from tuneloop.config.compare import CompareConfig


@dataclass(frozen=True)
class Condition:
    """One condition of a promotion. A broken instrument holds, it rejects nobody."""

    name: str
    status: GateStatus
    detail: str
    kind: Literal["instrument", "evidence"] = "instrument"


def people_decide(of: Evidence, config: CompareConfig) -> bool:
    """Return whether there are labels enough for the corrected win rate to decide."""
    return of.corrected is not None and of.corrected.of.n_labels >= config.min_labels


def instrument(of: Evidence, config: CompareConfig) -> list[Condition]:
    """Return the conditions of the judgments themselves, in the order in which they bind.

    Where people decide, the judge's own faults are stated and hold nothing: labels put right
    whatever it does.
    """
    own = [_order(of, config), _consistency(of, config), _length(of)]
    if people_decide(of, config):
        own = [
            Condition(c.name, "skipped", f"{c.detail} Human labels correct for it.")
            if c.status == "failed"
            else c
            for c in own
        ]
    return [_missing(of, config), *own, _people(of, config)]


def _missing(of: Evidence, config: CompareConfig) -> Condition:
    n_rows, missing = len(of.prompts.rows.prompt), sum(of.prompts.missing.values())
    n_prompts = len(of.prompts.ids)
    unscored = n_prompts - of.raw.n_scored
    if not n_rows:
        return Condition("missing", "failed", "There is no judgment: nothing can be decided.")
    if not missing:
        return Condition("missing", "passed", f"None of {n_rows} judgments is missing.")
    kinds = ", ".join(f"{n} {kind}" for kind, n in of.prompts.missing.items())
    detail = (
        f"{percent(missing / n_rows)} of the judgments are missing ({missing} of {n_rows}: {kinds};"
        f" {unscored} of {n_prompts} prompts are without any); at most"
        f" {100 * config.max_missing_fraction:g} % may be."
    )
    ok = max(missing / n_rows, unscored / n_prompts) <= config.max_missing_fraction
    return Condition("missing", "passed" if ok else "failed", detail)


def _order(of: Evidence, config: CompareConfig) -> Condition:
    position, raw, name = of.position, of.raw, "order"
    if not position.n_judgments:
        detail = "No row says which answer was shown first: bias by position was not looked at."
        return Condition(name, "skipped", detail)
    first = percent(position.first_rate or 0.0)
    if position.shift is None:
        detail = (
            "The candidate was shown in the same place in every judgment, so that a liking for"
            f" that place ({first} of judgments are for the answer shown first) cannot be told from"
            " a better answer: judge both orders."
        )
        return Condition(name, "failed", detail)
    detail = (
        f"{first} of {position.n_judgments} judgments are for the answer shown first; uneven orders"
        f" can have moved the win rate by {100 * position.shift:.1f} points."
    )
    better = raw.low > config.min_improvement >= raw.low - position.shift
    worse = raw.high < 0 <= raw.high + position.shift
    if better or worse:
        return Condition(name, "failed", f"{detail} With that taken off nothing is proven.")
    return Condition(name, "passed", detail)


def _consistency(of: Evidence, config: CompareConfig) -> Condition:
    found, name = of.position.consistency, "consistency"
    if found is None:
        return Condition(name, "skipped", "No prompt was judged in both orders.")
    detail = (
        f"The two orders agree on {percent(found)} of {of.position.n_both} prompts;"
        f" {100 * config.min_consistency:g} % are needed."
    )
    if found >= config.min_consistency:
        return Condition(name, "passed", detail)
    rate = percent(of.position.first_rate or 0.0)
    detail += (
        f" {rate} of judgments are for the answer shown first: a judge that turns with the order"
        " decides nothing; take another one, or label pairs."
    )
    return Condition(name, "failed", detail)


def _length(of: Evidence) -> Condition:
    found, raw, name = of.length, of.raw.of, "length"
    if found is None or raw is None:
        detail = "No lengths: what they did to the judge was not looked at."
        return Condition(name, "skipped", detail)
    rates = f"raw {percent(0.5 + raw.estimate)}, length-controlled {percent(found.win_rate)}"
    if raw.estimate * (found.win_rate - 0.5) < 0:
        detail = f"The win rate changes sides once length is held equal: {rates}."
        return Condition(name, "failed", detail)
    return Condition(name, "passed", f"Length does not change who wins: {rates}.")


def _people(of: Evidence, config: CompareConfig) -> Condition:
    found, name = of.agreement, "people"
    if found is None:
        return Condition(name, "skipped", "No human label: the judge's own bias cannot be seen.")
    if found.kappa is None or found.kappa_high is None:
        detail = f"Judge and people know one class alone in {found.n} judgments: no kappa."
        return Condition(name, "skipped", detail)
    detail = (
        f"The judge agrees with people in {percent(found.accuracy)} of {found.n} judgments, kappa"
        f" {found.kappa:.2f} ({found.kappa_low:.2f} to {found.kappa_high:.2f})"
    )
    if people_decide(of, config):
        if found.kappa < config.min_kappa:
            detail += ": it adds next to nothing, people decide"
        return Condition(name, "passed", f"{detail}.")
    if found.kappa_high < config.min_kappa:
        detail += (
            f": below {config.min_kappa:g} only people can decide, and fewer than"
            f" {config.min_labels} prompts have a label."
        )
        return Condition(name, "failed", detail)
    return Condition(name, "passed", f"{detail}.")


def percent(rate: float) -> str:
    """Return a rate as people read it."""
    return f"{100 * rate:.1f} %"
