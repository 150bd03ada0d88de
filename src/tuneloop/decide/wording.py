"""Sentences of the verdict: percent and points for rates, plain numbers for graded metrics."""

from __future__ import annotations

from dataclasses import dataclass

from tuneloop.artefacts.decision import Measured, Primary


@dataclass(frozen=True)
class Wording:
    """How one metric is spoken of."""

    metric: str
    rates: bool
    units: str

    @classmethod
    def of(cls, primary: Primary) -> Wording:
        """Return the wording of a primary."""
        units = "families" if primary.unit == "family" else "prompts"
        return cls(metric=primary.metric, rates=primary.rates, units=units)

    def level(self, value: float | None) -> str:
        """Return a rate or a mean."""
        if value is None:
            return "unknown"
        return f"{100 * value:.1f} %" if self.rates else f"{value:.3g}"

    def gap(self, value: float | None) -> str:
        """Return a signed difference."""
        if value is None:
            return "unknown"
        text = f"{100 * value:+.1f}" if self.rates else f"{value:+.3g}"
        text = "0.0" if text in ("+0.0", "-0.0") else text
        return text.replace("-", "\N{MINUS SIGN}")

    def better(self, primary: Primary) -> str:
        """Say that it is proven better."""
        return f"The candidate is better: {self.evidence(primary)}, {self.p(primary.p_value)}."

    def worse(self, primary: Primary) -> str:
        """Say that it is proven worse."""
        return f"The candidate is worse: {self.evidence(primary)}."

    def unproven(self, primary: Primary) -> str:
        """Say that nothing is proven, and what it would take."""
        above = self.gap(primary.min_improvement) if primary.min_improvement else "0"
        alpha = (1 - primary.confidence) / 2
        text = (
            f"Not proven better: {self.evidence(primary)}, {self.p(primary.p_value)}; "
            f"the lower bound must be above {above} and p at most {alpha:.3g}."
        )
        if primary.n_needed and primary.n_needed > primary.n:
            text += (
                f" About {primary.n_needed} {self.units} would show a difference of this size; "
                f"there were {primary.n}."
            )
        elif primary.n_needed is None and primary.mde is not None:
            text += (
                f" The estimate itself is not above it: more {self.units} alone will not help "
                f"({primary.n} show a true difference of {self.gap(primary.mde)} or more)."
            )
        elif primary.n_needed is None and primary.n:
            text += f" The two do not differ on any of the {primary.n} {self.units}."
        return text

    def evidence(self, primary: Primary) -> str:
        """Return both rates, the difference, its interval and n."""
        what = {"pass": "passes {} of {}", "judge": "is preferred in {} of {}"}.get(
            self.metric, f"has a {self.metric} of {{}} on {{}}"
        )
        units = f"{primary.n} {self.units}"
        said = what.format(self.level(primary.candidate_rate), units)
        points = " points" if self.rates else ""
        return (
            f"it {said}, the champion {self.level(primary.champion_rate)}: "
            f"{self.gap(primary.estimate)}{points}, {self.interval(primary)}"
        )

    def p(self, value: float | None) -> str:
        """Return a p-value; very small ones by their bound."""
        return "p < 0.0001" if value is not None and value < 1e-4 else f"p = {value:.2g}"

    def interval(self, of: Measured) -> str:
        """Return the interval of the difference with its level."""
        return (
            f"{100 * of.confidence:.4g} % interval {self.gap(of.ci_low)} to {self.gap(of.ci_high)}"
        )

    def slice_evidence(self, of: Measured) -> str:
        """Return a slice's difference, interval and n, if it has any."""
        if of.estimate is None:
            return ""
        points = " points" if self.rates else ""
        return f" ({self.gap(of.estimate)}{points}, {self.interval(of)}, n = {of.n})"

    def with_missing(self, low: float, high: float, n_missing: int) -> str:
        """Say how far the missing values could move the bounds."""
        return (
            f" With the {n_missing} missing counted against it the lower bound is "
            f"{self.gap(low)}, counted for it the upper bound {self.gap(high)}."
        )
