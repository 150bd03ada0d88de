"""In-process answers with transformers: for tests, CI and tiny models."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from tuneloop.artefacts.systems import Sampling
from tuneloop.config.evaluate import EngineConfig
from tuneloop.errors import ServingError
from tuneloop.runtime.quiet import quiet_libraries
from tuneloop.runtime.serving.chat import (
    ChatRequest,
    ChatResult,
    Follow,
    ServedSystem,
    TokenLogprob,
)
from tuneloop.runtime.serving.device import has_cuda

MAX_BATCH = 32


@dataclass(frozen=True)
class _Loaded:
    model: Any
    tokenizer: Any
    template: str | None
    device: str
    max_len: int


class LocalBackend:
    """Batched generation with left padding, one system in memory at a time."""

    def __init__(
        self, systems: Sequence[ServedSystem], config: EngineConfig, *, work: Path
    ) -> None:
        self.systems, self.config, self.work = systems, config, work
        self.chunk_size = min(MAX_BATCH, config.max_in_flight)
        self._loaded: dict[str, _Loaded] = {}

    def start(self) -> None:
        """Load nothing yet: systems are loaded as they are asked."""

    def counters(self) -> Mapping[str, float]:
        """Return nothing: there is no server."""
        return {}

    def stream(
        self,
        system: ServedSystem,
        requests: Sequence[ChatRequest],
        follow: Follow | None = None,
    ) -> Iterator[tuple[int, ChatResult]]:
        """Yield (position, answer), batch by batch; a batch's rows share their sampling."""
        if follow:
            raise ServingError("a padded batch is answered as a whole: nothing can follow in it")
        loaded = self._load(system)
        for begin in range(0, len(requests), self.chunk_size):
            chunk = list(enumerate(requests))[begin : begin + self.chunk_size]
            for _, group in groupby(chunk, key=lambda item: _batch_key(item[1])):
                rows = list(group)
                results = answer_batch(loaded, [request for _, request in rows])
                for (position, _), result in zip(rows, results, strict=True):
                    yield position, result

    @quiet_libraries()
    def _load(self, system: ServedSystem) -> _Loaded:
        if system.spec.digest in self._loaded:
            return self._loaded[system.spec.digest]
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        folder = system.base.folder
        if system.adapter_folder is not None:
            from tuneloop.runtime.weights import merged_folder

            folder = merged_folder(
                system.base,
                system.adapter_folder,
                str(system.spec.adapter),
                self.work,
                dtype="fp32" if self.config.dtype == "float32" else None,
            )
        options = {
            "trust_remote_code": system.base.trust_remote_code,
            "local_files_only": True,
        }
        tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left", **options)
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=getattr(torch, self.config.dtype), use_safetensors=True, **options
        )
        device = "cuda" if has_cuda() else "cpu"
        loaded = _Loaded(
            model=model.to(device).eval(),
            tokenizer=tokenizer,
            template=system.spec.chat_template,
            device=device,
            max_len=self.config.max_model_len,
        )
        self._loaded = {system.spec.digest: loaded}
        return loaded

    def stop(self) -> None:
        """Let the weights go."""
        self._loaded = {}


def _batch_key(request: ChatRequest) -> tuple[Sampling, bool]:
    return request.sampling, request.choices is None


def answer_batch(loaded: _Loaded, requests: Sequence[ChatRequest]) -> list[ChatResult]:
    """Return one answer per request of a batch that shares its sampling."""
    began = time.monotonic()
    prompts = [_prompt_ids(loaded, request) for request in requests]
    results: dict[int, ChatResult] = {}
    fitting = []
    for i, ids in enumerate(prompts):
        if len(ids) >= loaded.max_len:
            detail = f"{len(ids)} tokens do not fit {loaded.max_len}"
            results[i] = ChatResult.missing("truncated", detail)
        else:
            fitting.append(i)
    if fitting and requests[0].choices is None:
        answered = _generate(loaded, [requests[i] for i in fitting], [prompts[i] for i in fitting])
        results |= dict(zip(fitting, answered, strict=True))
    elif fitting:
        results |= {i: _choose(loaded, requests[i], prompts[i]) for i in fitting}
    seconds = round((time.monotonic() - began) / len(requests), 4)
    return [results[i].model_copy(update={"seconds": seconds}) for i in range(len(requests))]


def _prompt_ids(loaded: _Loaded, request: ChatRequest) -> list[int]:
    text = loaded.tokenizer.apply_chat_template(
        request.messages,
        tokenize=False,
        chat_template=loaded.template,
        tools=list(request.tools) or None,
        add_generation_prompt=not request.continue_final,
        continue_final_message=request.continue_final,
    )
    ids: list[int] = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def _generate(
    loaded: _Loaded, requests: Sequence[ChatRequest], prompts: Sequence[list[int]]
) -> list[ChatResult]:
    import torch
    from transformers import GenerationConfig

    sampling = requests[0].sampling
    longest = max(map(len, prompts))
    pad = loaded.tokenizer.pad_token_id
    ids = torch.tensor([[pad] * (longest - len(p)) + p for p in prompts], device=loaded.device)
    mask = torch.tensor(
        [[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=loaded.device
    )
    drawn = sampling.temperature > 0
    settings = GenerationConfig(
        max_new_tokens=min(sampling.max_tokens, loaded.max_len - longest),
        do_sample=drawn,
        temperature=sampling.temperature if drawn else None,
        top_p=sampling.top_p if drawn else None,
        top_k=0 if drawn else None,
        pad_token_id=pad,
        eos_token_id=_stop_ids(loaded),
        return_dict_in_generate=True,
        output_logits=True,
    )
    with torch.random.fork_rng(), torch.inference_mode():
        torch.manual_seed(sampling.seed)
        made = loaded.model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
    first = made.logits[0].float().log_softmax(-1)
    rows = made.sequences[:, longest:].tolist()
    return [
        _result(loaded, request, prompt, row, first[i])
        for i, (request, prompt, row) in enumerate(zip(requests, prompts, rows, strict=True))
    ]


def _stop_ids(loaded: _Loaded) -> list[int]:
    of_model = loaded.model.generation_config.eos_token_id
    ids = of_model if isinstance(of_model, list) else [of_model]
    return sorted({i for i in [*ids, loaded.tokenizer.eos_token_id] if i is not None})


def _result(
    loaded: _Loaded, request: ChatRequest, prompt: list[int], row: list[int], first: Any
) -> ChatResult:
    ends = [i for i, token in enumerate(row) if token in _stop_ids(loaded)]
    tokens = row[: ends[0]] if ends else row
    top: tuple[TokenLogprob, ...] = ()
    if request.top_logprobs:
        best = first.topk(min(request.top_logprobs, first.numel()))
        top = tuple(
            TokenLogprob(token=loaded.tokenizer.decode([token]), logprob=logprob)
            for token, logprob in zip(best.indices.tolist(), best.values.tolist(), strict=True)
        )
    return ChatResult(
        text=loaded.tokenizer.decode(tokens, skip_special_tokens=True),
        finish_reason="stop" if ends else "length",
        top_logprobs=top,
        n_prompt_tokens=len(prompt),
        n_completion_tokens=len(tokens) + bool(ends),
    )


def _choose(loaded: _Loaded, request: ChatRequest, prompt: list[int]) -> ChatResult:
    """Return the likeliest of the choices, by the sum of their tokens' log-probabilities."""
    import torch

    choices = request.choices or ()
    totals = []
    for choice in choices:
        ids: list[int] = loaded.tokenizer(choice, add_special_tokens=False)["input_ids"]
        row = torch.tensor([prompt + ids], device=loaded.device)
        with torch.inference_mode():
            logprobs = loaded.model(input_ids=row).logits[0].float().log_softmax(-1)
        scored = [logprobs[len(prompt) + k - 1, token] for k, token in enumerate(ids)]
        totals.append(float(sum(scored)))
    shares = torch.tensor(totals).log_softmax(0).tolist()
    ranked = sorted(zip(choices, shares, strict=True), key=lambda pair: -pair[1])
    kept = ranked[: request.top_logprobs]
    return ChatResult(
        text=ranked[0][0],
        finish_reason="stop",
        top_logprobs=tuple(TokenLogprob(token=c, logprob=share) for c, share in kept),
        n_prompt_tokens=len(prompt),
        n_completion_tokens=1,
    )
