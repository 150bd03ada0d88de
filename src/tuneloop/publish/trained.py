"""Finding a trained adapter or model, and the base it belongs to."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from tuneloop.artefacts.aliases import current, list_aliases
from tuneloop.artefacts.runs import list_runs
from tuneloop.artefacts.store import Artefact, Store
from tuneloop.config.schema import ModelConfig
from tuneloop.errors import StoreError, TuneloopError
from tuneloop.runtime.weights import ResolvedModel, resolve_model

KINDS = ("sft", "dpo", "kto")
_DIGEST = re.compile(r"^sha256:([0-9a-f]{64})$")
ADAPTER_CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@dataclass(frozen=True)
class Trained:
    """What training left, as a folder: an adapter, or a whole model where all was trained.

    `artefact` is None for a folder that no store of ours holds.
    """

    folder: Path
    is_adapter: bool
    artefact: Artefact | None = None

    @property
    def base_digest(self) -> str | None:
        """Digest of the base it was trained on, where that is known."""
        if self.artefact is not None:
            for parent in self.artefact.manifest.parents:
                if parent.role == "base":
                    return parent.digest
        match = _DIGEST.match(self.base_reference or "")
        return match[1] if match else None

    @property
    def base_reference(self) -> str | None:
        """What an adapter's own config calls its base."""
        if not self.is_adapter:
            return None
        config = json.loads((self.folder / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        name = config.get("base_model_name_or_path")
        return str(name) if name else None


def find_trained(store: Store, reference: str) -> Trained:
    """Return what a reference means: a folder, a digest or its beginning, or `champion`.

    Raises:
        StoreError: if there is none, or it is something else.
    """
    path = Path(reference).expanduser()
    if path.is_dir():
        return _in_folder(path, None)
    digest = _champion(store) if reference == "champion" else reference
    found = [a for a in store.by_digest(digest) if a.kind in KINDS]
    if not found:
        raise StoreError(
            f"{reference!r} is a {store.by_digest(digest)[0].kind}, not what training left",
            where=store.root,
            hint="`tuneloop status` shows the digests of the training stages",
        )
    artefact = max(found, key=lambda a: a.manifest.started_at)
    return _in_folder(artefact.folder(), artefact)


def find_base(trained: Trained, store: Store, name: str | None) -> ResolvedModel:
    """Return the base on this machine, the very one it was trained on.

    Args:
        trained: The adapter.
        store: Whose runs say what the base was called.
        name: A folder, a GGUF file or a hub id; None looks for the name in runs and config.

    Raises:
        TuneloopError: if it is not to be found, or another one has that name now.
    """
    wanted = trained.base_digest
    reference = trained.base_reference
    named = reference if reference and not _DIGEST.match(reference) else None
    names = [name] if name else [n for n in (*run_names(store, trained), named) if n]
    if not names:
        raise TuneloopError(
            "nothing says what the base model is called",
            where=str(trained.folder),
            hint="name it with --base: a folder, a GGUF file or a hub id"
            + (f" (its digest begins {wanted[:12]})" if wanted else ""),
        )
    base = resolve_model(ModelConfig(name=names[0]))
    if wanted and base.digest != wanted:
        raise TuneloopError(
            f"{names[0]} is another model (digest {base.digest[:12]}) than the one this was "
            f"trained on ({wanted[:12]})",
            where="--base",
            hint="name the very base: same weights, tokenizer and chat template",
        )
    return base


def _in_folder(folder: Path, artefact: Artefact | None) -> Trained:
    for place in (folder, folder / "adapter"):
        if (place / ADAPTER_CONFIG).is_file():
            if not (place / WEIGHTS).is_file():
                raise StoreError(
                    f"no {WEIGHTS} beside {ADAPTER_CONFIG}",
                    where=str(place),
                    hint="pickled weights (.bin) are never loaded: save them as safetensors",
                )
            return Trained(place, is_adapter=True, artefact=artefact)
    for place in (folder, folder / "model"):
        if (place / "config.json").is_file():
            return Trained(place, is_adapter=False, artefact=artefact)
    raise StoreError(f"no {ADAPTER_CONFIG} and no config.json in it", where=str(folder))


def _champion(store: Store) -> str:
    """Return the digest of the adapter of the store's one champion."""
    aliases = list_aliases(store)
    systems = [g.system for alias in aliases if (g := current(store, alias))]
    adapters = {system.adapter for system in systems}
    if len(adapters) != 1 or None in adapters:
        raise StoreError(
            f"the store has {len(systems)} champions, with {len(adapters - {None})} adapters",
            where=store.root,
            hint="give the adapter's digest: `tuneloop registry list` shows them",
        )
    return str(adapters.pop())


def run_names(store: Store, trained: Trained) -> list[str]:
    """Return what runs that came to this artefact called the base, the newest first."""
    if trained.artefact is None:
        return []
    names = []
    for run in reversed(list_runs(store)):
        digests = {row.get("digest") for row in run.stages.values()}
        if trained.artefact.digest in digests and "model" in run.config:
            names.append(str(run.config["model"]["name"]))
    return names
