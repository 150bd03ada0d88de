"""A trained model as a safetensors folder, a GGUF file or a hub folder."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuneloop.artefacts.store import Store
from tuneloop.errors import TuneloopError
from tuneloop.publish.trained import Trained, find_base, find_trained, run_names
from tuneloop.publish.write import find_converter, need_free, write_folder, write_gguf, write_merged
from tuneloop.runtime.weights import ResolvedModel

FORMATS = ("safetensors", "gguf", "hub")
CARD = "README.md"


@dataclass(frozen=True)
class ExportOptions:
    """What to write and where.

    `format` is one of `FORMATS`, `out` a folder (of gguf a file) that is not there yet, `merged`
    asks for base and adapter in one, `outtype` is llama.cpp's, `push` a repository of the hub.
    """

    format: str
    out: Path
    base: str | None = None
    merged: bool = False
    licence: str | None = None
    outtype: str | None = None
    push: str | None = None

    def check(self) -> None:
        """Raise TuneloopError for what the format would ignore, before anything is written."""
        if self.format not in FORMATS:
            raise TuneloopError(
                f"no format {self.format!r} of models", where="--format", hint=", ".join(FORMATS)
            )
        needs = {"licence": "hub", "push": "hub", "outtype": "gguf"}
        ignored = [
            f"--{n}" for n, only in needs.items() if getattr(self, n) and only != self.format
        ]
        if ignored:
            raise TuneloopError(
                f"--format {self.format} would ignore {', '.join(ignored)}", where="export"
            )
        need_free(self.out)
        if self.format == "gguf":
            find_converter()  # before the merge, which takes minutes


def export_trained(store: Store, reference: str, options: ExportOptions) -> dict[str, Any]:
    """Write a trained model; return what was written.

    Args:
        store: Where it is, and what is known of it.
        reference: A digest, a folder, or `champion`.
        options: What to write.

    Raises:
        TuneloopError: for options that do not go together, an adapter that does not fit its
            base, or a converter that is not there.
    """
    options.check()
    trained, out = find_trained(store, reference), options.out
    base = find_base(trained, store, options.base) if trained.is_adapter else None
    report: dict[str, Any] = {"format": options.format, "out": str(out), "what": "the model"}
    if base:
        report |= {"base": base.name, "what": "the adapter"}
    if base and (options.merged or options.format == "gguf"):
        report["what"] = "the merged model"
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=".merging-") as scratch:
            folder = Path(scratch) / "model"
            report["merge"] = write_merged(trained, base, folder)
            whole = replace(trained, folder=folder, is_adapter=False)
            return report | _write(store, whole, base, options)
    return report | _write(store, trained, base, options)


def merge_lines(report: dict[str, Any]) -> list[str]:
    """Return what a merge came to as lines for people."""
    return [f"{report['out']}: merged into {report['base']} in {report['dtype']}", _checked(report)]


def export_lines(report: dict[str, Any]) -> list[str]:
    """Return what an export came to as lines for people."""
    lines = [f"{report['out']}: {report['what']} as {report['format']}"]
    if report.get("merge"):
        lines.append(_checked(report["merge"]))
    if report.get("licence_unknown"):
        lines.append("the base's licence is not known: name it with --licence before you share it")
    if report.get("pushed"):
        lines.append(f"pushed to {report['pushed']}, private")
    return lines


def _checked(check: dict[str, Any]) -> str:
    kept = f", {check['kept']:.0%} of it kept" if check["kept"] is not None else ""
    return (
        f"checked: next-token distributions are {check['distance']:.4f} from the unmerged model's "
        f"({check['tolerance']:g} allowed); the adapter moves them by {check['effect']:.4f}{kept}"
    )


def _write(
    store: Store, trained: Trained, base: ResolvedModel | None, options: ExportOptions
) -> dict[str, Any]:
    if options.format == "gguf":
        write_gguf(trained.folder, options.out, outtype=options.outtype or "auto")
        return {}
    write_folder(trained, base.name if base else None, options.out)
    if options.format != "hub":
        return {}
    done: dict[str, Any] = {"licence_unknown": _add_card(store, trained, base, options)}
    return done | ({"pushed": _push(options.out, options.push)} if options.push else {})


def _add_card(
    store: Store, trained: Trained, base: ResolvedModel | None, options: ExportOptions
) -> bool:
    """Write the model card; return whether the licence is unknown."""
    from tuneloop.publish.card import model_card
    from tuneloop.publish.facts import facts_of, licence_of

    names = [base.name if base else options.base, *run_names(store, trained), "unknown"]
    licence = options.licence or (licence_of(base.folder) if base else None)
    text = model_card(
        facts_of(store, trained.artefact) if trained.artefact else {},
        base_name=next(name for name in names if name),
        licence=licence,
        is_adapter=trained.is_adapter,
        title=(options.push or options.out.name).rpartition("/")[2],
    )
    (options.out / CARD).write_text(text, encoding="utf-8")
    return licence is None


def _push(folder: Path, repository: str) -> str:
    """Upload a folder, private; the hub's client reads the token from the environment."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    api = HfApi()
    try:
        api.create_repo(repository, private=True, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=str(folder))
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise TuneloopError(
            f"the hub did not take it ({type(error).__name__})",
            where=f"--push {repository}",
            hint=f"check the name, the network and HF_TOKEN; the folder is written: {folder}",
        ) from error
    return repository
