"""One bundle: everything a verdict rests on, in one file that says of each part what it must be.

A ZIP archive without compression and without times: the same parts give the same bytes.

    bundle.json              schema, versions, and each part's SHA-256 and size
    signature.json           of bundle.json, where a key was in the environment
    decision.json            the verdict and every figure
    decision.manifest.json   config, code, author, when
    policy.json, approvals.json, lineage.json
    evaluation.manifest.json, evaluation/…   answers, checks, metrics, judgments, certificate
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from tuneloop import __version__
from tuneloop.artefacts import signing
from tuneloop.artefacts.approvals import approvals
from tuneloop.artefacts.stage import Decision
from tuneloop.artefacts.store import Artefact
from tuneloop.errors import DecisionError
from tuneloop.runtime.environment import versions

MAX_BYTES = 2 * 1024**3
MAX_FILES = 1_000
HEAD, SIGNATURE = "bundle.json", "signature.json"
DATE = (1980, 1, 1, 0, 0, 0)


class Part(BaseModel):
    """What one file of a bundle must be."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str
    n_bytes: int


class Head(BaseModel):
    """`bundle.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    schema_version: Literal[1] = 1
    decision: str
    evaluation: str
    signed: bool
    versions: dict[str, str | None]
    parts: dict[str, Part]


class Bundle(BaseModel):
    """A bundle as it was read, every part seen to be what it must be."""

    model_config = ConfigDict(frozen=True, arbitrary_types_allowed=True)

    digest: str
    head: Head
    signature: signing.Checked
    files: dict[str, bytes]

    def json_of(self, name: str) -> Any:
        """Return one JSON part; None where the bundle has none of that name."""
        data = self.files.get(name)
        return None if data is None else json.loads(data)


def write_bundle(decision: Decision, lineage: Mapping[str, Any], path: Path) -> str:
    """Write a decision's bundle; return its digest.

    Args:
        decision: The decision.
        lineage: What it was made from, back to the data.
        path: Where the bundle goes.

    Raises:
        StoreError: if what it rests on was erased.
        DecisionError: if its evaluation is not in the store.
    """
    evaluation = _evaluation(decision)
    parts = {
        "decision.json": decision.path("decision.json").read_bytes(),
        "decision.manifest.json": _plain(json.loads(decision.manifest.model_dump_json())),
        "evaluation.manifest.json": _plain(json.loads(evaluation.manifest.model_dump_json())),
        "policy.json": _plain(decision.json("decision.json").get("policy")),
        "approvals.json": _plain(
            [a.model_dump(mode="json") for a in approvals(decision.store, decision.digest)]
        ),
        "lineage.json": _plain(lineage),
    }
    for name in sorted(evaluation.manifest.files):
        parts[f"evaluation/{name}"] = evaluation.path(name).read_bytes()
    pins = ("numpy", "scipy", "statsmodels", "pyarrow")
    head = Head(
        decision=decision.digest,
        evaluation=evaluation.digest,
        signed=signing.must_be_signed(),
        versions={"tuneloop": __version__, **versions(pins)},
        parts={n: Part(digest=_sha(d), n_bytes=len(d)) for n, d in sorted(parts.items())},
    )
    top = _plain(head.model_dump(mode="json"))
    first = {HEAD: top}
    if signature := signing.sign(top):
        first[SIGNATURE] = _plain(signature.model_dump(mode="json"))
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in (first | dict(sorted(parts.items()))).items():
            archive.writestr(zipfile.ZipInfo(name, DATE), data)
    return _sha(top)


def read_bundle(path: Path) -> Bundle:
    """Return a bundle, after every part was seen to be what `bundle.json` says.

    Nothing is written to disk: a name can lead nowhere.

    Raises:
        DecisionError: if it is no bundle, a part was changed, is missing or was put in, or the
            signature is not of these bytes.
    """
    files = _read(path)
    top, said = files.pop(HEAD, b""), files.pop(SIGNATURE, None)
    try:
        head = Head.model_validate_json(top)
        signature = signing.Signature.model_validate_json(said) if said else None
    except ValidationError as error:
        raise DecisionError(f"no bundle: {error.errors()[0]['msg']}", where=str(path)) from None
    checked = signing.check(top, signature)
    if checked == "invalid":
        raise DecisionError(f"the signature is not of this {HEAD}", where=str(path))
    if head.signed and signature is None:
        raise DecisionError("the signature was taken out", where=str(path))
    wrong = [n for n, part in head.parts.items() if n in files and _sha(files[n]) != part.digest]
    missing = sorted(head.parts.keys() - files.keys())
    extra = sorted(files.keys() - head.parts.keys())
    for names, what in ((wrong, "changed after it was made"), (missing, "missing"),
                        (extra, "put in after it was made")):  # fmt: skip
        if names:
            raise DecisionError(f"{', '.join(names)}: {what}", where=str(path))
    return Bundle(digest=_sha(top), head=head, signature=checked, files=files)


def _read(path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            listed = archive.infolist()
            if len(listed) > MAX_FILES or sum(i.file_size for i in listed) > MAX_BYTES:
                raise DecisionError("larger than a bundle can be", where=str(path))
            names = [info.filename for info in listed]
            odd = [n for n in names if ".." in PurePosixPath(n).parts or n.startswith("/")]
            if odd or len(set(names)) < len(names):
                raise DecisionError("no bundle: names lead out of it or twice in", where=str(path))
            return {info.filename: archive.read(info) for info in listed}
    except FileNotFoundError:
        raise DecisionError("there is no such file", where=str(path)) from None
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, EOFError) as error:
        raise DecisionError(f"no bundle: {error}", where=str(path)) from None


def _evaluation(decision: Decision) -> Artefact:
    for ref in decision.manifest.parents:
        if ref.role == "evaluation" and ref.key:
            found = decision.store.find(ref.kind, ref.key, digest=ref.digest)
            if found:
                return found
    raise DecisionError("its evaluation is not in the store", where=decision.digest[:12])


def _plain(value: Any) -> bytes:
    return (json.dumps(value, indent=1, sort_keys=True, default=str) + "\n").encode()


def _sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
