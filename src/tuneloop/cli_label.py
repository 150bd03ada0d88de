"""The verb `label`: people say which of two answers is better, and know of neither whose it is."""

from __future__ import annotations

import json as jsonlib
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneloop.cli_options import JsonOption, StoreOption
from tuneloop.errors import TuneloopError

if TYPE_CHECKING:
    from tuneloop.artefacts.labels import LabelPlan
    from tuneloop.artefacts.store import Store
    from tuneloop.label.session import Terminal
    from tuneloop.labelling import Subject

N_PAIRS = 40


WhatArgument = Annotated[
    str | None, typer.Argument(help="An evaluation, a decision.json, a digest, an alias.")
]
JudgmentsOption = Annotated[
    str | None, typer.Option("--judgments", help="Instead, judgments as `compare` reads them.")
]
TextsOption = Annotated[
    Path | None, typer.Option("--texts", help="Their prompts and answers, if not in the rows.")
]
ComparisonOption = Annotated[
    str | None, typer.Option("--comparison", help="Which one, where the file holds several.")
]
PersonOption = Annotated[str | None, typer.Option("--as", help="Who labels; kept.")]
NumberOption = Annotated[
    int | None, typer.Option("--n", min=1, help="How many pairs; default what is needed, or 40.")
]
SliceOption = Annotated[
    str | None, typer.Option("--slice", help="Only pairs of this protected slice.")
]
ProtectOption = Annotated[
    list[str] | None, typer.Option("--protect", help="A slice that must be labelled, too.")
]
SecondOption = Annotated[
    bool, typer.Option("--second-opinion", help="Pairs that others labelled, not new ones.")
]
ExportOption = Annotated[
    Path | None, typer.Option("--export", help="Write pairs: .jsonl, .csv, .json (tasks).")
]
ImportOption = Annotated[
    Path | None, typer.Option("--import", help="Read labels from such a file.")
]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Write the judgments with their human labels.")
]
LabelledOption = Annotated[
    Path | None, typer.Option("--labelled", help="Write labelled pairs for the certificate.")
]
SeedOption = Annotated[int, typer.Option(help="Of the order, where none is kept yet.")]


def label(  # noqa: PLR0913 - each is an option of the command
    what: WhatArgument = None,
    judgments: JudgmentsOption = None,
    texts: TextsOption = None,
    comparison: ComparisonOption = None,
    person: PersonOption = None,
    n: NumberOption = None,
    slice_: SliceOption = None,
    protect: ProtectOption = None,
    second: SecondOption = False,
    export: ExportOption = None,
    import_: ImportOption = None,
    out: OutOption = None,
    labelled: LabelledOption = None,
    seed: SeedOption = 0,
    store: StoreOption = ".tuneloop",
    json: JsonOption = False,
) -> None:
    """Ask people which answer is better, the pairs first whose labels narrow the interval most.

    Without --export, --import, --out, --labelled or --json, asks in this terminal.
    """
    from tuneloop.artefacts.store import Store
    from tuneloop.labelling import open_judgments, open_subject, plan_of
    from tuneloop.present import show

    if (what is None) == (judgments is None):
        raise TuneloopError("name an evaluation or a decision, or give --judgments", where="label")
    opened = Store(store)
    subject = (
        open_judgments(judgments, texts, comparison)
        if judgments is not None
        else open_subject(opened, what or "")
    )
    plan = plan_of(opened, subject, protect or [], seed=seed)
    wanted = _Wanted(n or subject.goal or N_PAIRS, slice_, second, person)
    done: dict[str, Any] = {}
    if import_:
        done |= _import(import_, plan, opened, person)
    if export:
        done |= _export(export, subject, plan, opened, wanted)
    asks = not (export or import_ or out or labelled or json)
    if asks:
        done |= _ask(subject, plan, opened, wanted)
    done |= _state(subject, plan, opened)
    done |= _write(subject, plan, opened, out, labelled)
    show(done, _lines, as_json=json)


class _Wanted:
    """Which pairs are asked for, and by whom."""

    def __init__(self, n: int, within: str | None, second: bool, person: str | None) -> None:
        self.n, self.within, self.second, self.person = n, within, second, person

    def queue(self, plan: LabelPlan, store: Store) -> list[str]:
        """Return the pairs that are next: new ones, or those that others labelled."""
        from tuneloop.artefacts.approvals import person_of
        from tuneloop.artefacts.labels import VALUES, Journal
        from tuneloop.label.plan import still_to_label

        known = {name for key in plan.strata for name in key.split(" + ")}
        if self.within is not None and self.within not in known:
            raise TuneloopError(
                f"{self.within!r} was not protected when labelling began",
                where="--slice",
                hint=f"strata there are: {', '.join(sorted(known))}",
            )
        said = Journal(store, plan.pairs).in_force()
        who = person_of(self.person) if self.person else ""
        mine = {item for item, people in said.items() if who in people}
        valued = {i for i, p in said.items() if any(s.word in VALUES for s in p.values())}
        if not self.second:
            return still_to_label(plan, mine | valued, self.within)[: self.n]
        left = still_to_label(plan, mine, self.within)
        return [item for item in left if item in valued][: self.n]


def _ask(subject: Subject, plan: LabelPlan, store: Store, wanted: _Wanted) -> dict[str, Any]:
    from tuneloop.artefacts.approvals import person_of
    from tuneloop.artefacts.labels import Journal
    from tuneloop.label.session import label_pairs

    if not wanted.person:
        raise TuneloopError("who labels? Nobody's label counts twice", where="--as")
    tally = label_pairs(
        subject.pairs, wanted.queue(plan, store), plan, Journal(store, plan.pairs),
        person=person_of(wanted.person), terminal=_terminal(),
    )  # fmt: skip
    return {"session": vars(tally)}


def _terminal() -> Terminal:
    from tuneloop.label.session import Terminal

    def ask(text: str) -> str | None:
        if sys.stdin.isatty():
            typer.echo(f"{text} ", nl=False)
            key = typer.getchar()
            typer.echo(key if key.isprintable() else "")
            return None if key in ("\x04", "\x03") else key
        line = sys.stdin.readline()
        return line.strip() if line else None

    return Terminal(ask, typer.echo)


def _import(path: Path, plan: LabelPlan, store: Store, person: str | None) -> dict[str, Any]:
    from tuneloop.artefacts.labels import Journal
    from tuneloop.label.exchange import read_labels, write_letters

    found = read_labels(path, plan, Journal(store, plan.pairs), person=person)
    done: dict[str, Any] = {
        "read": found.read, "accepted": found.accepted, "rejected": found.rejected,
        "duplicates": found.duplicates, "empty": found.empty,
    }  # fmt: skip
    if found.letters:
        dead = path.with_name(f"{path.name}.dead_letter.jsonl")
        write_letters(dead, found.letters)
        done["dead_letter"] = str(dead)
    return {"import": done}


def _export(
    path: Path, subject: Subject, plan: LabelPlan, store: Store, wanted: _Wanted
) -> dict[str, Any]:
    from tuneloop.label.exchange import write_pairs

    items = wanted.queue(plan, store)
    write_pairs(path, subject.pairs, items, plan)
    return {"export": {"file": str(path), "n": len(items)}}


def _state(subject: Subject, plan: LabelPlan, store: Store) -> dict[str, Any]:
    from tuneloop.label.plan import in_force
    from tuneloop.labelling import agreement_of

    held = in_force(store, plan)
    return {
        "pairs": plan.pairs,
        "n_pairs": held.n_pairs,
        "n_labelled": len(held.labels),
        "n_people": held.n_people,
        "n_skipped": held.n_skipped,
        "uncovered": held.uncovered,
        "agreement_of_people": agreement_of(store, plan),
        "goal": subject.goal,
    }


def _write(
    subject: Subject, plan: LabelPlan, store: Store, out: Path | None, labelled: Path | None
) -> dict[str, Any]:
    from tuneloop.label.plan import in_force
    from tuneloop.labelling import labelled_judgments, labelled_pairs

    if out and not subject.rows:
        raise TuneloopError("only judgments of a file can be written again", where="--out")
    held, done = in_force(store, plan), {}
    for path, rows in ((out, labelled_judgments), (labelled, labelled_pairs)):
        if path:
            _write_lines(path, rows(subject, held))
            done[rows.__name__] = str(path)
    return done


def _write_lines(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    text = "".join(jsonlib.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_text(text, "utf-8")


def _lines(done: dict[str, Any]) -> list[str]:
    lines = []
    if session := done.get("session"):
        lines.append(
            f"labelled {session['labelled']}, skipped {session['skipped']}, undone"
            f" {session['undone']}; {session['left']} of this batch are left"
        )
    if taken := done.get("import"):
        lines.append(
            f"read {taken['read']}, accepted {taken['accepted']}, rejected {taken['rejected']},"
            f" duplicates {taken['duplicates']}, without a label {taken['empty']}"
        )
        lines += [f"rejected rows: {taken['dead_letter']}"] if "dead_letter" in taken else []
    if export := done.get("export"):
        lines.append(f"{export['n']} pairs: {export['file']}")
    lines.append(
        f"{done['n_labelled']} of {done['n_pairs']} pairs have a label, from {done['n_people']}"
        f" people; {done['n_skipped']} were seen and have none"
    )
    if done["uncovered"]:
        lines.append(f"too few labels to speak for all pairs: {', '.join(done['uncovered'])}")
    if met := done["agreement_of_people"]:
        kappa = "unknown" if met["kappa"] is None else f"{met['kappa']:.2f}"
        lines.append(
            f"people agree in {100 * met['accuracy']:.0f} % of {met['n_meetings']} meetings,"
            f" kappa {kappa}"
        )
    for name in ("labelled_judgments", "labelled_pairs"):
        lines += [f"{name.replace('_', ' ')}: {done[name]}"] if name in done else []
    return [*lines, "the next `tuneloop decide` counts them"]
