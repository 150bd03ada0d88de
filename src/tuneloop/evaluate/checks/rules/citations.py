"""What the answer cites exists in the context, and what it quotes stands there."""

from __future__ import annotations

import regex

from tuneloop.artefacts.golden import Check
from tuneloop.evaluate.checks.kind import Answer, CheckOutcome, Kind, NotThereError
from tuneloop.evaluate.checks.values import as_text, normalised, options, short

_CITED = regex.compile(r"\[([^\[\]\n]{1,80})\](?!\()")
_QUOTED = regex.compile(r"[\"“„«]([^\"“”„«»\n]{20,600})[\"”“»]")


def cited_ids(text: str, known: set[str]) -> tuple[set[str], set[str]]:
    """Return the ids that an answer cites: those that are there, and those that are not.

    `[a]` and `[a, b]` cite; a bracket in which nothing looks like the known ids is a remark.
    """
    found: set[str] = set()
    strange: set[str] = set()
    numeric = all(i.isdecimal() for i in known)
    for inside in _CITED.findall(text, timeout=1.0):
        names = [name.strip().lstrip("^") for name in regex.split(r"[,;]", inside)]
        hits = [name for name in names if name in known]
        found.update(hits)
        looks_alike = hits or (numeric and all(name.isdecimal() for name in names))
        strange.update(set(names) - known if looks_alike or _shaped(names, known) else ())
    return found, strange


def _shaped(names: list[str], known: set[str]) -> bool:
    """Whether names are written as the known ids are: the same letters before the digits."""
    shapes = {regex.sub(r"\d+", "0", name) for name in known}
    return any(regex.sub(r"\d+", "0", name) in shapes for name in names)


def _run(check: Check, answer: Answer) -> CheckOutcome:
    chunks = {chunk.id: chunk.text for chunk in (answer.prompt.context if answer.prompt else ())}
    if not chunks:
        return CheckOutcome(None, "the prompt has no context", "unclear")
    value = check.value or {}
    text = as_text(answer.subject)
    found, strange = cited_ids(text, set(chunks))
    if strange:
        return CheckOutcome(False, f"cites {short(sorted(strange))}, which the context lacks")
    if len(found) < value.get("min", 1):
        raise NotThereError(f"cites {len(found)} of its context")
    if lacking := sorted(set(value.get("ids", ())) - found):
        return CheckOutcome(False, f"does not cite {short(lacking)}")
    if value.get("quotes", True):
        everything = " ".join(map(normalised, chunks.values()))
        quotes = _QUOTED.findall(text, timeout=1.0)
        false = [quote for quote in quotes if normalised(quote) not in everything]
        if false:
            return CheckOutcome(False, f"quotes what the context does not say: {short(false[0])}")
    return CheckOutcome(True)


def _problem(check: Check) -> str | None:
    if check.value is None:
        return None
    known = {"min": int, "ids": list, "quotes": bool}
    return options(check.value, known)  # type: ignore[arg-type]


KIND = Kind(
    name="citations",
    version=1,
    cost="free",
    about="Every cited id is one of the prompt's context, at least `min` are cited, and quotations "
    "of twenty characters and more stand in the context.",
    value="nothing, or `min` (1), `ids` that must be cited, `quotes: false` to leave quotes out",
    run=_run,
    problem=_problem,
    uses=("path",),
    needs=("context",),
)
