"""What a training unlearns: perplexity and exact answers on general text, before and after."""

from __future__ import annotations

import contextlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tuneloop.artefacts.stage import Progress
from tuneloop.config.trainer import HoldoutConfig
from tuneloop.errors import DataError
from tuneloop.train import distributed
from tuneloop.train.encode import sft_rows
from tuneloop.train.rows import IGNORED, Row, TokenRows
from tuneloop.train.setup import Run

CONFIDENCE = 0.95
FORGETTING = "forgetting.json"


class RowScore(NamedTuple):
    """A row's summed negative log-likelihood over its `n` tokens, in nats.

    `exact`: every one of them was the likeliest. That is the case exactly where greedy decoding
    would give the reference word for word, so no answer has to be generated for this check.
    """

    nll: float
    n: int
    exact: bool


@contextlib.contextmanager
def forgetting_measured(trainer: Any, run: Run, progress: Progress) -> Iterator[None]:
    """Measure general rows before and after the block, which trains; leave `forgetting.json`.

    Every process measures all rows, so that sharded models, which compute together, can.
    """
    path, config = run.work / FORGETTING, run.config.holdout
    path.unlink(missing_ok=True)
    if config is None or config.path is None:
        yield
        return
    rows = holdout_rows(config, trainer.processing_class, seed=run.seed)
    before = score_rows(trainer.model, rows, progress, name=f"{run.name}: general rows, before")
    yield
    after = score_rows(trainer.model, rows, progress, name=f"{run.name}: general rows, after")
    found = forgetting(before, after, rows, limit=config.max_perplexity_ratio)
    if found["within_limit"] is False:
        change = found["perplexity"]["change"]
        progress.say(
            f"{run.name}: perplexity of general rows is up to {change['ci_high']:.3f} times "
            f"what it was, above holdout.max_perplexity_ratio {config.max_perplexity_ratio:g}"
        )
    if distributed.is_main_process():
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    distributed.barrier()


def holdout_rows(config: HoldoutConfig, tokenizer: Any, *, seed: int) -> TokenRows:
    """Return the general rows as tokens.

    A row has `messages` (the last one is the answer that counts), `prompt` and `completion`, or
    `text` (all of which counts).

    Raises:
        DataError: for a file that is not there, a line that is no such row, or nothing left.
    """
    assert config.path is not None
    path = Path(config.path)
    if not path.is_file():
        raise DataError("there is no such file", where=f"holdout.path: {path}")
    result = TokenRows()
    for number, row in _lines(path):
        chat = _chat(row, where=f"{path}:{number}")
        if isinstance(chat, str):
            found = _text_rows(chat, tokenizer, max_length=config.max_length)
        else:
            found = sft_rows([chat], tokenizer, max_length=config.max_length)
        result.n_in += 1
        result.rows += found.rows
        result.dropped.update(found.dropped)
    if not result.rows:
        raise DataError(
            f"no row of {result.n_in} can be used ({dict(result.dropped)})",
            where=f"holdout.path: {path}",
            hint="raise holdout.max_length, or give other rows",
        )
    result.weights = [1.0] * len(result.rows)
    return result.sample(config.max_rows, seed=seed)


def score_rows(model: Any, rows: TokenRows, progress: Progress, *, name: str) -> list[RowScore]:
    """Return how likely a model finds each row; no random number is drawn."""
    import torch

    was_training = model.training
    model.eval()
    progress.start(name, total=len(rows.rows))
    scores = []
    device = next(model.parameters()).device
    with torch.no_grad():
        for row in rows.rows:
            ids = torch.tensor([row["input_ids"]], device=device)
            targets = torch.tensor(row["labels"][1:], device=device)
            wanted = targets != IGNORED
            logits = model(input_ids=ids, use_cache=False).logits[0, :-1][wanted].float()
            picked = targets[wanted]
            logps = torch.log_softmax(logits, -1).gather(1, picked[:, None])[:, 0]
            exact = bool((logits.argmax(-1) == picked).all())
            scores.append(RowScore(-float(logps.double().sum()), len(picked), exact))
            progress.advance()
    model.train(was_training)
    figure = perplexity(scores)["estimate"]
    progress.done(f"perplexity {figure:.3f} over {len(scores)} rows")
    return scores


def forgetting(
    before: Sequence[RowScore], after: Sequence[RowScore], rows: TokenRows, *, limit: float | None
) -> dict[str, Any]:
    """Return what changed, with n and intervals; paired, row by row.

    Args:
        before: Scores of the model this training started from.
        after: Scores of what it came to.
        rows: The rows.
        limit: The largest ratio of perplexities that is still fine; None: no such gate.

    Returns:
        `perplexity` (`before`, `after`, `change`: their ratio) and `exact` (`before`, `after` as
        rates, rows `lost` and `gained`), each estimate with its interval; `within_limit` is
        whether the upper end of the ratio's interval stays at or below `limit`.
    """
    from tuneloop.statistics.rates import wilson

    change = _ratio([b.nll - a.nll for a, b in zip(before, after, strict=True)],
                    [score.n for score in before])  # fmt: skip
    exact: dict[str, Any] = {
        "lost": sum(a.exact and not b.exact for a, b in zip(before, after, strict=True)),
        "gained": sum(b.exact and not a.exact for a, b in zip(before, after, strict=True)),
    }
    for name, scores in (("before", before), ("after", after)):
        n_exact = sum(score.exact for score in scores)
        low, high = wilson(n_exact, len(scores), 1 - CONFIDENCE)
        exact[name] = {"estimate": round(n_exact / len(scores), 6), "n": len(scores),
                       "ci_low": round(low, 6), "ci_high": round(high, 6)}  # fmt: skip
    worst = change["ci_high"]
    return {
        "n_rows": len(before),
        "n_tokens": sum(score.n for score in before),
        "n_in": rows.n_in,
        "dropped": dict(sorted(rows.dropped.items())),
        "confidence": CONFIDENCE,
        "perplexity": {
            "before": perplexity(before),
            "after": perplexity(after),
            "change": change,
        },
        "exact": exact,
        "limit": limit,
        "within_limit": None if limit is None or worst is None else worst <= limit,
    }


def perplexity(scores: Sequence[RowScore]) -> dict[str, Any]:
    """Return exp of the mean negative log-likelihood a token, with its interval over rows."""
    return _ratio([score.nll for score in scores], [score.n for score in scores])


def _ratio(sums: Sequence[float], sizes: Sequence[int]) -> dict[str, Any]:
    """Return exp(sum / size) and its interval; the rows, not the tokens, are independent.

    Source: the variance of a ratio estimator, Cochran, Sampling Techniques (1977), section 2.11,
        with Student's t of as many degrees of freedom as there are rows less one.
    """
    from scipy import stats

    n, total = len(sums), sum(sizes)
    mean = math.fsum(sums) / total
    found: dict[str, Any] = {"estimate": round(math.exp(mean), 6), "n": n, "ci_low": None,
                             "ci_high": None, "confidence": CONFIDENCE}  # fmt: skip
    if n < 2:
        return found | {"reason": "one row has no interval"}
    square = math.fsum((x - mean * size) ** 2 for x, size in zip(sums, sizes, strict=True))
    error = math.sqrt(square * n / (n - 1)) / total
    half = float(stats.t.ppf(0.5 + CONFIDENCE / 2, n - 1)) * error
    return found | {"ci_low": round(math.exp(mean - half), 6),
                    "ci_high": round(math.exp(mean + half), 6)}  # fmt: skip


def _lines(path: Path) -> Iterator[tuple[int, Any]]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        yield from enumerate(pq.read_table(path).to_pylist(), start=1)
        return
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except ValueError as error:
                    raise DataError(f"no JSON: {error}", where=f"{path}:{number}") from error


def _chat(row: Any, *, where: str) -> Row | str:
    """Return a row as (prompt, completion) messages, or its text."""
    found = row if isinstance(row, dict) else {}
    if isinstance(found.get("text"), str):
        return str(found["text"])
    messages = found.get("messages")
    if isinstance(messages, list) and len(messages) > 1 and _are_messages(messages) \
            and messages[-1]["role"] == "assistant":  # fmt: skip
        return {"prompt": messages[:-1], "completion": messages[-1:]}
    prompt, completion = (_as_messages(found.get(name), role) for name, role in
                          (("prompt", "user"), ("completion", "assistant")))  # fmt: skip
    if prompt and completion:
        return {"prompt": prompt, "completion": completion}
    raise DataError(
        "no row to hold out",
        where=where,
        hint="it needs text, or prompt and completion, or messages that end with the assistant's",
    )


def _as_messages(value: Any, role: str) -> list[dict[str, Any]] | None:
    if isinstance(value, str) and value:
        return [{"role": role, "content": value}]
    return value if isinstance(value, list) and value and _are_messages(value) else None


def _are_messages(values: list[Any]) -> bool:
    return all(
        isinstance(m, dict) and isinstance(m.get("role"), str) and isinstance(m.get("content"), str)
        for m in values
    )


def _text_rows(text: str, tokenizer: Any, *, max_length: int) -> TokenRows:
    ids = tokenizer(text)["input_ids"]
    if len(ids) < 2:
        return TokenRows(n_in=1, dropped=Counter({"empty": 1}))
    if len(ids) > max_length:
        return TokenRows(n_in=1, dropped=Counter({"too_long": 1}))
    return TokenRows(rows=[{"input_ids": ids, "labels": list(ids)}], weights=[1.0], n_in=1)
