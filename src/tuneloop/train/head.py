"""The LM head on the positions that bear loss, and nowhere else.

On a chat row most positions are prompt, and with a vocabulary of 49k the head is the largest
matrix of a small model. TRL scores every position on CPU and computes entropy and accuracy
beside; this scores the answer's positions only, keeps no logits, and is exact.
"""

from __future__ import annotations

import types
from typing import Any

import torch
from torch.autograd.function import once_differentiable

from tuneloop.train.rows import IGNORED

_CHUNK_LOGITS = (
    8 * 1024 * 1024
)  # at a time: 32 MB in float32, which malloc keeps for the next chunk
# Heads that do more than multiply by a matrix; for those TRL's own head is used.
_SCALED_HEADS = ("final_logit_softcapping", "logit_scale", "output_multiplier",
                 "lm_head_multiplier", "logits_scaling")  # fmt: skip


class AnswerLogProbs(torch.autograd.Function):  # type: ignore[misc]  # untyped library
    """Log-probabilities of the next tokens, and their gradient, without keeping any logits.

    The gradient by the hidden states is linear in the incoming one, token by token, so it is
    computed in the forward pass, chunk by chunk; the head itself is frozen and gets none.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None,
        targets: torch.Tensor,
    ) -> torch.Tensor:  # fmt: skip
        """Return log-probabilities (N,) in float32 of `targets` (N,) given `hidden` (N, H)."""
        logps = hidden.new_empty(len(targets), dtype=torch.float32)
        slopes = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        rows = max(64, _CHUNK_LOGITS // weight.shape[0])
        for begin in range(0, len(targets), rows):
            part = slice(begin, begin + rows)
            logits = torch.nn.functional.linear(hidden[part], weight, bias).float()
            picked = targets[part, None]
            total = torch.logsumexp(logits, dim=-1, keepdim=True)
            logps[part] = (logits.gather(1, picked) - total)[:, 0]
            if slopes is not None:
                minus_p = logits.sub_(total).exp_().neg_()
                minus_p.scatter_add_(1, picked, torch.ones_like(total))
                slopes[part] = minus_p.to(weight.dtype) @ weight
        ctx.slopes = slopes
        return logps

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Return the gradient (N, H) by the hidden states."""
        return (ctx.slopes * gradient[:, None]).to(ctx.slopes.dtype), None, None, None


def add_answer_head(model: Any) -> None:
    """Teach a causal LM `answers_only=True`: return log-probabilities of labelled positions.

    `model(input_ids=(B, T), labels=(B, T), answers_only=True)` gives (N,), one for each label
    that is not -100, row by row. Rows are padded on the right, so under causal attention no
    real token sees padding and no attention mask is needed. Without it, nothing changes.
    """
    previous = model.forward

    def forward(self: Any, *args: Any, answers_only: bool = False, **kwargs: Any) -> Any:
        if not answers_only:
            return previous(*args, **kwargs)
        targets = kwargs["labels"][:, 1:]
        hidden = self.base_model(input_ids=kwargs["input_ids"], use_cache=False).last_hidden_state
        head, wanted = self.get_output_embeddings(), targets != IGNORED
        return AnswerLogProbs.apply(hidden[:, :-1][wanted], head.weight, head.bias, targets[wanted])

    model.forward = types.MethodType(forward, model)


def supports_answer_head(model: Any) -> bool:
    """Return whether a model's head is one frozen matrix, so that `add_answer_head` is exact."""
    config = model.config.get_text_config()
    head = model.get_output_embeddings()
    return (
        isinstance(head, torch.nn.Linear)
        and not head.weight.requires_grad
        and not getattr(config, "output_router_logits", False)
        and all(getattr(config, name, None) in (None, 1.0) for name in _SCALED_HEADS)
    )
