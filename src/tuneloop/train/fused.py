"""LoRA layers with their small steps fused: same sums, fewer passes over memory.

PEFT computes base(x) + B(A(x)) * scale with an autograd node for each step, and casts inputs to
the adapter's float32. Here one node does it: the products run in the base's type, the adapters
stay in float32, and the sum is folded into the matrix product.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch.autograd.function import once_differentiable

ADAPTER = "default"


class LoraLinear(torch.autograd.Function):  # type: ignore[misc]  # untyped library
    """y = x W^T + b + scale x A^T B^T, with W and b frozen."""

    @staticmethod
    def forward(  # noqa: PLR0913  # autograd gives them one by one
        ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None,
        a: torch.Tensor, b: torch.Tensor, scale: float,
    ) -> torch.Tensor:  # fmt: skip
        """Return (..., out) for x (..., in), A (r, in), B (out, r)."""
        flat = x.reshape(-1, x.shape[-1])
        a, b = a.to(x.dtype), b.to(x.dtype)
        down = flat @ a.t()
        y = torch.nn.functional.linear(flat, weight, bias).addmm_(down, b.t(), alpha=scale)
        ctx.save_for_backward(flat, weight, a, b, down)
        ctx.scale, ctx.shape = scale, x.shape
        return y.view(*x.shape[:-1], -1)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Return the gradients by x, A and B; those of the adapter in float32."""
        flat, weight, a, b, down = ctx.saved_tensors
        gradient = gradient.reshape(-1, gradient.shape[-1])
        up = (gradient @ b).mul_(ctx.scale)
        by_x = None
        if ctx.needs_input_grad[0]:
            by_x = (gradient @ weight).addmm_(up, a).view(ctx.shape)
        by_a = (up.t() @ flat).float()
        by_b = (gradient.t() @ down).float().mul_(ctx.scale)
        return by_x, None, None, by_a, by_b, None


def fuse_lora(model: Any) -> int:
    """Fuse every plain LoRA layer over a plain linear one; return how many.

    Layers that are quantised, use DoRA or dropout keep PEFT's forward, and so does a fused
    layer while its adapter is disabled or merged.
    """
    from peft.tuners.lora.layer import Linear

    fused = 0
    for layer in model.modules():
        if type(layer) is Linear and _is_plain(layer):
            layer.forward = types.MethodType(_forward, layer)
            fused += 1
    return fused


def _is_plain(layer: Any) -> bool:
    return (
        type(layer.base_layer) is torch.nn.Linear
        and not layer.fan_in_fan_out
        and not layer.base_layer.weight.requires_grad
        and list(layer.lora_A) == [ADAPTER]
        and ADAPTER not in layer.lora_variant
        and isinstance(layer.lora_dropout[ADAPTER], torch.nn.Identity)
        and layer.lora_B[ADAPTER].bias is None
    )


def _forward(self: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
    if self.disable_adapters or self.merged or self.active_adapters != [ADAPTER]:
        return type(self).forward(self, x, *args, **kwargs)
    base = self.base_layer
    return LoraLinear.apply(
        x, base.weight, base.bias, self.lora_A[ADAPTER].weight, self.lora_B[ADAPTER].weight,
        self.scaling[ADAPTER],
    )  # fmt: skip
