"""The verb `golden`: options become prompts and decisions of people."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tuneloop.errors import DataError, TuneloopError

if TYPE_CHECKING:
    from tuneloop.artefacts.golden import GoldenPrompt
    from tuneloop.golden_set.file import GoldenFile

golden_app = typer.Typer(
    no_args_is_help=True, help="Keep the golden set: what a candidate must be good at."
)

FileArgument = Annotated[Path, typer.Argument(help="The golden JSON-lines file.")]
ByOption = Annotated[str | None, typer.Option("--by", help="Who; default the user name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
StoreOption = Annotated[str, typer.Option("--store", envvar="TUNELOOP_STORE", help="Store.")]
SetOption = Annotated[
    str | None, typer.Option("--set", help="Digest of a curated set; default the newest.")
]


@golden_app.command()
def add(  # noqa: PLR0913 - each is an option of the command
    file: FileArgument,
    *,
    from_: Annotated[
        Path | None, typer.Option("--from", help="Prompts: a JSON object, a list, or lines.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="The user's message.")] = None,
    system: Annotated[str | None, typer.Option(help="The system prompt.")] = None,
    reference: Annotated[str | None, typer.Option(help="A good answer.")] = None,
    slice_: Annotated[
        list[str] | None, typer.Option("--slice", help="A slice it counts in; repeat for more.")
    ] = None,
    id_: Annotated[str | None, typer.Option("--id", help="Its id; default from the text.")] = None,
    owner: Annotated[str | None, typer.Option(help="Who answers for it.")] = None,
    candidate: Annotated[
        bool, typer.Option("--candidate", help="Let it wait for `golden review`.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Replace the prompt of that id, as its next version.")
    ] = False,
    new_slice: Annotated[
        bool, typer.Option("--new-slice", help="Allow slices no other prompt has.")
    ] = False,
    by: ByOption = None,
    json: JsonOption = False,
) -> None:
    """Add prompts; none that nearly repeats another, or whose checks do not compile."""
    from tuneloop.artefacts.golden import GoldenPrompt
    from tuneloop.golden_set.edit import add as add_prompts
    from tuneloop.golden_set.edit import derive_id
    from tuneloop.golden_set.file import GoldenFile, read_prompts
    from tuneloop.present import show

    if (from_ is None) == (prompt is None):
        raise TuneloopError("give --prompt or --from", where="golden add")
    if from_ is not None:
        prompts = read_prompts(from_)
    else:
        messages = [{"role": "system", "content": system}] if system else []
        messages.append({"role": "user", "content": prompt or ""})
        prompts = [
            GoldenPrompt(
                id=id_ or derive_id(messages), messages=messages, reference=reference,
                slices=slice_ or [],
            )
        ]  # fmt: skip
    change: dict[str, Any] = {"owner": owner} if owner else {}
    change |= {"status": "candidate"} if candidate else {}
    prompts = [prompt.model_copy(update=change) for prompt in prompts]
    report = add_prompts(
        GoldenFile(file), prompts, by=by or getpass.getuser(), update=update, new_slices=new_slice
    )
    show(report, _lines, as_json=json)


@golden_app.command()
def propose(  # noqa: PLR0913 - each is an option of the command
    file: FileArgument,
    *,
    n: Annotated[int, typer.Option("-n", min=1, help="At most this many.")] = 20,
    set_: SetOption = None,
    store: StoreOption = ".tuneloop",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show them.")] = False,
    by: ByOption = None,
    json: JsonOption = False,
) -> None:
    """Append candidates from confirmed feedback; none counts before `golden review`."""
    from tuneloop.artefacts.store import Store
    from tuneloop.golden_set.edit import add as add_prompts
    from tuneloop.golden_set.file import GoldenFile
    from tuneloop.golden_set.propose import propose as choose
    from tuneloop.golden_set.traffic import find_curated, read_rows
    from tuneloop.present import show

    golden = GoldenFile(file)
    curated = find_curated(Store(store), set_)
    found = choose(read_rows(curated), golden.prompts, n=n)
    if found and not dry_run:
        prompts = [proposal.prompt for proposal in found]
        add_prompts(golden, prompts, by=by or getpass.getuser(), new_slices=True)
    report = {"set": curated.digest, "candidates": [proposal.why for proposal in found]}
    show(report, _proposal_lines, as_json=json)


@golden_app.command()
def review(
    file: FileArgument,
    *,
    accept: Annotated[list[str] | None, typer.Option(help="Accept this candidate.")] = None,
    reject: Annotated[list[str] | None, typer.Option(help="Reject this candidate.")] = None,
    why: Annotated[str, typer.Option(help="Why they are rejected.")] = "",
    by: ByOption = None,
    json: JsonOption = False,
) -> None:
    """Accept or reject candidates; in a terminal, one after another."""
    from tuneloop.golden_set.edit import review as decide
    from tuneloop.golden_set.file import GoldenFile
    from tuneloop.present import show

    who = by or getpass.getuser()
    golden = GoldenFile(file)
    if accept or reject:
        report = decide(golden, accept=accept or [], reject=reject or [], by=who, why=why)
    else:
        report = _walk(golden, who)
    show(report, _lines, as_json=json)


@golden_app.command()
def retire(
    file: FileArgument,
    ids: Annotated[list[str], typer.Argument(help="Ids of prompts.")],
    *,
    why: Annotated[str, typer.Option(help="Why; kept with the prompt.")],
    by: ByOption = None,
    json: JsonOption = False,
) -> None:
    """Take prompts out of force; their lines stay, with the reason."""
    from tuneloop.golden_set.edit import retire as retire_prompts
    from tuneloop.golden_set.file import GoldenFile
    from tuneloop.present import show

    report = retire_prompts(GoldenFile(file), ids, by=by or getpass.getuser(), why=why)
    show(report, _lines, as_json=json)


@golden_app.command()
def diff(
    old: Annotated[str, typer.Argument(help="A golden file, or a digest in the store.")],
    new: Annotated[str, typer.Argument(help="The other one.")],
    *,
    store: StoreOption = ".tuneloop",
    json: JsonOption = False,
) -> None:
    """Show what was added, changed and retired between two versions."""
    from tuneloop.artefacts.store import Store
    from tuneloop.golden_set.edit import diff as compare
    from tuneloop.golden_set.file import open_version
    from tuneloop.present import show

    versions = [open_version(what, Store(store)) for what in (old, new)]
    show(compare(*versions), _diff_lines, as_json=json)


@golden_app.command()
def status(
    file: FileArgument,
    *,
    set_: SetOption = None,
    store: StoreOption = ".tuneloop",
    json: JsonOption = False,
) -> None:
    """Show what the set holds and how it covers the traffic of a curated set."""
    from tuneloop.artefacts.store import Store
    from tuneloop.config.golden import EncoderConfig
    from tuneloop.golden_set.coverage import coverage, summarise, summary_lines
    from tuneloop.golden_set.file import GoldenFile, golden_digest
    from tuneloop.golden_set.traffic import find_curated, read_rows
    from tuneloop.present import show
    from tuneloop.runtime.encoder import find_encoder

    if not file.is_file():
        raise DataError("there is no such file", where=str(file))
    place, prompts, digest = Store(store), GoldenFile(file).prompts, golden_digest(file)
    report: dict[str, Any] = {"digest": digest, "in_store": any(
        path.startswith(f"digests/{digest}/golden/") for path in place.list_paths("digests")
    )}  # fmt: skip
    report |= summarise(prompts)
    if set_ is not None or any(place.list_artefacts("curate")):
        curated = find_curated(place, set_)
        encoder = find_encoder(EncoderConfig(), cache=place.work / "encoder")
        report["set"] = curated.digest
        report["coverage"] = coverage(read_rows(curated), prompts, encoder)
    show(report, summary_lines, as_json=json)


@golden_app.command()
def weigh(
    file: FileArgument,
    *,
    by: Annotated[str, typer.Option("--by", help="Cohorts: intent or segment.")] = "intent",
    set_: SetOption = None,
    store: StoreOption = ".tuneloop",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show them.")] = False,
    json: JsonOption = False,
) -> None:
    """Weigh prompts so that each cohort has its share of production's traffic."""
    from tuneloop.artefacts.store import Store
    from tuneloop.golden_set.file import GoldenFile
    from tuneloop.golden_set.traffic import find_curated, read_rows
    from tuneloop.golden_set.weigh import weigh as give_weights
    from tuneloop.golden_set.weigh import weigh_lines
    from tuneloop.present import show

    if by not in ("intent", "segment"):
        raise TuneloopError(f"no cohorts {by!r}", where="--by", hint="intent or segment")
    golden = GoldenFile(file)
    curated = find_curated(Store(store), set_)
    report = give_weights(golden, read_rows(curated), by=by, dry_run=dry_run)
    show({"set": curated.digest} | report, weigh_lines, as_json=json)


def _walk(golden: GoldenFile, who: str) -> dict[str, Any]:
    """Ask about each candidate; every answer is written at once."""
    import sys

    from tuneloop.golden_set.edit import review as decide

    waiting = [prompt for prompt in golden.prompts if prompt.status == "candidate"]
    if waiting and not sys.stdin.isatty():
        raise TuneloopError(
            f"{len(waiting)} candidates wait, and there is no terminal to ask in",
            where="golden review",
            hint="--accept ID or --reject ID --why TEXT",
        )
    done: dict[str, list[str]] = {"accepted": [], "rejected": []}
    for number, prompt in enumerate(waiting, 1):
        typer.echo("\n".join(_prompt_lines(prompt, f"{number} of {len(waiting)}")))
        answer = typer.prompt("[a]ccept, [r]eject, [s]kip, [q]uit", default="s").strip().lower()
        if answer.startswith("q"):
            break
        if answer.startswith("a"):
            decide(golden, accept=[prompt.id], reject=[], by=who)
            done["accepted"].append(prompt.id)
        elif answer.startswith("r"):
            decide(golden, accept=[], reject=[prompt.id], by=who, why=typer.prompt("why"))
            done["rejected"].append(prompt.id)
    return done


def _prompt_lines(prompt: GoldenPrompt, place: str) -> list[str]:
    from tuneloop.artefacts.printable import printable

    lines = ["", f"{place}: {prompt.id}  {' '.join([*prompt.slices, *prompt.tags])}"]
    lines += [f"  {message['role']}: {message['content']}" for message in prompt.messages]
    lines += [f"  -> {prompt.reference}"] if prompt.reference else []
    return [printable(line, keep="\n") for line in lines]


def _lines(report: dict[str, list[str]]) -> list[str]:
    lines = [f"{name}: {', '.join(ids)}" for name, ids in report.items() if ids]
    return lines or ["nothing changed"]


def _proposal_lines(report: dict[str, Any]) -> list[str]:
    lines = [
        f"{row['id']}  {row['basis']}{' by a reviewer' if row['reviewed'] else ''}  "
        f"weight {row['weight']:.2f}  {row['intent'] or ''}"
        for row in report["candidates"]
    ]
    return [*lines, f"{len(lines)} candidates from {report['set'][:12]}"]


def _diff_lines(report: dict[str, Any]) -> list[str]:
    lines = [f"+ {id}" for id in report["added"]] + [f"- {id}" for id in report["removed"]]
    lines += [f"~ {id}  {', '.join(fields)}" for id, fields in report["changed"].items()]
    lines += [f"  {name}: {old} → {new}" for name, (old, new) in report["slices"].items()]
    before, after = report["active"]
    return [*lines, f"active prompts: {before} → {after}"]
