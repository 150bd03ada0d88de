"""Model references: a folder, a GGUF file, a hub id or `tiny-random`, made into a local folder."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tuneloop.artefacts.digest import digest_file, digest_json
from tuneloop.config.schema import ModelConfig
from tuneloop.errors import TuneloopError

TINY = "tiny-random"
HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$")
# What changes an answer: weights, tokenizer, template, and what generation defaults to.
DIGESTED = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "*.safetensors",
)
# Where a folder came from and which library wrote it say nothing about the model.
_NOT_DIGESTED_KEYS = {
    "_name_or_path", "name_or_path", "_model_name_or_path", "is_local", "local_files_only",
    "transformers_version",
}  # fmt: skip


@dataclass(frozen=True)
class ResolvedModel:
    """A base model on this machine; `digest` is over its contents, never over its place."""

    folder: Path
    digest: str
    name: str
    trust_remote_code: bool = False


def models_home() -> Path:
    """Return where models are kept: TUNELOOP_MODELS, or ~/.cache/tuneloop/models."""
    return Path(os.environ.get("TUNELOOP_MODELS") or "~/.cache/tuneloop/models").expanduser()


def resolve_model(config: ModelConfig, *, cache: Path | None = None) -> ResolvedModel:
    """Return the model a config names as a local safetensors folder with its digest.

    Args:
        config: `name` is a folder, a GGUF file, a hub id or `tiny-random`.
        cache: Where converted and made models are kept; default `models_home()`.

    Raises:
        TuneloopError: if there is no such model, or it holds no safetensors weights.
    """
    cache = cache or models_home()
    path = Path(config.name).expanduser()
    if config.name == TINY:
        folder, name = _tiny(cache), TINY
    elif path.is_dir():
        folder, name = path, path.resolve().name
    elif path.is_file() and path.suffix.lower() == ".gguf":
        folder, name = _converted(path, cache), path.stem
    elif HUB_ID.match(config.name) and not path.exists():
        folder, name = _from_hub(config), config.name
    else:
        raise TuneloopError(
            f"no model {config.name!r}: not a folder, not a GGUF file, not a hub id",
            where="model.name",
            hint="give a path that exists, an id such as HuggingFaceTB/SmolLM2-135M-Instruct, "
            f"or {TINY}",
        )
    if config.chat_template is not None:
        folder = _with_template(folder, Path(config.chat_template).expanduser(), cache)
    digest = model_digest(folder, cache=cache, with_code=config.trust_remote_code)
    return ResolvedModel(folder, digest, name, config.trust_remote_code)


def model_digest(folder: Path, *, cache: Path | None = None, with_code: bool = False) -> str:
    """Return the SHA-256 over config, tokenizer, chat template and weights of a model folder.

    File digests are remembered by size and modification time, so the second call is free.

    Raises:
        TuneloopError: if the folder holds no config or no safetensors.
    """
    patterns = [*DIGESTED, "*.py"] if with_code else list(DIGESTED)
    files = sorted({p for pattern in patterns for p in folder.glob(pattern) if p.is_file()})
    names = {p.name for p in files}
    if "config.json" not in names or not any(n.endswith(".safetensors") for n in names):
        raise TuneloopError(
            "no config.json with safetensors weights",
            where=str(folder),
            hint="weights in pickle files (.bin, .pt) are never loaded: save them as safetensors",
        )
    with _remembered_digests(folder, cache or models_home()) as digest_of:
        return digest_json({p.name: _content_digest(p, digest_of) for p in files})


def merged_folder(
    base: ResolvedModel,
    adapter_folder: Path,
    adapter_digest: str,
    cache: Path,
    *,
    dtype: str | None = None,
) -> Path:
    """Return a folder with the adapter merged into the base, made once per pair and type.

    Args:
        base: The base.
        adapter_folder: The adapter's.
        adapter_digest: Of its weights.
        cache: Where merged models are kept.
        dtype: Another type than the base's own: bf16, fp16 or fp32.

    Raises:
        RoundedAway: if that type's steps are larger than what the adapter changes.
        TrainingError: if the merged model's logits do not fit the unmerged model's.
    """
    name = f"{base.digest[:16]}-{adapter_digest[:16]}" + (f"-{dtype}" if dtype else "")
    target = cache / "merged" / name
    if not target.is_dir():
        from tuneloop.runtime.merge import merge_adapter

        with published(target) as partial:
            merge_adapter(base, adapter_folder, partial, dtype=dtype)
    return target


@contextlib.contextmanager
def published(target: Path) -> Iterator[Path]:
    """Give a temporary folder that appears as `target`, whole, when the block ends well.

    Where another process was first, its folder stays.
    """
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    partial.mkdir(parents=True)
    try:
        yield partial
        try:
            partial.rename(target)
        except OSError:
            if not target.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _tiny(cache: Path) -> Path:
    from tuneloop.runtime import tiny

    folder = cache / f"{TINY}-v{tiny.VERSION}"
    if not folder.is_dir():
        with published(folder) as partial:
            tiny.make_tiny(partial)
    return folder


def _with_template(folder: Path, template: Path, cache: Path) -> Path:
    """Return a folder with the same model under another chat template; files are linked."""
    if not template.is_file():
        raise TuneloopError("there is no such file", where=f"model.chat_template: {template}")
    text = template.read_text(encoding="utf-8")
    name = digest_json([str(folder.resolve()), model_digest(folder, cache=cache), text])[:24]
    target = cache / "templated" / name
    if not target.is_dir():
        with published(target) as partial:
            for path in folder.iterdir():
                if path.is_file() and not path.name.startswith("chat_template."):
                    (partial / path.name).symlink_to(path.resolve())
            (partial / "chat_template.jinja").write_text(text, encoding="utf-8")
            _forget_template(partial / "tokenizer_config.json")
    return target


def _forget_template(path: Path) -> None:
    """Take the template out of a tokenizer's config, which the file beside would contradict."""
    if path.is_file():
        config = json.loads(path.read_text(encoding="utf-8"))
        if config.pop("chat_template", None) is not None:
            path.unlink()  # the link, not the file
            path.write_text(json.dumps(config, indent=1), encoding="utf-8")


def _converted(path: Path, cache: Path) -> Path:
    with _remembered_digests(path.parent, cache) as digest_of:
        digest = digest_of(path)
    folder = cache / "gguf" / digest[:24]
    if not folder.is_dir():
        from tuneloop.runtime.gguf import convert_gguf

        with published(folder) as partial:
            convert_gguf(path, partial)
    return folder


def _from_hub(config: ModelConfig) -> Path:
    local = models_home() / config.name
    if config.revision is None and (local / "config.json").is_file():
        return local
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    patterns = [*DIGESTED, "*.safetensors.index.json"]
    if config.trust_remote_code:
        patterns.append("*.py")
    try:
        folder: str = snapshot_download(
            config.name, revision=config.revision, allow_patterns=patterns
        )
        return Path(folder)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise TuneloopError(
            f"cannot get {config.name!r} from the hub ({type(error).__name__})",
            where="model.name",
            hint="check the id, the network and HF_TOKEN for gated models; without a hub run "
            "`python scripts/fetch_model.py`, or give a folder or GGUF file",
        ) from error


def _content_digest(path: Path, digest_of: Callable[[Path], str]) -> str:
    """Return a file's digest; JSON configs without what only says where they were saved."""
    if path.name not in ("config.json", "tokenizer_config.json", "generation_config.json"):
        return digest_of(path)
    content = json.loads(path.read_text(encoding="utf-8"))
    return digest_json({k: v for k, v in content.items() if k not in _NOT_DIGESTED_KEYS})


@contextlib.contextmanager
def _remembered_digests(folder: Path, cache: Path) -> Iterator[Callable[[Path], str]]:
    """Give a function from file to SHA-256 that remembers by size and modification time."""
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:24]
    sidecar = cache / ".digests" / f"{place}.json"
    known: dict[str, list[Any]] = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(sidecar.read_text(encoding="utf-8"))
    before = dict(known)

    def digest_of(path: Path) -> str:
        stat = path.stat()
        entry = known.get(path.name)
        if entry is None or entry[:2] != [stat.st_size, stat.st_mtime_ns]:
            entry = [stat.st_size, stat.st_mtime_ns, digest_file(path)]
            known[path.name] = entry
        return str(entry[2])

    yield digest_of
    if known != before:
        with contextlib.suppress(OSError):  # a read-only cache costs time, nothing else
            sidecar.parent.mkdir(parents=True, exist_ok=True)
            partial = sidecar.with_name(f".{uuid.uuid4().hex}")
            partial.write_text(json.dumps(known, indent=1), encoding="utf-8")
            partial.replace(sidecar)
