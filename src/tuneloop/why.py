"""Why a decision is what it is, in words: for whoever must stand by it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tuneloop import lineage as walk
from tuneloop.artefacts.aliases import current, list_aliases
from tuneloop.artefacts.approvals import Approval, approvals, check_chain
from tuneloop.artefacts.decision import DecisionRecord
from tuneloop.artefacts.erasures import tombstone
from tuneloop.artefacts.manifest import FileRef, Manifest, contents_digest
from tuneloop.artefacts.stage import Decision
from tuneloop.artefacts.store import Store
from tuneloop.decide.bundle import Bundle, read_bundle
from tuneloop.decide.permission import permission, valid_until
from tuneloop.errors import DecisionError, StoreError


def find_decision(store: Store, what: str) -> Decision:
    """Return the decision that a path, a digest or an alias names.

    Args:
        store: Where it is.
        what: A `decision.json`, a digest or its beginning, or an alias as tenant/task/env (or
            `champion`, where the store has one alone).

    Raises:
        StoreError: if none is found.
    """
    from tuneloop.artefacts.digest import digest_file

    path = Path(what)
    if path.is_file():
        ref = FileRef(digest=digest_file(path), n_bytes=path.stat().st_size)
        what = contents_digest("decide", {"decision.json": ref})
    elif found := _of_alias(store, what):
        what = found
    artefact = store.by_digest(what)[0]
    if artefact.kind != "decide":
        raise StoreError(f"{what[:12]} is a {artefact.kind}, no decision", where=store.root)
    return Decision(artefact.manifest, store)


def _of_alias(store: Store, what: str) -> str | None:
    """Return the digest of the decision that moved an alias last, or None where it names none."""
    known = list_aliases(store)
    named = [a for a in known if what in (f"{a.tenant}/{a.task}/{a.env}", a.name)]
    if not named:
        return None
    if len(named) > 1:
        listed = ", ".join(f"{a.tenant}/{a.task}/{a.env}" for a in named)
        raise StoreError(f"{what!r} names several aliases: {listed}", where=store.root)
    now = current(store, named[0])
    if now is None or now.decision is None:
        raise DecisionError(
            "a person moved this alias back; no decision did",
            where=what,
            hint=now.reason if now else "",
        )
    return now.decision


def lineage_of(store: Store, decision: Decision) -> dict[str, Any]:
    """Return a decision's lineage, or why it cannot be walked."""
    try:
        return walk.lineage_report(store, decision.digest)
    except StoreError as error:
        return {"status": "missing", "reason": str(error)}


def why_report(store: Store, what: str) -> dict[str, Any]:
    """Return all that explains a decision in the store, or in a bundle.

    Args:
        store: Where it is, unless `what` is a bundle.
        what: A bundle, or what `find_decision` takes.
    """
    path = Path(what)
    if path.is_file() and path.suffix != ".json":
        return _of_bundle(read_bundle(path))
    decision = find_decision(store, what)
    said = approvals(store, decision.digest)
    body = decision.json("decision.json")
    return _report(body, decision.manifest, said, lineage_of(store, decision))


def _of_bundle(bundle: Bundle) -> dict[str, Any]:
    said = [Approval.model_validate(row) for row in bundle.json_of("approvals.json") or []]
    check_chain(said)
    manifest = Manifest.model_validate(bundle.json_of("decision.manifest.json"))
    lineage = bundle.json_of("lineage.json")
    return _report(bundle.json_of("decision.json"), manifest, said, lineage)


def _report(
    body: dict[str, Any], manifest: Manifest, said: list[Approval], lineage: Any
) -> dict[str, Any]:
    author, made_at = manifest.details.get("author"), manifest.started_at
    allowed = permission(body, said, author=author, made_at=made_at, now=datetime.now(UTC))
    return {
        "decision": manifest.digest,
        "made_at": made_at,
        "author": author,
        "valid_until": valid_until(body, made_at),
        "body": body,
        "usage": manifest.details.get("usage"),
        "approvals": [a.model_dump(mode="json") for a in said],
        "permission": {
            "allowed": not allowed.missing,
            "missing": allowed.missing,
            "counted": allowed.counted,
            "ignored": allowed.ignored,
        },
        "lineage": lineage,
    }


def refuse_erased(store: Store, bundle: Bundle) -> None:
    """Raise where a store says that what a bundle holds was erased.

    Raises:
        DecisionError: the bundle must not be used any more.
    """
    for digest in (bundle.head.decision, bundle.head.evaluation):
        stone = tombstone(store, digest)
        if stone is not None:
            raise DecisionError(
                f"unreplayable: erased on {stone.when:%Y-%m-%d %H:%M}Z ({stone.reason})",
                where=f"{stone.kind} {digest[:12]}",
                hint="delete this bundle: it holds what a person had erased",
            )


def why_lines(report: dict[str, Any]) -> list[str]:
    """Return the explanation as lines for people."""
    record = DecisionRecord.model_validate(report["body"])
    p = record.primary
    sides = {side: f"{system.spec.get('name', side)} ({system.digest[:12]})"
             for side, system in record.systems.items()}  # fmt: skip
    lines = [
        f"{record.verdict}: {sides['candidate']} against {sides['champion']}",
        f"decision {report['decision'][:12]}, made {report['made_at']:%Y-%m-%d %H:%M}Z"
        + (f" by {report['author']}" if report["author"] else ""),
        "",
        "what binds" if record.verdict != "PROMOTE" else "what speaks for it",
        f"  {record.reasons[0]}",
    ]
    open_ = {gate.detail for gate in record.gates if gate.status in ("failed", "unproven")}
    lines += [f"  {reason}" for reason in record.reasons[1:] if reason in open_]
    for_it = [r for r in record.reasons[1:] if r not in open_ and r != record.judge.summary]
    if for_it:
        lines += ["", "what else speaks for it", *(f"  {reason}" for reason in for_it)]
    if record.next_action:
        lines += ["", "what to do next", f"  {record.next_action.text}"]
    lines += ["", "what was tested"]
    wanted = "better" if record.objective == "better" else "not worse, and cheaper or faster"
    units = "prompts" if p.unit == "prompt" else "families"
    lines.append(f"  {p.metric}: is the candidate {wanted}? {p.n} {units}, {p.n_missing} missing")
    lines += [f"  {gate.status:<9} {gate.name}: {gate.detail}" for gate in record.gates]
    if record.n_candidates > 1:
        lines.append(
            f"  one of {record.n_candidates} candidates tried at once: each gate's level is"
            f" {(1 - p.confidence) / 2:.4g}, one-sided"
        )
    if record.error_budget:
        budget = record.error_budget
        limit = f" of {budget.total:g}" if budget.total is not None else ""
        lines.append(
            f"  the golden set {budget.golden[:12]} was asked {budget.n_before} other questions "
            f"before; error spent {budget.alpha_before + budget.alpha:g}{limit}"
        )
    lines += cost_lines(record, report["usage"])
    return lines + _said_lines(report) + _origin_lines(report)


def cost_lines(record: DecisionRecord, usage: Any) -> list[str]:
    """Return tokens, price and latency of both systems as lines."""
    lines = ["", "what answers cost (champion, candidate)"]
    if not record.costs:
        return []
    names = {"prompt_tokens": "tokens read", "completion_tokens": "tokens written",
             "price_per_1000": "price of 1,000", "latency_p50_s": "median latency, s",
             "latency_p95_s": "95 % latency, s"}  # fmt: skip
    for part, name in names.items():
        cells = []
        for side in ("champion", "candidate"):
            q = getattr(record.costs[side], part)
            span = f" ({q.ci_low:.4g} to {q.ci_high:.4g})" if q.ci_low and q.ci_high else ""
            cells.append(f"{q.value:.4g}{span}" if q.value is not None else f"– ({q.reason})")
        told = cells[0] if cells[0] == cells[1] else ", ".join(cells)
        lines.append(f"  {name:<18}{told}")
    timed = [(usage or {}).get(side) or {} for side in ("champion", "candidate")]
    if all("latency_p95_s" in side for side in timed):
        told = ", ".join(f"{side['latency_p95_s']:.3g} s" for side in timed)
        lines.append(f"  in passing, under load and not in turns, 95 % took at most {told}")
    return lines


def _said_lines(report: dict[str, Any]) -> list[str]:
    lines = ["", "who said what"]
    for row in report["approvals"]:
        signed = "signed" if row["signature"] else "not signed"
        lines.append(
            f"  {row['at'][:16]}Z {row['person']}: {row['word']} ({signed}): {row['reason']}"
        )
    if not report["approvals"]:
        lines.append("  nobody yet")
    allowed = report["permission"]
    lines += [f"  does not count: {text}" for text in allowed["ignored"]]
    until = report["valid_until"]
    if allowed["allowed"]:
        lines.append(f"  may move the alias until {until:%Y-%m-%d %H:%M}Z" if until else "")
    else:
        lines += [f"  missing: {text}" for text in allowed["missing"]]
    return lines


def _origin_lines(report: dict[str, Any]) -> list[str]:
    found = report["lineage"]
    lines = ["", "what it rests on"]
    if not found or "kind" not in found:
        return [*lines, f"  {json.dumps(found)}"]
    return lines + [f"  {line}" for line in walk.lineage_lines(found)]
