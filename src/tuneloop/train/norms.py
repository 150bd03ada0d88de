"""RMS norms in one step: fewer passes over memory than autograd takes, the same sums.

Statistics are in float32, as in the models; the input is kept in its own type, where autograd
keeps a float32 copy.
"""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch.autograd.function import once_differentiable

# Relative differences that are rounding, when a fused norm is tried out against its own forward.
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 0.01}


class RmsNorm(torch.autograd.Function):  # type: ignore[misc]  # untyped library
    """y = w x / sqrt(mean(x^2) + eps), with w frozen."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """Return (..., H) for x (..., H); a float32 weight (H,) multiplies before rounding."""
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        factor = (length.square_().div_(x.shape[-1]).add_(eps)).rsqrt_()
        ctx.save_for_backward(x, weight, factor)
        return x.float().mul(factor).to(weight.dtype).mul_(weight).to(x.dtype)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Return the gradient by x."""
        x, weight, factor = ctx.saved_tensors
        by_normed = (gradient * weight).float()
        normed = x.float().mul(factor)
        shared = (by_normed * normed).mean(dim=-1, keepdim=True)
        by_x = by_normed.addcmul_(normed, shared, value=-1).mul_(factor)
        return by_x.to(x.dtype), None, None


def fuse_norms(model: Any) -> int:
    """Fuse every frozen RMS norm that gives what `RmsNorm` gives; return how many."""
    return sum(map(_fuse, model.modules()))


def _fuse(module: Any) -> bool:
    """Fuse one norm, whose weight is the factor or, as in Gemma, what it is above one."""
    eps = getattr(module, "variance_epsilon", None) or getattr(module, "eps", None)
    weight = getattr(module, "weight", None)
    named = type(module).__name__.endswith("RMSNorm")
    if not named or eps is None or weight is None or weight.requires_grad:
        return False
    x = torch.linspace(-3, 2, 2 * weight.numel(), device=weight.device, dtype=weight.dtype)
    x = x.view(2, *weight.shape)
    with torch.no_grad():
        expected = module(x).float()
        for factor in (weight.detach(), 1 + weight.float()):
            apart = (RmsNorm.apply(x, factor, eps).float() - expected).norm()
            if apart <= ROUNDING.get(weight.dtype, ROUNDING[torch.bfloat16]) * expected.norm():
                module.forward = functools.partial(_forward, factor, eps)
                return True
    return False


def _forward(weight: torch.Tensor, eps: float, x: torch.Tensor) -> torch.Tensor:
    normed: torch.Tensor = RmsNorm.apply(x, weight, eps)
    return normed
