"""The registry: which system is the champion, moved by decisions and rolled back by people."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from tuneloop.artefacts.aliases import AliasName, Generation, advance, current, generations
from tuneloop.artefacts.decision import DecisionRecord
from tuneloop.artefacts.stage import Decision
from tuneloop.artefacts.store import Store
from tuneloop.artefacts.systems import SystemSpec
from tuneloop.decide.permission import check_permission
from tuneloop.errors import DecisionError, StoreError


def promote(
    store: Store,
    alias: AliasName,
    *,
    decision: Decision | Mapping[str, Any],
    candidate: SystemSpec,
    actor: str,
    again: bool = False,
) -> Generation | None:
    """Move the alias to the candidate by one generation; return it, or None if nothing moves.

    Nothing moves unless the verdict is PROMOTE. Promoting the champion again returns the
    generation in force. What a person took back stays back: a system that was in force before
    the newest rollback moves the alias only with `again`. The reason recorded is the verdict's.

    Args:
        store: Where the alias lies.
        alias: Which one.
        decision: The artefact, or the contents of its `decision.json` with its `digest`.
        candidate: The system to promote; the one the decision is about.
        actor: Who does it.
        again: Also promote a system that a rollback took out of force.

    Raises:
        DecisionError: if the decision is about another system, a rollback took the candidate
            out of force, the champion it was compared with is no longer in force, another
            writer was first, or its policy does not allow it yet.
    """
    body, digest = _open(decision)
    if body["verdict"] != "PROMOTE":
        return None
    _check_candidate(body, candidate)
    history = generations(store, alias)
    now = history[-1] if history else None
    if now is not None and now.digest == candidate.digest:
        return now
    _check_champion(now, body, alias)
    if isinstance(decision, Decision):
        check_permission(decision)
    if not again:
        _check_not_taken_back(history, candidate, alias)
    reason = body["reasons"][0]
    generation = _next(now, candidate, actor=actor, reason=reason, decision=digest)
    try:
        return advance(store, alias, generation)
    except DecisionError:
        winner = current(store, alias)
        if winner is not None and winner.digest == candidate.digest:
            return winner
        raise


def rollback(
    store: Store, alias: AliasName, *, actor: str, reason: str, to: int | None = None
) -> Generation:
    """Put a new generation that points to an earlier system; return it.

    Args:
        store: Where the alias lies.
        alias: Which one.
        actor: Who does it.
        reason: Why.
        to: Number of the generation to return to. None: the system before the one in force,
            so that a second rollback goes further back and not forward again. Before the
            first generation this is the champion its decision compared it with.

    Raises:
        DecisionError: if there is no such generation, nothing earlier, or another writer was
            first.
    """
    history = generations(store, alias)
    if not history:
        raise DecisionError("nothing was ever promoted", where=alias.prefix)
    now = history[-1]
    if to is not None:
        system = _numbered(history, to, alias)
    else:
        first = next(i for i, g in enumerate(history) if g.digest == now.digest)
        system = history[first - 1].system if first else _beaten(store, history[0], alias)
    if system.digest == now.digest:
        raise DecisionError(
            f"{system.name} ({now.digest[:12]}) is in force already", where=alias.prefix
        )
    return advance(store, alias, _next(now, system, actor=actor, reason=reason, decision=None))


def history(store: Store, alias: AliasName) -> list[Generation]:
    """Return every generation of an alias, oldest first."""
    return generations(store, alias)


def _open(decision: Decision | Mapping[str, Any]) -> tuple[Mapping[str, Any], str | None]:
    if isinstance(decision, Decision):
        return decision.json("decision.json"), decision.digest
    return decision, decision.get("digest")


def _check_candidate(body: Mapping[str, Any], candidate: SystemSpec) -> None:
    decided = body["systems"]["candidate"]["digest"]
    if decided != candidate.digest:
        raise DecisionError(
            f"the decision's candidate is {decided[:12]}, not {candidate.digest[:12]}",
            where="promote",
            hint="promote the system that was evaluated",
        )


def _check_champion(now: Generation | None, body: Mapping[str, Any], alias: AliasName) -> None:
    """Raise unless the champion in force is still the one the candidate beat."""
    beaten = body["systems"]["champion"]
    champion = beaten["digest"]
    if now is None:
        if is_plain(beaten["spec"]):
            return
        found = "no champion was ever promoted"
    elif now.digest == champion:
        return
    else:
        found = f"the champion is now {now.system.name} ({now.digest[:12]})"
    raise DecisionError(
        f"{found}; the candidate was compared with {champion[:12]}",
        where=alias.prefix,
        hint="evaluate against the champion in force and decide again",
    )


def is_plain(spec: Mapping[str, Any]) -> bool:
    """Return whether a system is a base model as it is: what serves before any promotion."""
    parts = ("adapter", "system_prompt", "few_shot", "guardrails", "hosted", "chat_template")
    return not any(spec.get(part) for part in parts)


def _check_not_taken_back(
    history: list[Generation], candidate: SystemSpec, alias: AliasName
) -> None:
    """Raise if a person rolled back behind the candidate; such a move rests on no decision."""
    rollbacks = [i for i, generation in enumerate(history) if generation.decision is None]
    before = history[: rollbacks[-1]] if rollbacks else []
    if any(generation.digest == candidate.digest for generation in before):
        raise DecisionError(
            f"{candidate.name} ({candidate.digest[:12]}) was rolled back: "
            f"{history[rollbacks[-1]].reason}",
            where=alias.prefix,
            hint="set decide.promote to again to promote it all the same",
        )


def _next(
    now: Generation | None, system: SystemSpec, *, actor: str, reason: str, decision: str | None
) -> Generation:
    return Generation(
        number=now.number + 1 if now else 1,
        system=system,
        digest=system.digest,
        reason=reason,
        decision=decision,
        actor=actor,
        at=datetime.now(UTC),
    )


def _numbered(history: list[Generation], number: int, alias: AliasName) -> SystemSpec:
    for generation in history:
        if generation.number == number:
            return generation.system
    raise DecisionError(
        f"there is no generation {number}",
        where=alias.prefix,
        hint=f"there are {history[0].number} to {history[-1].number}",
    )


def _beaten(store: Store, first: Generation, alias: AliasName) -> SystemSpec:
    """Return the champion that the first promoted system was compared with."""
    hint = "there is no earlier system to go back to"
    try:
        found = store.by_digest(first.decision)[0] if first.decision else None
    except StoreError as error:
        found, hint = None, str(error)
    if found is None:
        raise DecisionError("this is the first system", where=alias.prefix, hint=hint)
    record = DecisionRecord.model_validate(found.json("decision.json"))
    return SystemSpec.model_validate(record.systems["champion"].spec)
