"""Which pairs `tuneloop label` is about: an evaluation's, a decision's, or anyone's judgments."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuneloop.artefacts.labels import HumanLabels, Journal, LabelPlan, find_plan, put_plan
from tuneloop.artefacts.stage import Evaluation
from tuneloop.artefacts.store import Artefact, Store
from tuneloop.errors import DataError, StoreError
from tuneloop.label.pairs import AnswerPair, evaluation_pairs, pairs_digest
from tuneloop.label.plan import make_plan

_TEXTS = {
    "champion": ("champion", "champion_answer"),
    "candidate": ("candidate", "candidate_answer"),
}


@dataclass(frozen=True)
class Subject:
    """What is labelled. `goal` is how many more labels a decision asked for, None if unknown."""

    pairs: list[AnswerPair]
    protected: tuple[str, ...] = ()
    goal: int | None = None
    rows: list[dict[str, Any]] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """By which its labels are found again."""
        return pairs_digest(self.pairs)


def open_subject(store: Store, what: str) -> Subject:
    """Return the pairs of an evaluation or a decision.

    Args:
        store: Where it is.
        what: A `decision.json`, a digest of either or its beginning, or an alias.

    Raises:
        StoreError: if nothing of that name is found.
    """
    found: Artefact | None = None
    if not Path(what).is_file():
        try:
            found = store.by_digest(what)[0]
        except StoreError:
            found = None
    if found is not None and found.kind == "evaluate":
        return Subject(evaluation_pairs(Evaluation(found.manifest, store)))
    return _of_decision(store, what)


def _of_decision(store: Store, what: str) -> Subject:
    from tuneloop.why import find_decision

    decision = find_decision(store, what)
    evaluation = next((p for p in decision.manifest.parents if p.role == "evaluation"), None)
    artefact = (
        store.find(evaluation.kind, evaluation.key or "", digest=evaluation.digest)
        if evaluation
        else None
    )
    if artefact is None:
        raise StoreError("the decision's evaluation is not in this store", where=what)
    body = decision.json("decision.json")
    protected = tuple(sorted(s["name"] for s in body["slices"] if s["protected"]))
    action = body.get("next_action") or {}
    goal = action.get("n") if action.get("kind") == "label_pairs" else None
    return Subject(evaluation_pairs(Evaluation(artefact.manifest, store)), protected, goal)


def open_judgments(source: str, texts: Path | None, comparison: str | None) -> Subject:
    """Return the pairs of a judgments file, whose answers it or another file holds.

    Raises:
        DataError: if a prompt has no texts to show.
    """
    from tuneloop.compare.prompts import collapse, slice_members
    from tuneloop.compare.reading import read_judgments, select

    if source == "-":
        raise DataError("judgments are read twice: a file is needed", where="--judgments")
    prompts = collapse(select(read_judgments(source), comparison, source=source))
    rows = [r for _, r in _objects(Path(source)) if comparison in (None, r.get("comparison"))]
    held = _texts(rows) | (_texts([r for _, r in _objects(texts)]) if texts else {})
    lacking = [prompt for prompt in prompts.ids if prompt not in held]
    if lacking:
        raise DataError(
            f"{len(lacking)} of {len(prompts.ids)} prompts have no texts to show, such as"
            f" {lacking[0]!r}",
            where=str(texts or source),
            hint="--texts FILE: JSON lines with prompt_id, prompt or messages, champion, candidate",
        )
    slices: dict[int, set[str]] = {}
    for name, members in slice_members(prompts).items():
        for i in members.tolist():
            slices.setdefault(i, set()).add(name)
    pairs = []
    for i, prompt in enumerate(prompts.ids):
        share = float(prompts.share[i]) if prompts.scored[i] else None
        messages, champion, candidate = held[prompt]
        pairs.append(
            AnswerPair(prompt, messages, champion, candidate, share, frozenset(slices.get(i, ())))
        )
    return Subject(pairs, rows=rows)


def plan_of(store: Store, subject: Subject, protected: Sequence[str], *, seed: int) -> LabelPlan:
    """Return the plan in force; the first one asked for is kept.

    Raises:
        DataError: if a slice that is to be protected is no slice of these pairs, or came late.
    """
    known = {name for pair in subject.pairs for name in pair.slices}
    if unknown := sorted(set(protected) - known):
        raise DataError(
            f"no pair is in the slice {unknown[0]!r}",
            where="--protect",
            hint=f"slices there are: {', '.join(sorted(known)) or 'none'}",
        )
    found = find_plan(store, subject.digest)
    if found is not None:
        strata = {name for key in found.strata for name in key.split(" + ")}
        if late := sorted(set(protected) - strata):
            raise DataError(
                f"labelling began without the slice {late[0]!r}: its order is fixed",
                where="--protect",
                hint="all pairs are in it all the same; label on without --protect",
            )
        return found
    wanted = sorted({*protected, *subject.protected})
    return put_plan(store, make_plan(subject.pairs, wanted, seed=seed))


def labelled_judgments(subject: Subject, labels: HumanLabels) -> Iterator[dict[str, Any]]:
    """Yield the judgments' rows with `human` and `label_probability`, for `tuneloop compare`."""
    of = {one.prompt_id: one for one in labels.labels}
    for row in subject.rows:
        found = of.get(str(row["prompt_id"]))
        human = {"human": found.human, "label_probability": found.probability} if found else {}
        plain = {k: v for k, v in row.items() if k not in ("human", "label_probability")}
        yield plain | human


def labelled_pairs(subject: Subject, labels: HumanLabels) -> Iterator[dict[str, Any]]:
    """Yield the labelled pairs as `evaluate.judge.certificate.labelled` reads them."""
    by_id = {pair.id: pair for pair in subject.pairs}
    for one in labels.labels:
        pair = by_id[one.prompt_id]
        row: dict[str, Any] = {
            "id": pair.id, "messages": list(pair.messages), "champion": pair.champion,
            "candidate": pair.candidate, "human": one.human, "slices": sorted(pair.slices),
        }  # fmt: skip
        more = {"reference": pair.reference, "family": pair.family}
        yield row | {k: v for k, v in more.items() if v is not None}


def agreement_of(store: Store, plan: LabelPlan) -> dict[str, Any] | None:
    """Return how far people agree, over all pairs of persons on one item; None where none met."""
    import numpy as np

    from tuneloop.artefacts.labels import VALUES
    from tuneloop.statistics.agreement import agreement, verdict_classes

    one, other, items = [], [], []
    for number, (_, people) in enumerate(sorted(Journal(store, plan.pairs).in_force().items())):
        said = [VALUES[s.word] for _, s in sorted(people.items()) if s.word in VALUES]
        for i, a in enumerate(said):
            for b in said[i + 1 :]:
                # Both ways: nobody is the first, and kappa then does not depend on names.
                one += [a, b]
                other += [b, a]
                items += [number, number]
    if not items:
        return None
    codes = np.unique(np.array(items), return_inverse=True)[1]
    classes = [verdict_classes(np.array(said, dtype=np.float64)) for said in (one, other)]
    found = agreement(classes[0], classes[1], codes)
    return {
        "n_meetings": len(items) // 2, "accuracy": found.accuracy, "kappa": found.kappa,
        "kappa_low": found.kappa_low, "kappa_high": found.kappa_high,
    }  # fmt: skip


def _texts(rows: Sequence[dict[str, Any]]) -> dict[str, tuple[list[dict[str, Any]], str, str]]:
    found = {}
    for row in rows:
        messages = row.get("messages")
        if not isinstance(messages, list):
            prompt = row.get("prompt")
            messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else None
        sides = [next((row[n] for n in names if isinstance(row.get(n), str)), None)
                 for names in _TEXTS.values()]  # fmt: skip
        if messages is not None and sides[0] is not None and sides[1] is not None:
            found[str(row.get("prompt_id"))] = (messages, sides[0], sides[1])
    return found


def _objects(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    import gzip

    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        opener: Any = gzip.open if zipped else open
        with opener(path, "rt", encoding="utf-8-sig", newline="\n") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    row = json.loads(line)
                    if not isinstance(row, dict) or "prompt_id" not in row:
                        raise DataError("a row needs prompt_id", where=f"{path}:{number}")
                    yield number, row
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"it cannot be read: {error}", where=str(path)) from error
