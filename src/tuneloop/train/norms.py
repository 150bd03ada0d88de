"""RMS norms in one step: fewer passes over memory than autograd takes, the same sums.

Statistics are in float32, as in the models; the input is kept in its own type, where autograd
keeps a float32 copy.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch.autograd.function import once_differentiable

# Relative differences that are rounding, when a fused norm is tried out against its own forward.
ROUNDING = {torch.float32: 1e-5, torch.bfloat16: 0.01}


class RmsNorm(torch.autograd.Function):  # type: ignore[misc]  # untyped library
    """y = w x / sqrt(mean(x^2) + eps), with w frozen."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        """Return (..., H) for x (..., H)."""
        length = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        factor = (length.square_().div_(x.shape[-1]).add_(eps)).rsqrt_()
        ctx.save_for_backward(x, weight, factor)
        return x.float().mul(factor).to(x.dtype).mul_(weight)

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
    fused = 0
    for module in model.modules():
        eps = getattr(module, "variance_epsilon", None) or getattr(module, "eps", None)
        weight = getattr(module, "weight", None)
        if type(module).__name__.endswith("RMSNorm") and eps is not None and weight is not None:
            if not weight.requires_grad and _is_rms_norm(module, weight, eps):
                module.rms_eps = eps
                module.forward = types.MethodType(_forward, module)
                fused += 1
    return fused


def _is_rms_norm(module: Any, weight: torch.Tensor, eps: float) -> bool:
    x = torch.linspace(-3, 2, 2 * weight.numel(), device=weight.device, dtype=weight.dtype)
    x = x.view(2, *weight.shape)
    with torch.no_grad():
        expected, found = module(x), RmsNorm.apply(x, weight, eps)
    apart = (found - expected).float().norm() / expected.float().norm().clamp(min=1e-6)
    return bool(apart <= ROUNDING.get(weight.dtype, ROUNDING[torch.bfloat16]))


def _forward(self: Any, x: torch.Tensor) -> torch.Tensor:
    normed: torch.Tensor = RmsNorm.apply(x, self.weight, self.rms_eps)
    return normed
