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

from tuneloop.train.attention import NAME, Documents
from tuneloop.train.packing import Batch, pack, pad
from tuneloop.train.rows import IGNORED

# Relative differences of hidden states that are rounding: between batches of the same shape (none,
# but where experts see other numbers of tokens), and to a batch of another shape.
ROUNDING = {torch.float32: (1e-5, 1e-3), torch.bfloat16: (0.02, 0.1)}
_ATTENTION = {"full_attention", "sliding_attention"}

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


def model_inputs(batch: Batch) -> dict[str, Any]:
    """Return what a causal LM is called with for a packed or padded batch."""
    inputs = {"input_ids": batch["input_ids"], "use_cache": False}
    if "attention" in batch:
        inputs["position_ids"] = batch["position_ids"]
        inputs["documents"] = Documents(batch["attention"])
        # Four dimensions mean "made already": transformers makes none, and the attention of
        # packed batches reads its own.
        inputs["attention_mask"] = batch["input_ids"].new_zeros(1, 1, 1, 1)
    return inputs


def add_answer_head(model: Any) -> None:
    """Teach a causal LM `batch=...`: return log-probabilities (M,) of a batch's targets.

    For batches see `tuneloop.train.packing`. Called otherwise, the model does what it did.
    """
    previous = model.forward

    def forward(self: Any, *args: Any, batch: Batch | None = None, **kwargs: Any) -> Any:
        if batch is None:
            return previous(*args, **kwargs)
        hidden = self.base_model(**model_inputs(batch)).last_hidden_state
        hidden = hidden.view(-1, hidden.shape[-1]).index_select(0, batch["score_at"])
        head = self.get_output_embeddings()
        return AnswerLogProbs.apply(hidden, head.weight, head.bias, batch["targets"])

    model.forward = types.MethodType(forward, model)


def mixes_rows(model: Any) -> str | None:
    """Return why a model may not be given packed batches, None where it may.

    Linear attention and the like carry their state from row to row. Then it is tried out: what
    stands in one row must not change the hidden states of the next, and these must be those of
    the row alone.
    """
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ())
    if other := ", ".join(sorted(kinds - _ATTENTION)):
        return f"it has layers of {other}, whose state would run on from row to row"
    if model.config._attn_implementation != NAME:
        return "its attention does not go through transformers' interface"
    model.eval()  # dropout would make every two passes different
    vocabulary = model.get_input_embeddings().weight.shape[0]
    rows = (torch.arange(3 * 24).view(3, 24) * 7919 + 11) % vocabulary
    device, lengths = model.device, torch.full((2,), 24)
    labels = torch.full((2, 24), IGNORED)
    labels[:, -1] = 1

    def states(batch: Batch) -> torch.Tensor:
        with torch.no_grad():
            inputs = model_inputs(batch_to(batch, device))
            hidden: torch.Tensor = model.base_model(**inputs).last_hidden_state
        return hidden.float()

    try:
        first, second = (
            states(pack(rows[list(pair)], lengths, labels))[0, 24:48] for pair in ((0, 2), (1, 2))
        )
        alone = states(pad(rows[2:], labels[:1]))[0]
    except (TypeError, ValueError, RuntimeError, KeyError) as error:
        return f"it does not run on packed batches ({type(error).__name__})"
    size = alone.norm()
    same, alike = ROUNDING.get(model.dtype, ROUNDING[torch.bfloat16])
    if (first - second).norm() > same * size or (first - alone).norm() > alike * size:
        return "rows laid end to end change one another in it"
    return None


def batch_to(batch: Batch, device: torch.device) -> Batch:
    """Return a batch with its tensors on a device."""
    return {name: _to(value, device) for name, value in batch.items()}


def _to(value: Any, device: torch.device) -> Any:
    if isinstance(value, dict):
        return batch_to(value, device)
    if isinstance(value, list):
        return [_to(inner, device) for inner in value]
    return value.to(device) if isinstance(value, torch.Tensor) else value


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
