"""False promotion and power of the gate, simulated.

    python scripts/bench/gate.py --out results.jsonl [--simulations 20000] [--docs docs]

One factor at a time around a base case (200 prompts, a winner in 60 % of them, alpha 0.05), and
the pairs that interact. A cell is 20,000 comparisons, a tenth of that where each needs a bootstrap.
Finished cells lie in the results file; the same command goes on. `--docs` puts table and curves
into docs/concepts/gate.md.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tuneloop.statistics.multiplicity import next_alpha
from tuneloop.statistics.paired import compare_differences
from tuneloop.statistics.power import power_of, win_rate_square
from tuneloop.statistics.ppi import corrected_rate
from tuneloop.statistics.quantiles import normal_quantile
from tuneloop.statistics.rates import mcnemar_exact, tango_interval
from tuneloop.statistics.resampling import Resampling

ALPHA, N = 0.05, 200
EFFECTS = (0.0, 0.034, 0.068, 0.1)
BOOTSTRAP_SHARE = 10
Rng = np.random.Generator


@dataclass(frozen=True)
class Cell:
    """One setting: `promoted` returns, for some simulations, which of them promote.

    `claimed`: at no true gain the method promises no more than alpha.
    """

    factor: str
    setting: str
    effect: float
    promoted: Callable[[Rng, int], np.ndarray]
    claimed: bool = True
    bootstrap: bool = False
    expected: float | None = None

    @property
    def name(self) -> str:
        """What the cell is called in the results, and what it is seeded by."""
        return f"{self.factor}: {self.setting}, effect {100 * self.effect:g}"


# -- draws ---------------------------------------------------------------------------
def outcomes(rng: Rng, size: tuple[int, ...], effect: float, discordance: float) -> np.ndarray:
    """Return -½, 0 or ½ with a mean of `effect` and ties in 1 - discordance."""
    win = discordance / 2 + effect
    u = rng.random(size)
    return np.where(u < win, 0.5, np.where(u < discordance, -0.5, 0.0))


def verdicts(rng: Rng, sims: int, icc: float) -> np.ndarray:
    """Return six judgments of each of 200 prompts, -½ or ½, of a latent correlation."""
    return np.where(shared(rng, sims, N, 6, icc) > 0, 0.5, -0.5)


def shared(rng: Rng, sims: int, clusters: int, size: int, icc: float) -> np.ndarray:
    """Return normal values of variance 1 with this correlation within a cluster."""
    common = rng.normal(size=(sims, clusters, 1))
    return math.sqrt(icc) * common + math.sqrt(1 - icc) * rng.normal(size=(sims, clusters, size))


# -- the gate on wins, ties and losses -----------------------------------------------
@functools.cache
def wins_promote(wins: int, losses: int, n: int, alpha: float, limit: float) -> bool:
    low = 0.5 * tango_interval(wins, losses, n, alpha)[0]
    return low > limit and (limit < 0 or mcnemar_exact(wins, losses) <= alpha)


def promote_wins(x: np.ndarray, alpha: float = ALPHA, limit: float = 0.0) -> np.ndarray:
    """Return which rows promote; NaN is no prompt of theirs."""
    wins, losses = (x > 0).sum(axis=1), (x < 0).sum(axis=1)
    n = (~np.isnan(x)).sum(axis=1)
    rows = zip(wins.tolist(), losses.tolist(), n.tolist(), strict=True)
    return np.array([wins_promote(w, k, m, alpha, limit) for w, k, m in rows])


def promote_graded(x: np.ndarray, codes: np.ndarray | None = None) -> np.ndarray:
    """Return which rows promote by bootstrap-t (wild under 30 clusters) and sign flips."""
    found = []
    for seed, row in enumerate(x):
        of = compare_differences(row, Resampling(ALPHA, 1000, seed), reach=0.5, codes=codes)
        found.append(of.ci_low > 0 and of.p_value <= ALPHA)
    return np.array(found)


def promote_naive(x: np.ndarray) -> np.ndarray:
    """Return which rows promote where every row counts as independent."""
    error = x.std(axis=1, ddof=1) / math.sqrt(x.shape[1])
    return np.asarray(x.mean(axis=1) > normal_quantile(1 - ALPHA) * error)


# -- cells ---------------------------------------------------------------------------
def base_cells() -> Iterator[Cell]:
    for discordance in (0.2, 0.6, 1.0):
        for effect in EFFECTS:
            if effect <= discordance / 2:
                yield Cell(
                    "ties", f"{100 * (1 - discordance):.0f} % ties", effect,
                    lambda r, k, e=effect, d=discordance: promote_wins(outcomes(r, (k, N), e, d)),
                    expected=power_of(
                        effect, win_rate_square(discordance) - effect**2, N, ALPHA
                    ) if effect else ALPHA,
                )  # fmt: skip


def shape_cells() -> Iterator[Cell]:
    def normal(r: Rng, k: int) -> np.ndarray:
        return r.normal(0, 0.2, (k, N))

    def heavy(r: Rng, k: int) -> np.ndarray:
        return 0.05 * r.standard_t(2, (k, N))

    def skewed(r: Rng, k: int) -> np.ndarray:
        return 0.1 * (r.exponential(size=(k, N)) - 1)

    for setting, draw in (("normal", normal), ("heavy tails", heavy), ("skewed", skewed)):
        for effect in (0.0, 0.02, 0.034):
            yield Cell(
                "graded", setting, effect,
                lambda r, k, e=effect, d=draw: promote_graded(np.clip(d(r, k), -0.5, 0.5) + e),
                bootstrap=True, claimed=setting != "skewed",
            )  # fmt: skip


def cluster_cells() -> Iterator[Cell]:
    codes = np.repeat(np.arange(40), 5)
    few = np.repeat(np.arange(12), 8)
    for icc in (0.0, 0.3, 0.6):
        yield Cell(
            "rows of a prompt", f"six each, ICC {icc:g}, counted singly", 0.0,
            lambda r, k, i=icc: promote_naive(verdicts(r, k, i).reshape(k, -1)),
            claimed=icc == 0,
        )  # fmt: skip
        yield Cell(
            "rows of a prompt", f"six each, ICC {icc:g}, averaged", 0.0,
            lambda r, k, i=icc: promote_graded(verdicts(r, k, i).mean(axis=2)),
            bootstrap=True,
        )  # fmt: skip
        for effect in (0.0, 0.034):
            yield Cell(
                "families", f"40 of 5 prompts, ICC {icc:g}", effect,
                lambda r, k, i=icc, e=effect: promote_graded(
                    e + 0.2 * shared(r, k, 40, 5, i).reshape(k, -1), codes),
                bootstrap=True,
            )  # fmt: skip
        yield Cell(
            "families", f"12 of 8 prompts, ICC {icc:g} (wild)", 0.0,
            lambda r, k, i=icc: promote_graded(0.2 * shared(r, k, 12, 8, i).reshape(k, -1), few),
            bootstrap=True,
        )  # fmt: skip


def judged(rng: Rng, k: int, n: int, bias: float, discordance: float = 0.6) -> tuple[Any, Any]:
    """Return people's and the judge's shares for a true tie: it turns losses or wins over."""
    y = outcomes(rng, (k, n), 0.0, discordance) + 0.5
    wrong = rng.random((k, n))
    f = np.where(wrong < 0.15, outcomes(rng, (k, n), 0.0, discordance) + 0.5, y)
    side = 0.0 if bias > 0 else 1.0
    turned = (f == side) & (rng.random((k, n)) < abs(bias) / (discordance / 2))
    return y, np.where(turned, 1 - side, f)


def bias_cells() -> Iterator[Cell]:
    for bias in (0.05, -0.05):
        for n in (N, 805):
            yield Cell(
                "judge bias", f"{100 * bias:+g} points, n = {n}, no labels", 0.0,
                lambda r, k, b=bias, m=n: promote_wins(judged(r, k, m, b)[1] - 0.5),
                claimed=bias < 0,
            )  # fmt: skip
        for labels in (50, 200):
            yield Cell(
                "judge bias", f"{100 * bias:+g} points, n = 805, {labels} labels (PPI++)", 0.0,
                lambda r, k, b=bias, m=labels: promote_corrected(*judged(r, k, 805, b), m),
            )  # fmt: skip
    yield Cell(
        "judge bias", "+5 points, n = 805, no ties, no labels", 0.0,
        lambda r, k: promote_wins(judged(r, k, 805, 0.05, 1.0)[1] - 0.5), claimed=False,
    )  # fmt: skip


def promote_corrected(y: np.ndarray, f: np.ndarray, labels: int) -> np.ndarray:
    some = np.arange(y.shape[1]) < labels
    return np.array(
        [corrected_rate(b, np.where(some, a, np.nan), alpha=ALPHA).interval[0] > 0.5
         for a, b in zip(y, f, strict=True)]
    )  # fmt: skip


def missing_cells() -> Iterator[Cell]:
    def lost(r: Rng, k: int, share: float) -> tuple[np.ndarray, np.ndarray]:
        x = outcomes(r, (k, N), 0.0, 0.6)
        return x, (x < 0) & (r.random(x.shape) < share / 0.3)

    def left_out(r: Rng, k: int, share: float) -> np.ndarray:
        x, gone = lost(r, k, share)
        return promote_wins(np.where(gone, np.nan, x))

    def gated(r: Rng, k: int, share: float) -> np.ndarray:
        x, gone = lost(r, k, share)
        within = gone.mean(axis=1) <= 0.05
        return (
            within & promote_wins(np.where(gone, np.nan, x)) & promote_wins(np.where(gone, -0.5, x))
        )

    for share in (0.04, 0.1):
        text = f"{100 * share:g} % missing, all of them losses"
        yield Cell("missing", f"{text}, left out", 0.0,
                   lambda r, k, s=share: left_out(r, k, s), claimed=False)  # fmt: skip
        yield Cell("missing", f"{text}, worst case and cap", 0.0,
                   lambda r, k, s=share: gated(r, k, s))  # fmt: skip


def multiple_cells() -> Iterator[Cell]:
    def slices(r: Rng, k: int, at: float) -> np.ndarray:
        main = promote_wins(outcomes(r, (k, N), 0.15, 0.6))
        sides = [promote_wins(outcomes(r, (k, 80), e, 0.6), limit=-0.05) for e in (at, 0.15, 0.15)]
        return np.logical_and.reduce([main, *sides])

    def best_of(r: Rng, k: int, m: int, alpha: float) -> np.ndarray:
        passed = [promote_wins(x, alpha) for x in reused(r, k, m)]
        return np.logical_or.reduce(passed)

    def ledger(r: Rng, k: int, m: int, budget: float) -> np.ndarray:
        spent: list[float] = []
        found = np.zeros(k, dtype=bool)
        for x in reused(r, k, m):
            level = next_alpha(ALPHA, budget, spent)
            if level is not None:
                spent.append(level)
                found |= promote_wins(x, level)
        return found

    yield Cell("slices", "one of three at its margin of 5 points", 0.0,
               lambda r, k: slices(r, k, -0.05))  # fmt: skip
    yield Cell("slices", "all three better", 0.15, lambda r, k: slices(r, k, 0.15))
    for m in (5, 10):
        yield Cell("candidates", f"best of {m}, each at 0.05", 0.0,
                   lambda r, k, m=m: best_of(r, k, m, ALPHA), claimed=False)  # fmt: skip
        yield Cell("candidates", f"best of {m}, each at 0.05 / {m}", 0.0,
                   lambda r, k, m=m: best_of(r, k, m, ALPHA / m))  # fmt: skip
    yield Cell("reuse", "ten decisions on one golden set, no ledger", 0.0,
               lambda r, k: best_of(r, k, 10, ALPHA), claimed=False)  # fmt: skip
    yield Cell("reuse", "ten wanted, a ledger of 0.05", 0.0, lambda r, k: ledger(r, k, 10, 0.05))


def pair_cells() -> Iterator[Cell]:
    """Yield pairs of factors that interact: bias with ties and clusters, clusters with tails."""
    codes = np.repeat(np.arange(161), 5)

    def family_bias(r: Rng, k: int, icc: float, labels: int) -> np.ndarray:
        latent = shared(r, k, 161, 5, icc).reshape(k, -1)
        y = np.where(latent > 0, 1.0, 0.0)
        f = np.where((y == 0) & (r.random(y.shape) < 0.1), 1.0, y)
        some = np.arange(805) < labels
        return np.array(
            [corrected_rate(b, np.where(some, a, np.nan), codes, alpha=ALPHA).interval[0] > 0.5
             for a, b in zip(y, f, strict=True)]
        )  # fmt: skip

    def heavy(r: Rng, k: int, icc: float) -> np.ndarray:
        common = np.sqrt(icc) * r.standard_t(2, (k, 20, 1))
        own = np.sqrt(1 - icc) * r.standard_t(2, (k, 20, 5))
        return np.clip(0.05 * (common + own), -0.5, 0.5).reshape(k, -1)

    for discordance in (0.2, 1.0):
        yield Cell(
            "bias and ties", f"+5 points, {100 * (1 - discordance):.0f} % ties, no labels", 0.0,
            lambda r, k, d=discordance: promote_wins(judged(r, k, N, 0.05, d)[1] - 0.5),
            claimed=False,
        )  # fmt: skip
    for icc in (0.3, 0.6):
        yield Cell(
            "bias and families", f"+5 points, 161 of 5, ICC {icc:g}, 200 labels in 40", 0.0,
            lambda r, k, i=icc: family_bias(r, k, i, 200),
        )  # fmt: skip
        yield Cell(
            "families and tails", f"20 of 5 prompts, ICC {icc:g}, heavy (wild)", 0.0,
            lambda r, k, i=icc: promote_graded(heavy(r, k, i), np.repeat(np.arange(20), 5)),
            bootstrap=True,
        )  # fmt: skip


def reused(rng: Rng, k: int, m: int) -> Iterator[np.ndarray]:
    """Yield differences of m equal candidates to one champion, whose answers are given once."""
    hard = rng.uniform(0.2, 0.8, size=(k, N))
    champion = rng.random((k, N)) < hard
    for _ in range(m):
        yield 0.5 * ((rng.random((k, N)) < hard).astype(float) - champion)


CELLS = [cell for group in (base_cells, shape_cells, cluster_cells, bias_cells, missing_cells,
                            multiple_cells, pair_cells) for cell in group()]  # fmt: skip


# -- running -------------------------------------------------------------------------
def run(cell: Cell, simulations: int) -> dict[str, Any]:
    """Return the share of promotions with its Monte-Carlo error."""
    total = max(1, simulations // BOOTSTRAP_SHARE) if cell.bootstrap else simulations
    seed = int.from_bytes(hashlib.sha256(cell.name.encode()).digest()[:8], "big")
    rng, promoted = np.random.default_rng(seed), 0
    for start in range(0, total, 500):
        promoted += int(cell.promoted(rng, min(500, total - start)).sum())
    share = promoted / total
    error = math.sqrt(max(share * (1 - share), ALPHA * (1 - ALPHA) * (cell.effect == 0)) / total)
    null = cell.effect == 0
    return {
        "name": cell.name, "factor": cell.factor, "setting": cell.setting,
        "effect_points": round(100 * cell.effect, 3), "n_simulations": total,
        "promoted": round(share, 5), "error": round(error, 5), "claimed": cell.claimed,
        "expected": None if cell.expected is None else round(cell.expected, 4),
        "holds": (share <= ALPHA + 2 * error) if null and cell.claimed else None,
    }  # fmt: skip


def table(rows: list[dict[str, Any]]) -> str:
    """Return the results as a table of Markdown."""
    lines = ["| factor | setting | true effect, points | promoted | Monte-Carlo error | claim |",
             "| --- | --- | --- | --- | --- | --- |"]  # fmt: skip
    for row in rows:
        claim = {True: "≤ 5 %: holds", False: "≤ 5 %: **broken**", None: ""}[row["holds"]]
        if row["holds"] is None and row["effect_points"] == 0:
            claim = "none"
        if row["expected"] is not None and row["effect_points"]:
            claim = f"analytic power {100 * row['expected']:.1f} %"
        lines.append(
            f"| {row['factor']} | {row['setting']} | {row['effect_points']:g} |"
            f" {100 * row['promoted']:.1f} % | {100 * row['error']:.2f} | {claim} |"
        )
    return "\n".join(lines)


def draw(folder: Path) -> None:
    """Draw power against the true effect for four sizes of a golden set."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    mpl.rcParams["svg.hashsalt"] = "tuneloop"
    rng = np.random.default_rng(0)
    effects = np.linspace(-0.03, 0.12, 16)
    figure, axis = plt.subplots(figsize=(7, 4.2))
    for n in (100, 200, 400, 800):
        shares = [promote_wins(outcomes(rng, (2000, n), e, 0.6)).mean() for e in effects]
        axis.plot(100 * effects, 100 * np.array(shares), label=f"{n} prompts")
    axis.axhline(100 * ALPHA, color="grey", linewidth=0.8, linestyle=":")
    axis.axhline(80, color="grey", linewidth=0.8, linestyle=":")
    axis.set_xlabel("true win rate above one half, points")
    axis.set_ylabel("promoted, %")
    axis.legend(frameon=False)
    figure.tight_layout()
    figure.savefig(folder / "images/gate-power.svg", metadata={"Date": None})


def publish(rows: list[dict[str, Any]], folder: Path) -> None:
    """Put the table between its marks in docs/concepts/gate.md, and the curves beside."""
    page = folder / "concepts/gate.md"
    begin, end = "<!-- table: begin -->", "<!-- table: end -->"
    head, _, rest = page.read_text("utf-8").partition(begin)
    _, _, tail = rest.partition(end)
    page.write_text(f"{head}{begin}\n{table(rows)}\n{end}{tail}", encoding="utf-8")
    draw(folder)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--simulations", type=int, default=20_000)
    parser.add_argument("--only", help="factors that contain this")
    parser.add_argument("--docs", type=Path)
    options = parser.parse_args()
    lines = options.out.read_text("utf-8").splitlines() if options.out.exists() else []
    done = {row["name"]: row for row in map(json.loads, lines)}
    for cell in CELLS:
        if cell.name in done or (options.only and options.only not in cell.factor):
            continue
        row = done[cell.name] = run(cell, options.simulations)
        with options.out.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        print(
            f"{row['name']}: {100 * row['promoted']:.2f} % ± {100 * row['error']:.2f}", flush=True
        )
    rows = [done[cell.name] for cell in CELLS if cell.name in done]
    broken = [row["name"] for row in rows if row["holds"] is False]
    print(f"{len(rows)} cells; claims broken: {broken or 'none'}")
    if options.docs:
        publish(rows, options.docs)


if __name__ == "__main__":
    main()
