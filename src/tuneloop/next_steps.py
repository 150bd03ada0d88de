"""What a run ends with: the verdict, whether the alias moved or what it waits for, what to try."""

from __future__ import annotations

import shlex
from pathlib import Path

from tuneloop.artefacts.aliases import AliasName, current
from tuneloop.artefacts.printable import printable
from tuneloop.artefacts.stage import Decision
from tuneloop.decide.permission import permission_now


def verdict_end(decision: Decision, paths: dict[str, Path], *, again: str | None) -> str:
    """Return the verdict as text, where it lies, what became of the alias, and what to try next.

    Args:
        decision: The decision.
        paths: Where its file and the report were copied to, by stage.
        again: Command that shows what another try takes; None where nothing is trained.
    """
    from tuneloop.report.text import verdict_text

    body, short, store = decision.json("decision.json"), decision.digest[:12], _store(decision)
    lines = [verdict_text(body), ""]
    lines += [f"report    {_short(paths['report'])}"] if "report" in paths else []
    lines += [f"decision  {_short(paths['decide'])}  ({short})"]
    commands = {
        f"tuneloop why {short}{store}": "what binds, what was tested, what it rests on",
        f"tuneloop bundle {short}{store}": "all of it in one file, for `tuneloop replay`",
    }
    if body["verdict"] == "PROMOTE":
        told, more = _after_promote(decision)
        lines += [f"champion  {line}" if i == 0 else f"          {line}"
                  for i, line in enumerate(told)]  # fmt: skip
        commands |= more
    elif again:
        commands[again] = "rows, tokens and cost of another try"
    wide = max(len(command) for command in commands)
    lines += ["", "try next", *(f"  {c:<{wide}}   # {why}" for c, why in commands.items())]
    return printable("\n".join(lines), keep="\n")


def _after_promote(decision: Decision) -> tuple[list[str], dict[str, str]]:
    """Return whether the alias moved or what it waits for, and the commands that move it."""
    body, short, store = decision.json("decision.json"), decision.digest[:12], _store(decision)
    scope = body.get("scope")
    now = current(decision.store, AliasName(**scope)) if scope else None
    listed = {f"tuneloop registry list{store}": "the champion and the ones before"}
    if now is not None and now.digest == body["systems"]["candidate"]["digest"]:
        return [f"moved: the candidate is in force, generation {now.number}"], listed
    missing = permission_now(decision).missing
    move = {f"tuneloop registry promote {short} --as NAME{store}": "moves the alias"}
    if not missing:
        return ["not moved by this command; nothing stands in the way"], move
    wanted = (body.get("policy") or {}).get("approvals", {}).get("n", 0)
    approve = {f'tuneloop approve {short} --as NAME --reason "…"{store}': "a person's yes"}
    told = [f"not moved yet: {missing[0]}", *missing[1:]]
    return told, (approve if wanted else {}) | move


def _store(decision: Decision) -> str:
    """Return the option that names a decision's store; nothing for the one that is taken anyway."""
    root = decision.store.root
    default = "://" not in root and Path(root).resolve() == Path(".tuneloop").resolve()
    return (
        ""
        if default
        else f" --store {shlex.quote(_short(Path(root)) if '://' not in root else root)}"
    )


def _short(path: Path) -> str:
    cwd = Path.cwd()
    return str(path.relative_to(cwd)) if path.is_relative_to(cwd) else str(path)
