"""A bundle decided again, without models, network or store: the same figures, or not."""

from __future__ import annotations

import math
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tuneloop.artefacts.decision import DecisionRecord
from tuneloop.artefacts.manifest import Manifest, contents_digest
from tuneloop.artefacts.stage import Evaluation, StageContext
from tuneloop.artefacts.store import Store
from tuneloop.config.decide import DecideConfig
from tuneloop.decide.bundle import Bundle
from tuneloop.errors import DecisionError
from tuneloop.runtime.progress import SilentProgress

DIGITS = 6
"""Figures are stated to six significant digits; two machines may differ by one in the last."""
NUMBER = re.compile(r"\d+(?:\.\d+)?(?:e[+-]?\d+)?")
SENTENCE = re.compile(r"(?:^reasons\[\d+\]|\.(?:detail|reason|summary|text))$")
NOT_FIGURES = frozenset({"lineage"})


def replay(bundle: Bundle) -> dict[str, Any]:
    """Return whether a bundle's evidence gives its verdict and figures, and what differs.

    `equal`: every text, status and figure is the same to its last digit but one. `exact`: to
    the last bit. `only_worded`: what differs are sentences alone, as between two versions.

    Raises:
        DecisionError: if the evaluation in the bundle is not the one the decision names.
    """
    said = DecisionRecord.model_validate(bundle.json_of("decision.json"))
    found = _decide_again(bundle, said)
    old, new = said.model_dump(mode="json"), found.model_dump(mode="json")
    differs = list(differences(old, new))
    return {
        "equal": not differs,
        "exact": old == new,
        "verdict": said.verdict,
        "verdict_again": found.verdict,
        "differs": differs[:50],
        "n_differs": len(differs),
        "only_worded": bool(differs) and all(_is_wording(d) for d in differs),
        "n_figures": sum(1 for _ in _leaves(old)),
        "bundle": bundle.digest,
        "signature": bundle.signature,
        "decision": bundle.head.decision,
        "versions": bundle.head.versions,
    }


def _decide_again(bundle: Bundle, said: DecisionRecord) -> DecisionRecord:
    from tuneloop.decide.stage import decide
    from tuneloop.decide.terms import Terms

    manifest = Manifest.model_validate(bundle.json_of("evaluation.manifest.json"))
    made = Manifest.model_validate(bundle.json_of("decision.manifest.json"))
    if said.lineage.get("evaluation") != manifest.digest:
        raise DecisionError("the decision rests on another evaluation", where="decision.json")
    with tempfile.TemporaryDirectory(prefix="tuneloop-replay-") as folder:
        root = Path(folder)
        files: dict[str, Path] = {}
        for number, name in enumerate(sorted(manifest.files)):  # by number: no name is a path
            files[name] = root / f"part-{number}"
            files[name].write_bytes(bundle.files.get(f"evaluation/{name}", b""))
        store = Store(str(root / "store"), work=root / "work")
        draft = manifest.model_copy(update={"files": {}, "digest": "", "parents": []})
        stored = store.commit(draft, files)
        if contents_digest(manifest.kind, stored.manifest.files) != manifest.digest:
            raise DecisionError("the evaluation is not the one of its digest", where="evaluation/")
        work = root / "decide"
        work.mkdir()
        context = StageContext(work=work, seed=made.seed, progress=SilentProgress())
        config = DecideConfig.model_validate(made.config)
        evaluation = Evaluation(stored.manifest, store)
        output = decide(evaluation, config, context, terms=Terms.of(said))
        return DecisionRecord.model_validate_json(output.files["decision.json"].read_bytes())


def differences(old: Any, new: Any, at: str = "") -> Iterator[dict[str, Any]]:
    """Yield every place where two records differ by more than rounding can."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            if at or key not in NOT_FIGURES:
                yield from differences(old.get(key), new.get(key), f"{at}.{key}".lstrip("."))
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for i, (a, b) in enumerate(zip(old, new, strict=True)):
            yield from differences(a, b, f"{at}[{i}]")
    elif not _alike(old, new):
        yield {"where": at, "stated": old, "again": new}


def _is_wording(found: dict[str, Any]) -> bool:
    """Return whether what differs is a sentence for people, with the same numbers in it."""
    old, new, where = found["stated"], found["again"], SENTENCE.search(found["where"])
    if where is None or not (isinstance(old, str) and isinstance(new, str)):
        return False
    return NUMBER.findall(old) == NUMBER.findall(new)


def _alike(old: Any, new: Any) -> bool:
    if isinstance(old, bool) or isinstance(new, bool) or old is None or new is None:
        return old is new
    if isinstance(old, int) and isinstance(new, int):
        return old == new
    if isinstance(old, int | float) and isinstance(new, int | float):
        return _near(float(old), float(new))
    if isinstance(old, str) and isinstance(new, str):
        return old == new or _texts_alike(old, new)
    return bool(old == new)


def _near(old: float, new: float) -> bool:
    """Return whether two numbers are one, but for one in the last stated digit."""
    size = max(abs(old), abs(new))
    step = 10.0 ** (math.floor(math.log10(size)) - DIGITS + 1) if size else 0.0
    return abs(old - new) <= 1.01 * step


def _texts_alike(old: str, new: str) -> bool:
    """Return whether two sentences differ by at most one in the last digit of their numbers."""
    if NUMBER.split(old) != NUMBER.split(new):
        return False
    pairs = zip(NUMBER.findall(old), NUMBER.findall(new), strict=True)
    return all(abs(float(a) - float(b)) <= 1.01 * max(_step(a), _step(b)) for a, b in pairs)


def _step(number: str) -> float:
    """Return one in the last digit of a number as it is written; 0 for a count."""
    digits, _, exponent = number.partition("e")
    decimals = len(digits.partition(".")[2])
    if not decimals and not exponent:
        return 0.0
    return 10.0 ** (int(exponent or 0) - decimals)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _leaves(inner)
    else:
        yield value


def replay_lines(report: dict[str, Any]) -> list[str]:
    """Return a replay as lines for people."""
    signed = {
        "valid": "signed, and the signature holds",
        "unsigned": "not signed: its hash alone says that nothing was changed by accident",
        "unchecked": "signed, but the key to check it with is not in the environment",
    }[report["signature"]]
    lines = [f"bundle {report['bundle'][:12]}: every part is what it must be; {signed}"]
    if report["equal"]:
        exact = "to the last bit" if report["exact"] else "to the last digit but one"
        lines.append(f"{report['verdict']} again: {report['n_figures']} values alike {exact}")
        return lines
    lines.append(
        f"DIFFERS: the bundle says {report['verdict']}, its evidence gives "
        f"{report['verdict_again']}; {report['n_differs']} values differ"
    )
    lines += [f"  {d['where']}: {d['stated']} → {d['again']}" for d in report["differs"][:10]]
    made = report["versions"].get("tuneloop")
    if report["only_worded"]:
        lines.append(
            "the verdict and every figure are the same: sentences alone are worded otherwise"
        )
    return [*lines, f"made with tuneloop {made}; another version may decide otherwise"]
