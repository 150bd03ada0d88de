"""How much memory a training needs, by part, from shapes alone: no weight is read, torch neither.

The activations are what autograd keeps on the code's own way: fused LoRA layers that keep their
input and the small product, norms that keep their input, attention as it runs on the device, the
head in chunks. A test compares them with what autograd really keeps.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Literal

from tuneloop.config.trainer import TrainerConfig
from tuneloop.runtime.shapes import Matrix, ModelShape
from tuneloop.train.step import Step

GIB = 1024**3
FLOAT32 = 4
NF4 = 0.516  # 4 bit a weight, and scales of 64 weights each that are themselves in 8 bit
HEAD_CHUNK_LOGITS = 8 * 1024 * 1024  # of `train.head`
EAGER_ATTENTION_TOKENS = 256  # of `train.setup`: padded rows up to so many tokens, plain products
# Python, torch, transformers, peft, trl and datasets once imported; measured, see experiments.md.
LIBRARIES = {"cpu": 0.72 * GIB, "cuda": 0.6 * GIB}
# What the allocator holds beyond what is in use, as a share of what comes and goes in a step:
# glibc's heap by measurement; PyTorch's caching allocator on CUDA as commonly seen, not measured.
SLACK = {"cpu": 0.35, "cuda": 0.10}
# oneDNN keeps the kernels it made for each number of tokens; bounded by its cache.
KERNELS = {"cpu": 0.10 * GIB, "cuda": 0.03 * GIB}

Device = Literal["cpu", "cuda"]


@dataclass(frozen=True)
class Machine:
    """Where it runs: device, compute type, and over how many devices weights are sharded."""

    device: Device = "cpu"
    precision: Literal["bf16", "fp32"] = "bf16"
    shards: int = 1

    @property
    def width(self) -> int:
        """Bytes of a value in the compute type."""
        return 2 if self.precision == "bf16" else 4


@dataclass(frozen=True)
class MemoryEstimate:
    """Parts of a training's peak memory on one device, GiB."""

    libraries_gib: float
    weights_gib: float
    adapter_gib: float
    gradients_gib: float
    optimiser_gib: float
    activations_gib: float
    logits_gib: float
    allocator_gib: float
    reference_gib: float = 0.0
    """Nothing: the reference's log-probabilities are computed before training, by the policy."""

    @property
    def total_gib(self) -> float:
        """All parts."""
        return float(sum(asdict(self).values()))


def estimate(
    shape: ModelShape, config: TrainerConfig, step: Step, machine: Machine
) -> MemoryEstimate:
    """Estimate the peak memory of one training, on one of its devices.

    Args:
        shape: The base model's.
        config: The training.
        step: Its largest forward pass.
        machine: Where it runs.
    """
    trained = n_trained(shape, config)
    full = config.adapter == "full"
    moments = 2 if config.optimiser == "paged_adamw_8bit" and machine.device == "cuda" else 8
    weights = 0.0 if full else _weights(shape, config, machine) / machine.shards
    activations = _activations(shape, config, step, machine)
    logits = _logits(shape, config, step, machine)
    if machine.shards > 1:  # one layer's weights are gathered while the one before is still there
        activations += 2 * machine.width * shape.n_matrix_parameters / shape.layers
    return MemoryEstimate(
        libraries_gib=LIBRARIES[machine.device] / GIB,
        weights_gib=weights / GIB,
        adapter_gib=FLOAT32 * trained / machine.shards / GIB,
        gradients_gib=FLOAT32 * trained / machine.shards / GIB,
        optimiser_gib=moments * trained / machine.shards / GIB,
        activations_gib=activations / GIB,
        logits_gib=logits / GIB,
        allocator_gib=(SLACK[machine.device] * (activations + logits) + KERNELS[machine.device])
        / GIB,
    )


def n_trained(shape: ModelShape, config: TrainerConfig) -> int:
    """Return how many parameters are trained."""
    if config.adapter == "full":
        return shape.n_parameters
    lora = config.lora
    n = sum(
        m.per_layer * (lora.r * (m.n_in + m.n_out) + (m.n_out if lora.use_dora else 0))
        for m in shape.adapted(lora.target_modules)
    )
    whole = {"embed_tokens", "lm_head"} & set(lora.modules_to_save)
    return shape.layers * n + len(whole) * shape.vocab * shape.hidden


def saved_by_layer(shape: ModelShape, config: TrainerConfig, step: Step, machine: Machine) -> float:
    """Return the bytes that autograd keeps of one decoder layer until its backward pass."""
    full, wide = config.adapter == "full", _width(config, machine)
    adapted = {m.name.rpartition(".")[2]: m for m in shape.adapted(config.lora.target_modules)}
    fused = not (config.lora.dropout or config.lora.use_dora or config.quantisation == "nf4")
    trains = {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    if not full:  # whose input is kept; PEFT keeps a copy for each adapter instead where it casts
        copies = not fused and (wide < FLOAT32 or config.lora.dropout)
        trains = set() if copies else set(adapted)
    norm = FLOAT32 if full else wide  # of fused norms the input as it is, and a factor a row
    token: float = shape.norms * (norm * shape.hidden + FLOAT32)
    if full:
        token += shape.norms * wide * shape.hidden
    if shape.qk_norm:
        token += (norm + (wide if full else 0)) * (shape.query_width + shape.kv_width)
    if trains & {"q_proj", "k_proj", "v_proj"}:
        token += wide * shape.hidden
    machine = replace(machine, precision="bf16" if wide == 2 else "fp32")
    token += _attention(shape, config, step, machine, keeps_output="o_proj" in trains)
    token += _mlp(shape, trains, wide)
    if full:
        return step.tokens * token
    token += sum(
        _adapter(m, config, wide, fused=fused, on_cpu=machine.device == "cpu") * _times(m, shape)
        for m in adapted.values()
    )
    casts = sum(m.per_layer * config.lora.r * (m.n_in + m.n_out) for m in adapted.values())
    return step.tokens * token + (wide * casts if fused and wide < FLOAT32 else 0)


def _width(config: TrainerConfig, machine: Machine) -> int:
    """Return bytes of an activation: weights that are trained whole compute in their float32."""
    return FLOAT32 if config.adapter == "full" else machine.width


def _weights(shape: ModelShape, config: TrainerConfig, machine: Machine) -> float:
    wide = machine.width
    if config.quantisation == "nf4":
        others = shape.n_parameters - shape.n_matrix_parameters
        return NF4 * shape.n_matrix_parameters + wide * others
    return wide * shape.n_parameters


def _activations(shape: ModelShape, config: TrainerConfig, step: Step, machine: Machine) -> float:
    """Return what the layers keep, and what one of them takes while it is computed."""
    saved, wide = saved_by_layer(shape, config, step, machine), _width(config, machine)
    residual = step.tokens * shape.hidden
    if config.gradient_checkpointing is True:
        kept = shape.layers * residual * wide + saved
    else:
        kept = shape.layers * saved
    mlp = step.tokens * (3 * wide * shape.intermediate * max(1, shape.experts_per_token))
    scores = _scores(shape, config, step, machine)
    largest = max((m.size for m in shape.matrices), default=0)
    unpacked = wide * largest if config.quantisation == "nf4" else 0
    return kept + max(mlp, scores) + 3 * FLOAT32 * residual + unpacked


def _attention(
    shape: ModelShape, config: TrainerConfig, step: Step, machine: Machine, *, keeps_output: bool
) -> float:
    """Return bytes a token that attention keeps.

    Laid end to end on a CPU: queries, keys and values gathered into rectangles, and the shares of
    each block of queries. Padded and short: plain products over keys and values repeated for each
    head, softmax in float32 and cast back. Else kernels that keep their inputs and output.
    """
    wide, q, kv = machine.width, shape.query_width, shape.kv_width
    if not _keeps_scores(config, step, machine):
        return wide * (2 * q + 2 * kv) + FLOAT32 * shape.heads
    scores = shape.heads * step.scores / step.tokens
    output = wide * q if keeps_output else 0
    if step.packed:
        return wide * (q + 2 * kv) * step.slots / step.tokens + output + wide * scores
    return wide * 3 * q + output + (FLOAT32 + (wide if wide < FLOAT32 else 0)) * scores


def _mlp(shape: ModelShape, trains: set[str], wide: int) -> float:
    """Return bytes a token that the MLP keeps: gate, its activation, up, and what down is given."""
    n = max(1, shape.experts_per_token)
    token = wide * 3 * shape.intermediate * n
    if "down_proj" in trains:
        token += wide * shape.intermediate * n
    if trains & {"gate_proj", "up_proj"} or shape.experts:
        token += wide * shape.hidden * n
    return token


def _adapter(
    matrix: Matrix, config: TrainerConfig, wide: int, *, fused: bool, on_cpu: bool
) -> float:
    """Return bytes a token that one adapter keeps beside the layer's shared input."""
    if fused:
        return wide * config.lora.r
    own = FLOAT32 * config.lora.r
    if wide < FLOAT32 or config.lora.dropout:
        own += FLOAT32 * matrix.n_in  # PEFT casts the input, or drops out of it, for each adapter
    if config.lora.dropout:  # the mask: of single bytes in the kernel of GPUs, of floats on CPU
        own += (FLOAT32 if on_cpu else 1) * matrix.n_in
    if config.lora.use_dora:  # the base's output and the adapter's, both scaled
        own += (wide + FLOAT32) * matrix.n_out
    return own


def _times(matrix: Matrix, shape: ModelShape) -> int:
    return shape.experts_per_token if matrix.per_layer > 1 else 1


def _keeps_scores(config: TrainerConfig, step: Step, machine: Machine) -> bool:
    """Return whether attention makes and keeps a share for each query and key; kernels do not."""
    short = not step.packed and step.row_tokens <= EAGER_ATTENTION_TOKENS
    return machine.device == "cpu" and (step.packed or short)


def _scores(shape: ModelShape, config: TrainerConfig, step: Step, machine: Machine) -> float:
    """Return bytes of the scores and masks that one layer holds while it is computed."""
    if not _keeps_scores(config, step, machine):
        return 0
    if step.packed:  # two of the shares' size at a time, and a mask for the heads of one key
        return machine.width * step.scores * (2 * shape.heads + shape.heads / shape.kv_heads)
    return 3 * FLOAT32 * shape.heads * step.scores


def _logits(shape: ModelShape, config: TrainerConfig, step: Step, machine: Machine) -> float:
    wide = _width(config, machine)
    if config.adapter == "full" or machine.shards > 1:
        # The head is trained or sharded: whole logits, in float32 too, and their gradients.
        return step.loss_tokens * shape.vocab * (2 * wide + 2 * FLOAT32)
    rows = min(step.loss_tokens, max(64, HEAD_CHUNK_LOGITS // shape.vocab))
    chunk = rows * shape.vocab * (FLOAT32 if wide == FLOAT32 else 2 * wide + FLOAT32)
    return chunk + 2 * wide * step.loss_tokens * shape.hidden
