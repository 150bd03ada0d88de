"""Attention over rows laid end to end: each document sees itself and nothing else.

Registered with transformers under `NAME`, it serves every model whose attention goes through
transformers' interface. On GPUs it is PyTorch's own variable-length kernel; elsewhere documents of
like length are gathered into rectangles and attended with plain matrix products, whose backward
is much faster on a CPU than that of PyTorch's flash attention.
"""

from __future__ import annotations

import itertools
from typing import Any

import torch
from torch.autograd.function import once_differentiable

NAME = "tuneloop_packed"
# Queries taken together: keys after the last of them need not be looked at.
QUERY_BLOCK = 256


class Documents:
    """What may see what in one packed batch, as the attention of every layer reads it."""

    def __init__(self, attention: dict[str, Any]) -> None:
        self.spec = attention
        self._masks: dict[Any, list[torch.Tensor]] = {}

    def masks(self, *, window: int | None, heads: int, like: torch.Tensor) -> list[torch.Tensor]:
        """Return for each group what is added to its scores, (S or 1, 1, T x `heads`, T).

        Args:
            window: How far back a token sees; None: to the beginning.
            heads: Query heads that share one key head; their queries lie side by side.
            like: Gives type and device.
        """
        key = (window, heads, like.dtype)
        if key not in self._masks:
            masks = [_allowed(branch, window) for branch in self.spec["branch"]]
            self._masks[key] = [
                torch.zeros(m.shape, dtype=like.dtype, device=m.device)
                .masked_fill_(~m, torch.finfo(like.dtype).min)
                .repeat_interleave(heads, dim=1)[:, None]
                for m in masks
            ]
        return self._masks[key]


class _Grouped(torch.autograd.Function):  # type: ignore[misc]  # untyped library
    """Attention of (N, heads, D) queries, group by group, block of queries by block.

    Written out, since autograd fills a whole tensor with zeros for every slice it takes. Padded
    slots hold the last token of the batch, which is filler: what it gets is never read, and the
    gradient that comes back through it is zero.
    """

    @staticmethod
    def forward(  # noqa: PLR0913  # autograd gives them one by one
        ctx: Any, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, spec: dict[str, Any],
        masks: list[torch.Tensor], scale: float,
    ) -> torch.Tensor:  # fmt: skip
        """Return the attended values (N, heads, D)."""
        ctx.shapes, ctx.spec, ctx.scale = (q.shape, k.shape, v.shape), spec, scale
        ctx.n_blocks, kept, done = [], [], []
        for take, mask in zip(spec["take"], masks, strict=True):
            gq, gk, gv = _gather(q, take, k.shape[1]), _gather(k, take), _gather(v, take)
            gq *= scale
            attended, shares = gq.new_empty(*gq.shape[:-1], v.shape[-1]), []
            for begin, end in _blocks(take.shape[1]):
                scores = gq[:, :, begin:end].flatten(2, 3) @ gk[:, :, 0, :end].mT
                rows = slice(begin * gq.shape[3], end * gq.shape[3])
                scores += mask[:, :, rows, :end]
                shares.append(torch.softmax(scores, dim=-1))  # summed in float32
                attended[:, :, begin:end] = (shares[-1] @ gv[:, :, 0, :end]).view_as(
                    attended[:, :, begin:end]
                )
            kept += [gq, gk, gv, *shares]
            ctx.n_blocks.append(len(shares))
            done.append(_flat(attended))
        ctx.save_for_backward(*kept)  # checkpointing lets go of nothing that is kept otherwise
        return torch.cat(done).index_select(0, spec["put"]).view(*q.shape[:2], -1)

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:
        """Return the gradients by q, k and v."""
        by_q: list[torch.Tensor] = []
        by_k: list[torch.Tensor] = []
        by_v: list[torch.Tensor] = []
        kept = iter(ctx.saved_tensors)
        for take, n_blocks in zip(ctx.spec["take"], ctx.n_blocks, strict=True):
            gq, gk, gv, *shares = itertools.islice(kept, 3 + n_blocks)
            go = _gather(gradient, take, gk.shape[1])
            dq, dk, dv = (torch.zeros_like(x) for x in (gq, gk, gv))
            for (begin, end), share in zip(_blocks(take.shape[1]), shares, strict=True):
                here, back = gq[:, :, begin:end].flatten(2, 3), go[:, :, begin:end].flatten(2, 3)
                dv[:, :, 0, :end] += share.mT @ back
                by_share = back @ gv[:, :, 0, :end].mT
                by_score = torch._softmax_backward_data(by_share, share, -1, share.dtype)
                dq[:, :, begin:end] = (by_score @ gk[:, :, 0, :end]).view_as(dq[:, :, begin:end])
                dk[:, :, 0, :end] += by_score.mT @ here
            for done, part in ((by_q, dq.mul_(ctx.scale)), (by_k, dk), (by_v, dv)):
                done.append(_flat(part))
        put = ctx.spec["put"]
        return *(
            torch.cat(parts).index_select(0, put).view(shape)
            for parts, shape in zip((by_q, by_k, by_v), ctx.shapes, strict=True)
        ), None, None, None  # fmt: skip


def packed_attention(
    module: Any, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor,
    attention_mask: torch.Tensor | None, **options: Any,
) -> tuple[torch.Tensor, None]:  # fmt: skip
    """Return the attended values (1, N, heads, D) of queries (1, heads, N, D).

    `options` are those of transformers' attention functions, and `documents`; without these it
    is PyTorch's scaled-dot-product attention, on padded batches.
    """
    documents, scaling = options.pop("documents", None), options.get("scaling")
    if documents is None:
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        attended, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return attended, None
    window = options.get("sliding_window")
    if options.get("softcap") or options.get("dropout"):
        raise ValueError("capped or dropped-out attention is not made for packed batches")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))  # (N, heads, D)
    if "query_ends" in documents.spec:
        return _varlen(q, k, v, documents.spec, scale, window)[None], None
    masks = documents.masks(window=window, heads=q.shape[1] // k.shape[1], like=q)
    return _Grouped.apply(q, k, v, documents.spec, masks, scale)[None], None


def register() -> None:
    """Make the attention known to transformers under `NAME`; as often as one likes."""
    from transformers import AttentionInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface

    AttentionInterface.register(NAME, torch.compiler.disable(packed_attention))
    AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])


def has_varlen(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether PyTorch's variable-length kernel runs: half precision, A100 or newer."""
    if device.type != "cuda" or dtype not in (torch.bfloat16, torch.float16):
        return False
    try:
        from torch.nn.attention.varlen import varlen_attn  # noqa: F401
    except ImportError:
        return False
    return bool(torch.cuda.get_device_capability(device) >= (8, 0))


def _allowed(branch: torch.Tensor, window: int | None) -> torch.Tensor:
    """Return whether query i sees key j, (S, T, T); (1, T, T) where all documents are plain.

    Padding comes last, where no token sees it; what padding itself sees does not matter, as
    long as it sees something.
    """
    width = branch.shape[1]
    place = torch.arange(width, device=branch.device)
    sees = (place[:, None] >= place[None, :])[None]
    position = place[None]
    if bool((branch > 0).any()):
        other = (branch[:, None, :] > 0) & (branch[:, None, :] != branch[:, :, None])
        sees = sees & ~other
        jump = (branch == 1).sum(1, keepdim=True)  # the second answer begins where the first did
        position = place[None] - jump * (branch == 2)
    if window is not None:
        sees = sees & (position[:, :, None] - position[:, None, :] < window)
    return sees


def _blocks(width: int) -> list[tuple[int, int]]:
    return [(n, min(n + QUERY_BLOCK, width)) for n in range(0, width, QUERY_BLOCK)]


def _gather(x: torch.Tensor, take: torch.Tensor, key_heads: int | None = None) -> torch.Tensor:
    """Return rows of x (N, heads, D) as (S, key heads, T, heads per key head, D).

    Query heads that share a key head are more queries of it: nothing is repeated. Keys and
    values come as (S, key heads, 1, T, D).
    """
    rows = x.reshape(len(x), -1).index_select(0, take.reshape(-1))
    if key_heads is None:
        return rows.view(*take.shape, 1, x.shape[1], -1).permute(0, 3, 2, 1, 4).contiguous()
    return (
        rows.view(*take.shape, key_heads, x.shape[1] // key_heads, -1).transpose(1, 2).contiguous()
    )


def _flat(x: torch.Tensor) -> torch.Tensor:
    """Return (S x T, heads x D) of what `_gather` gives."""
    if x.shape[2] == 1:
        return x.permute(0, 3, 2, 1, 4).flatten(0, 2).flatten(1)
    return x.transpose(1, 2).flatten(0, 1).flatten(1)


def _varlen(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, spec: dict[str, Any], scale: float,
    window: int | None,
) -> torch.Tensor:  # fmt: skip
    """Return (N, heads, D) from PyTorch's kernel; the last query of a stretch sees its last key."""
    from torch.nn.attention.varlen import varlen_attn

    if spec["keys"] is not None:
        k, v = k.index_select(0, spec["keys"]), v.index_select(0, spec["keys"])
    attended: torch.Tensor = varlen_attn(
        q.contiguous(), k.contiguous(), v.contiguous(), spec["query_ends"], spec["key_ends"],
        spec["longest_query"], spec["longest_key"], scale=scale,
        window_size=(-1 if window is None else window - 1, 0), enable_gqa=q.shape[1] != k.shape[1],
    )  # fmt: skip
    return attended
