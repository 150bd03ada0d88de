"""Verbs that follow a verdict: approve, promote, bundle, replay, why."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from tuneloop.cli_options import JsonOption, StoreOption

DecisionArgument = Annotated[
    str,
    typer.Argument(help="A decision.json, a digest or its beginning, or an alias tenant/task/env."),
]
PersonOption = Annotated[str, typer.Option("--as", help="Who you are; kept.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why; kept.")]
BundleArgument = Annotated[Path, typer.Argument(help="A file that `tuneloop bundle` wrote.")]
OutOption = Annotated[Path | None, typer.Option("--out", help="Where; default beside you.")]
RejectOption = Annotated[bool, typer.Option("--reject", help="Say no instead.")]
ErasedOption = Annotated[
    str | None,
    typer.Option("--store", help="Also ask this store whether what it holds was erased."),
]
SignedOption = Annotated[
    bool, typer.Option("--require-signature", help="Fail unless a signature was checked.")
]


def approve(
    decision: DecisionArgument,
    person: PersonOption,
    reason: ReasonOption,
    reject: RejectOption = False,
    store: StoreOption = ".tuneloop",
    json: JsonOption = False,
) -> None:
    """Record a person's yes or no; the alias moves as soon as the policy has all it asks for."""
    from tuneloop.artefacts.approvals import record
    from tuneloop.artefacts.store import Store
    from tuneloop.errors import DecisionError
    from tuneloop.present import show
    from tuneloop.why import find_decision

    opened = Store(store)
    found = find_decision(opened, decision)
    body = found.json("decision.json")
    if body["verdict"] != "PROMOTE" and not reject:
        raise DecisionError(
            f"the verdict is {body['verdict']}: nobody can approve what is not proven",
            where=found.digest[:12],
            hint=f"tuneloop why {found.digest[:12]}",
        )
    said = record(opened, found.digest, "reject" if reject else "approve", person=person,
                  reason=reason)  # fmt: skip
    moved = _move(found, said.person) if not reject else {"moved": None, "missing": []}
    show({"said": said.model_dump(mode="json"), **moved}, _moved_lines, as_json=json)


def promote(
    decision: DecisionArgument,
    person: PersonOption,
    store: StoreOption = ".tuneloop",
    json: JsonOption = False,
) -> None:
    """Move the alias to a decision's candidate, where its policy allows it now."""
    from tuneloop.artefacts.store import Store
    from tuneloop.errors import DecisionError
    from tuneloop.present import show
    from tuneloop.why import find_decision

    moved = _move(find_decision(Store(store), decision), person)
    if moved["missing"]:
        raise DecisionError("; ".join(moved["missing"]), where=decision)
    show(moved, _moved_lines, as_json=json)


def bundle(
    decision: DecisionArgument,
    out: OutOption = None,
    store: StoreOption = ".tuneloop",
    json: JsonOption = False,
) -> None:
    """Write all that a verdict rests on into one file, hashed, and signed where a key is."""
    from tuneloop.artefacts.store import Store
    from tuneloop.decide.bundle import write_bundle
    from tuneloop.present import show
    from tuneloop.why import find_decision, lineage_of

    found = find_decision(Store(store), decision)
    path = out or Path(f"decision-{found.digest[:12]}.zip")
    digest = write_bundle(found, lineage_of(found.store, found), path)
    made = {"bundle": digest, "file": str(path), "n_bytes": path.stat().st_size}
    show(made, lambda m: [f"{m['file']}: bundle {m['bundle']}"], as_json=json)


def replay(
    bundle: BundleArgument,
    store: ErasedOption = None,
    require_signature: SignedOption = False,
    json: JsonOption = False,
) -> None:
    """Decide a bundle again, without models, network or store; exit with 1 where it differs."""
    from tuneloop.artefacts.store import Store
    from tuneloop.decide.bundle import read_bundle
    from tuneloop.decide.replay import replay as decide_again
    from tuneloop.decide.replay import replay_lines
    from tuneloop.errors import DecisionError
    from tuneloop.present import show
    from tuneloop.why import refuse_erased

    opened = read_bundle(bundle)
    if require_signature and opened.signature != "valid":
        raise DecisionError(f"the bundle is {opened.signature}", where=str(bundle))
    if store is not None:
        refuse_erased(Store(store), opened)
    report = decide_again(opened)
    show(report, replay_lines, as_json=json)
    if not report["equal"]:
        raise typer.Exit(1)


def why(
    decision: Annotated[
        str, typer.Argument(help="A bundle, a decision.json, a digest, or tenant/task/env.")
    ],
    store: StoreOption = ".tuneloop",
    json: JsonOption = False,
) -> None:
    """Explain a verdict in words: what binds, what it takes, who approved, what it rests on."""
    from tuneloop.artefacts.store import Store
    from tuneloop.present import show
    from tuneloop.why import why_lines, why_report

    show(why_report(Store(store), decision), why_lines, as_json=json)


def _move(decision: Any, actor: str) -> dict[str, Any]:
    """Move a decision's alias if nothing is missing; say what is, if anything."""
    from tuneloop.artefacts.aliases import AliasName
    from tuneloop.artefacts.systems import SystemSpec
    from tuneloop.decide.permission import permission_now
    from tuneloop.decide.registry import promote
    from tuneloop.errors import DecisionError

    allowed = permission_now(decision)
    body = decision.json("decision.json")
    if allowed.missing:
        missing = [*allowed.missing, *(f"does not count: {text}" for text in allowed.ignored)]
        return {"moved": None, "missing": missing}
    if not body.get("scope"):
        raise DecisionError("the decision does not say whose alias it is", where=decision.digest)
    moved = promote(
        decision.store, AliasName(**body["scope"]), decision=decision,
        candidate=SystemSpec.model_validate(body["systems"]["candidate"]["spec"]),
        actor=", ".join(allowed.counted) or actor,
    )  # fmt: skip
    return {"moved": moved.model_dump(mode="json") if moved else None, "missing": []}


def _moved_lines(report: dict[str, Any]) -> list[str]:
    lines = []
    if "said" in report:
        said = report["said"]
        lines.append(f"recorded: {said['person']} says {said['word']}: {said['reason']}")
    moved = report["moved"]
    if moved:
        lines.append(f"the champion is {moved['system']['name']} ({moved['digest'][:12]}), "
                     f"generation {moved['number']}")  # fmt: skip
    return lines + [f"missing: {text}" for text in report["missing"]]
