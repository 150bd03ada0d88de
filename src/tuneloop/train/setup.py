"""What a trainer is made of: the base, the tokenizer and TRL's arguments."""

from __future__ import annotations

import hashlib
import os
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuneloop.artefacts.digest import digest_file
from tuneloop.artefacts.stage import StageContext
from tuneloop.config.train import TrackingConfig
from tuneloop.config.trainer import TrainerConfig
from tuneloop.errors import TrainingError
from tuneloop.runtime.hardware import Precision, device, pick_precision
from tuneloop.runtime.weights import ResolvedModel
from tuneloop.train import attention, distributed
from tuneloop.train.adapter import WEIGHTS, check_targets, peft_config
from tuneloop.train.order import batch_order, n_steps
from tuneloop.train.rows import TokenRows
from tuneloop.train.step import packs

if TYPE_CHECKING:
    import torch

# Up to so many tokens a row, plain matrix products beat PyTorch's flash attention on CPU, whose
# backward is slow: SmolLM2-135M, batches of 1,200 tokens on two cores, rows of 60: 1,005 against
# 414 tokens/s; rows of 150: 895 against 771; rows of 400: 686 against 711.
EAGER_ATTENTION_TOKENS = 256
# Settings that change how a training runs, and not what comes out.
_WITHOUT_EFFECT = (
    "enabled", "micro_batch_size", "fill_tokens", "gradient_checkpointing", "dataloader_workers",
    "merge", "deterministic", "spike_factor", "spike_window", "holdout",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One training run: what it trains, on what, and where it keeps its state."""

    base: ResolvedModel
    config: TrainerConfig
    tracking: TrackingConfig
    name: str
    work: Path
    seed: int
    steps: int
    precision: Precision
    longest: int
    validates: bool
    data: str
    """Digest over the tokenised rows."""
    tokenizer: Any = None
    start: Path | None = None
    """Folder of the adapter that training goes on with."""
    leaves_model: bool = False
    """Whether it leaves a whole model, not an adapter on `base`."""

    @property
    def fingerprint(self) -> dict[str, Any]:
        """What the weights depend on: a checkpoint goes on only where all of it is the same."""
        config = self.config.model_dump(mode="json", exclude=set(_WITHOUT_EFFECT))
        return {"data": self.data, "base": self.base.digest, "seed": self.seed, "config": config}

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints lie."""
        return self.work / "checkpoints"

    def order(self, tokens: TokenRows) -> list[int]:
        """Return the row numbers of the whole run, batch after batch."""
        return batch_order(
            tokens.lengths,
            global_batch_size=self.config.global_batch_size,
            steps=self.steps,
            seed=self.seed,
            by_length=not packs(self.config),
        )

    @property
    def start_digest(self) -> str:
        """What the weights training starts from are: the reference of DPO and KTO."""
        return self.base.digest + (digest_file(self.start / WEIGHTS) if self.start else "")

    @property
    def trains_base_layers(self) -> bool:
        """Whether whole layers are trained, which are in float32."""
        adapter = self.peft_config()
        return adapter is None or bool(adapter.modules_to_save)

    def peft_config(self) -> Any:
        """Return PEFT's config of the adapter; None where every weight is trained."""
        return None if self.config.adapter == "full" else peft_config(self.config.lora, self.start)

    def weighted(self, tokens: TokenRows, order: Sequence[int]) -> list[dict[str, float]]:
        """Return what each row of an order counts, as `weight`; nothing where all are equal."""
        weights = tokens.relative_weights() if self.config.use_weights else None
        return [{"weight": weights[row]} if weights else {} for row in order]

    def row_tokens(self, tokens: TokenRows) -> list[int]:
        """Return the tokens of each row in that order."""
        lengths = tokens.lengths
        return [lengths[row] for row in self.order(tokens)]

    def batch(self, tokens: TokenRows, step: int) -> list[int]:
        """Return the row numbers of one optimiser step; the first is 1."""
        size = self.config.global_batch_size
        return self.order(tokens)[(step - 1) * size : step * size]


def make_run(
    name: str,
    base: ResolvedModel,
    config: TrainerConfig,
    tracking: TrackingConfig,
    context: StageContext,
    rows: tuple[TokenRows, TokenRows],
) -> Run:
    """Return a run over (training, validation) rows.

    Raises:
        TrainingError: if early stopping has no validation loss to go by.
    """
    tokens, validation = rows
    if config.early_stopping_patience is not None and not validation.rows:
        raise TrainingError(
            "early stopping needs validation rows and there are none",
            where=name,
            hint="raise curate.split.validation_fraction or unset early_stopping_patience",
        )
    return Run(
        base=base,
        config=config,
        tracking=tracking,
        name=name,
        work=context.work,
        seed=context.seed,
        steps=n_steps(
            len(tokens.rows),
            global_batch_size=config.global_batch_size,
            epochs=config.epochs,
            max_steps=config.max_steps,
        ),
        precision=pick_precision(config.precision),
        longest=tokens.longest,
        validates=bool(validation.rows),
        data=rows_digest(tokens, validation),
    )


def rows_digest(*parts: TokenRows) -> str:
    """Return a SHA-256 over the token ids and weights of rows, in their order."""
    digest = hashlib.sha256()
    for tokens in parts:
        digest.update(array("d", tokens.weights).tobytes())
        for row in tokens.rows:
            for name, values in sorted(row.items()):
                if isinstance(values, list):
                    digest.update(f"{name} {len(values)} ".encode())
                    digest.update(array("q", values).tobytes())
                else:
                    digest.update(f"{name} {values!r} ".encode())
        digest.update(b"|")
    return digest.hexdigest()


def dataset(tokens: TokenRows) -> Any:
    """Return rows as TRL takes them, or None where there are none."""
    from datasets import Dataset

    return Dataset.from_list(tokens.rows) if tokens.rows else None


def ordered(run: Run, tokens: TokenRows) -> Any:
    """Return the rows of the whole run in the order they are trained on, with their weights."""
    order = run.order(tokens)
    weights = run.weighted(tokens, order)
    rows = [tokens.rows[row] | extra for row, extra in zip(order, weights, strict=True)]
    return dataset(replace(tokens, rows=rows))


def load_tokenizer(base: ResolvedModel) -> Any:
    """Return the base's tokenizer, with a padding token."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base.folder, trust_remote_code=base.trust_remote_code)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_base(run: Run) -> Any:
    """Return the frozen base in the run's precision, in 4 bit for QLoRA.

    Where every weight is trained, in float32, computing in bfloat16 under autocast.
    """
    import torch
    from transformers import AutoModelForCausalLM

    full = run.config.adapter == "full"
    dtype = torch.bfloat16 if run.precision == "bf16" and not full else torch.float32
    kwargs: dict[str, Any] = {}
    if packs(run.config):
        attention.register()
        kwargs["attn_implementation"] = attention.NAME
    elif device() == "cpu" and run.longest <= EAGER_ATTENTION_TOKENS:
        kwargs["attn_implementation"] = "eager"
    if run.config.quantisation == "nf4":
        kwargs["quantization_config"] = _nf4(dtype)
        kwargs["device_map"] = {"": _device_index()}
    model = AutoModelForCausalLM.from_pretrained(
        run.base.folder, dtype=dtype, trust_remote_code=run.base.trust_remote_code, **kwargs
    )
    for layer in model.modules():
        # On CPUs with AVX-512 BF16, bitsandbytes repacks 4-bit layers at the first evaluation and
        # rounds their scales to bf16: the base would change in the middle of a run.
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False
    model.requires_grad_(full)
    if not full and run.start is None:
        check_targets(model, run.config.lora)
    return model


def arguments(run: Run, cls: Any, **own: Any) -> Any:
    """Return TRL's arguments for a run; `own` are those of SFT or DPO alone."""
    config, on_cpu = run.config, device() == "cpu"
    if config.deterministic and not on_cpu:
        _use_deterministic_kernels()
    if config.optimiser == "paged_adamw_8bit" and not on_cpu:
        own["optim"] = config.optimiser
    stops_early = config.early_stopping_patience is not None
    args = cls(
        output_dir=str(run.checkpoints),
        run_name=run.name,
        max_steps=run.steps,
        per_device_train_batch_size=config.micro_batch_size,
        per_device_eval_batch_size=config.micro_batch_size,
        gradient_accumulation_steps=distributed.accumulation(
            global_batch_size=config.global_batch_size, micro_batch_size=config.micro_batch_size
        ),
        learning_rate=config.lr,
        lr_scheduler_type=config.scheduler,
        warmup_steps=round(config.warmup_fraction * run.steps),
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        logging_steps=config.logging_steps,
        logging_nan_inf_filter=False,  # a loss that is no number is an error, not a gap
        eval_strategy="steps" if run.validates else "no",
        eval_steps=config.eval_steps,
        save_strategy="steps",
        save_steps=config.save_steps,
        save_total_limit=2,
        load_best_model_at_end=stops_early,
        metric_for_best_model="eval_loss" if stops_early else None,
        greater_is_better=False if stops_early else None,
        restore_callback_states_from_checkpoint=True,
        gradient_checkpointing=config.gradient_checkpointing,
        # A frozen base is in bf16 itself; autocast would cast every input again.
        bf16=run.precision == "bf16" and run.trains_base_layers,
        use_cpu=on_cpu,
        dataloader_pin_memory=not on_cpu,
        dataloader_num_workers=config.dataloader_workers,
        ddp_find_unused_parameters=False if distributed.world_size() > 1 else None,
        ddp_timeout=int(distributed.TIMEOUT.total_seconds()),
        train_sampling_strategy="sequential",  # the rows are in their order already
        seed=run.seed,
        data_seed=run.seed,
        report_to=list(run.tracking.report_to) if distributed.is_main_process() else [],
        project=run.tracking.project,
        trackio_static_space_id=False,  # nothing is published unasked
        disable_tqdm=True,
        remove_unused_columns=False,  # there are none, and TRL knows no weights
        max_length=None,  # rows that are too long were dropped, none is cut
        **own,
    )
    distributed.shard_where_asked(args.distributed_state)
    if distributed.world_size() == 1 and args.n_gpu > 1:
        args._n_gpu = 1  # one process takes one GPU; DataParallel is not what anybody wants
    return args


def _use_deterministic_kernels() -> None:
    """Let a GPU compute the same twice; transformers' own switch also makes every launch wait."""
    import torch

    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = False


def _nf4(dtype: torch.dtype) -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def _device_index() -> int | str:

    return int(os.environ.get("LOCAL_RANK", "0")) if device() == "cuda" else "cpu"
