"""The losses, one small function each. To try another one, write it here and name it in config.

Each returns one value per token (SFT), per pair (DPO) or per answer (KTO); the trainers take the
mean over the global batch. `*logratio*` is log π(y|x) − log π_ref(y|x), summed over an answer's
tokens. All equal TRL's to float precision on the same batch; where a formula needs explaining,
its source is named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch.nn.functional import logsigmoid


def sft_loss(name: str, logps: torch.Tensor) -> torch.Tensor:
    """Return the loss (N,) of tokens with log-probabilities `logps` (N,).

    Source: dft is eq. 9 of "On the generalization of SFT" (arXiv 2508.05629).
    """
    return -logps * logps.detach().exp() if name == "dft" else -logps


@dataclass(frozen=True)
class Pairs:
    """B preference pairs: log-probabilities summed over each answer, and its tokens counted."""

    chosen: torch.Tensor
    rejected: torch.Tensor
    ref_chosen: torch.Tensor
    ref_rejected: torch.Tensor
    n_chosen: torch.Tensor
    n_rejected: torch.Tensor
    weights: torch.Tensor | None = None
    """How much each counts; their mean over the training set is 1. None: all the same."""

    @property
    def chosen_logratio(self) -> torch.Tensor:
        """How far the chosen answers moved (B,)."""
        return self.chosen - self.ref_chosen

    @property
    def rejected_logratio(self) -> torch.Tensor:
        """How far the rejected answers moved (B,)."""
        return self.rejected - self.ref_rejected

    @property
    def margin(self) -> torch.Tensor:
        """How much further the chosen answers moved than the rejected ones (B,)."""
        return self.chosen_logratio - self.rejected_logratio

    @property
    def token_margin(self) -> torch.Tensor:
        """The same with each answer's log-ratio a mean over its tokens (B,)."""
        chosen = self.chosen_logratio / self.n_chosen.clamp(min=1)
        return chosen - self.rejected_logratio / self.n_rejected.clamp(min=1)


@dataclass(frozen=True)
class Knobs:
    """What the losses on pairs read beside the pairs."""

    beta: float
    label_smoothing: float = 0.0
    discopop_tau: float = 0.05


def _sigmoid(p: Pairs, k: Knobs) -> torch.Tensor:
    return -logsigmoid(k.beta * p.margin)


def _sigmoid_norm(p: Pairs, k: Knobs) -> torch.Tensor:
    return -logsigmoid(k.beta * p.token_margin)


def _hinge(p: Pairs, k: Knobs) -> torch.Tensor:
    return torch.relu(1 - k.beta * p.margin)


def _ipo(p: Pairs, k: Knobs) -> torch.Tensor:
    """Source: eq. 17 of arXiv 2310.12036, on means over tokens, as its authors computed it."""
    return (p.token_margin - 1 / (2 * k.beta)) ** 2


def _robust(p: Pairs, k: Knobs) -> torch.Tensor:
    """DPO with a share ε of flipped pairs, unbiased. Source: arXiv 2403.00409."""
    right, flipped = -logsigmoid(k.beta * p.margin), -logsigmoid(-k.beta * p.margin)
    epsilon = k.label_smoothing
    return ((1 - epsilon) * right - epsilon * flipped) / (1 - 2 * epsilon)


def _exo_pair(p: Pairs, k: Knobs) -> torch.Tensor:
    """KL of the policy's preference from (1−ε, ε). Source: eq. 16 of arXiv 2402.00856."""
    epsilon = torch.tensor(k.label_smoothing, device=p.chosen.device)
    won, lost = k.beta * p.margin, -k.beta * p.margin
    return torch.sigmoid(won) * (logsigmoid(won) - torch.log1p(-epsilon)) + torch.sigmoid(lost) * (
        logsigmoid(lost) - torch.log(epsilon)
    )


def _nca_pair(p: Pairs, k: Knobs) -> torch.Tensor:
    chosen, rejected = k.beta * p.chosen_logratio, k.beta * p.rejected_logratio
    return -logsigmoid(chosen) - 0.5 * logsigmoid(-chosen) - 0.5 * logsigmoid(-rejected)


def _bco_pair(p: Pairs, k: Knobs) -> torch.Tensor:
    return -logsigmoid(k.beta * p.chosen_logratio) - logsigmoid(-k.beta * p.rejected_logratio)


def _sppo_hard(p: Pairs, k: Knobs) -> torch.Tensor:
    half = 0.5 / k.beta
    return (p.chosen_logratio - half) ** 2 + (p.rejected_logratio + half) ** 2


def _smoothed(delta: torch.Tensor, k: Knobs) -> torch.Tensor:
    return (
        -logsigmoid(k.beta * delta) * (1 - k.label_smoothing)
        - logsigmoid(-k.beta * delta) * k.label_smoothing
    )


def _aot(p: Pairs, k: Knobs) -> torch.Tensor:
    """The policy's sorted margins over the reference's. Source: arXiv 2406.05882."""
    ours = torch.sort(p.chosen - p.rejected).values
    return _smoothed(ours - torch.sort(p.ref_chosen - p.ref_rejected).values, k)


def _aot_unpaired(p: Pairs, k: Knobs) -> torch.Tensor:
    chosen = torch.sort(p.chosen_logratio).values
    return _smoothed(chosen - torch.sort(p.rejected_logratio).values, k)


def _apo_zero(p: Pairs, k: Knobs) -> torch.Tensor:
    """For chosen answers better than the model's own. Source: eq. 7 of arXiv 2408.06266."""
    chosen, rejected = k.beta * p.chosen_logratio, k.beta * p.rejected_logratio
    return 1 - torch.sigmoid(chosen) + torch.sigmoid(rejected)


def _apo_down(p: Pairs, k: Knobs) -> torch.Tensor:
    """For chosen answers worse than the model's own. Source: eq. 8 of arXiv 2408.06266."""
    return torch.sigmoid(k.beta * p.chosen_logratio) + 1 - torch.sigmoid(k.beta * p.margin)


def _discopop(p: Pairs, k: Knobs) -> torch.Tensor:
    """Logistic loss where a pair is lost, exponential where won. Source: arXiv 2406.08414."""
    logits = k.beta * p.margin
    exponential = torch.sigmoid(logits / k.discopop_tau)
    return -logsigmoid(logits) * (1 - exponential) + torch.exp(-logits) * exponential


PAIR_LOSSES: dict[str, Callable[[Pairs, Knobs], torch.Tensor]] = {
    "sigmoid": _sigmoid, "sigmoid_norm": _sigmoid_norm, "hinge": _hinge, "ipo": _ipo,
    "robust": _robust, "exo_pair": _exo_pair, "nca_pair": _nca_pair, "bco_pair": _bco_pair,
    "sppo_hard": _sppo_hard, "aot": _aot, "aot_unpaired": _aot_unpaired, "apo_zero": _apo_zero,
    "apo_down": _apo_down, "discopop": _discopop,
}  # fmt: skip


def preference_loss(pairs: Pairs, losses: dict[str, float], knobs: Knobs) -> torch.Tensor:
    """Return the mean loss of B pairs, a weighted sum of losses by name.

    `sft`, the negative log-likelihood of the chosen answers, is a mean over their tokens; the
    others are means over pairs.
    """
    total = pairs.chosen.new_zeros(())
    for name, share in losses.items():
        if name == "sft":
            chosen, n = pairs.chosen, pairs.n_chosen
            if pairs.weights is not None:
                chosen = chosen * pairs.weights
            total = total - share * chosen.sum() / n.sum()
            continue
        by_pair = PAIR_LOSSES[name](pairs, knobs)
        if pairs.weights is not None:
            by_pair = by_pair * pairs.weights
        total = total + share * by_pair.mean()
    return total


def kto_loss(
    name: str,
    logratio: torch.Tensor,
    good: torch.Tensor,
    *,
    beta: float,
    distance: torch.Tensor | float,
) -> torch.Tensor:
    """Return the loss (B,) of answers called good or bad.

    Args:
        name: `kto` or `apo_zero_unpaired`, which does not read `distance`.
        logratio: How far each answer moved (B,).
        good: Which are good (B,), boolean.
        beta: Strength of the pull towards the reference.
        distance: Estimate of the policy's KL from the reference, not below 0: what an answer's
            log-ratio must pass to count as won.

    Source: eq. 7 of arXiv 2402.01306; arXiv 2408.06266.
    """
    passed = beta * (logratio - (distance if name == "kto" else 0.0))
    loss: torch.Tensor = 1 - torch.sigmoid(torch.where(good, passed, -passed))
    return loss
