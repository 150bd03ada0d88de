"""Fused norms compute what the models' own do."""

import copy

import pytest
import torch
from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm
from transformers.models.llama.modeling_llama import LlamaRMSNorm
from transformers.models.qwen3.modeling_qwen3 import Qwen3RMSNorm

from tuneloop.train.norms import fuse_norms


def holder(kind):
    torch.manual_seed(0)
    norm = kind(48, eps=1e-6)
    with torch.no_grad():
        norm.weight.add_(torch.randn(48) * 0.2)
    return torch.nn.ModuleList([norm.requires_grad_(False)])


def output_and_gradient(norm, x, upstream):
    x = x.detach().clone().requires_grad_()
    y = norm(x)
    y.backward(upstream.to(y.dtype))
    return y.detach(), x.grad


@pytest.mark.parametrize("kind", [LlamaRMSNorm, Qwen3RMSNorm, Gemma3RMSNorm])
@pytest.mark.parametrize(("dtype", "apart"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("shape", [(7, 48), (1, 5, 3, 48)])
def test_fused_norms_equal_their_models(kind, dtype, apart, shape):
    plain = holder(kind).to(dtype)
    fused = copy.deepcopy(plain)
    assert fuse_norms(fused) == 1
    x, upstream = torch.randn(shape).to(dtype), torch.randn(shape)
    for ours, theirs in zip(
        output_and_gradient(fused[0], x, upstream),
        output_and_gradient(plain[0], x, upstream),
        strict=True,
    ):
        assert ours.dtype == theirs.dtype
        assert torch.allclose(ours, theirs, rtol=apart, atol=apart)


def test_other_norms_and_trained_ones_keep_their_own():
    class CentredRMSNorm(LlamaRMSNorm):
        def forward(self, x):
            return super().forward(x - x.mean(-1, keepdim=True))

    assert fuse_norms(holder(CentredRMSNorm)) == 0
    assert fuse_norms(holder(LlamaRMSNorm).requires_grad_(True)) == 0
    assert fuse_norms(torch.nn.LayerNorm(8)) == 0
