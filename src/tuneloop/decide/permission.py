"""Whether a decision may move an alias now: its policy, what people said of it, and the time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tuneloop.artefacts import signing
from tuneloop.artefacts.approvals import Approval, approvals, person_of
from tuneloop.artefacts.stage import Decision
from tuneloop.config.policy import PolicyConfig
from tuneloop.errors import DecisionError


@dataclass(frozen=True)
class Permission:
    """What stands between a decision and its alias; nothing where `missing` is empty.

    `counted` are those whose yes counts, `ignored` says of every other word why it does not.
    """

    counted: list[str]
    ignored: list[str]
    missing: list[str]


def permission(
    body: Mapping[str, Any],
    said: Sequence[Approval],
    *,
    author: str | None,
    made_at: datetime,
    now: datetime,
) -> Permission:
    """Return what is still missing before a decision may move its alias.

    Args:
        body: `decision.json`.
        said: What people said of it, in order.
        author: Who ran the decision.
        made_at: When it was made.
        now: The time now.
    """
    policy = PolicyConfig.model_validate(body["policy"]) if body.get("policy") else None
    missing = []
    if body["verdict"] != "PROMOTE":
        missing.append(f"the verdict is {body['verdict']}: nobody can approve what is not proven")
    until = valid_until(body, made_at)
    if until and now >= until:
        missing.append(f"the verdict held until {until:%Y-%m-%d %H:%M}Z: decide again (--force)")
    counted, rejected, ignored = _count(said, policy, author)
    missing += [f"{r.person} rejected it: {r.reason}" for r in rejected]
    if policy:
        missing += _needed(policy, counted)
        missing += [
            f"no alias moves now: {freeze.reason}"
            + (f", until {freeze.end:%Y-%m-%d %H:%M %Z}" if freeze.end else "")
            for freeze in policy.freeze
            if freeze.holds(now)
        ]
    return Permission(counted=counted, ignored=ignored, missing=missing)


def valid_until(body: Mapping[str, Any], made_at: datetime) -> datetime | None:
    """Return when a decision expires; None for one that says nothing of it."""
    said = body.get("expiry")
    return made_at + timedelta(days=said["days"]) if said else None


def permission_now(decision: Decision) -> Permission:
    """Return what is missing before a recorded decision may move its alias now."""
    manifest = decision.manifest
    return permission(
        decision.json("decision.json"),
        approvals(decision.store, decision.digest),
        author=manifest.details.get("author"),
        made_at=manifest.started_at,
        now=datetime.now(UTC),
    )


def check_permission(decision: Decision) -> None:
    """Raise unless a decision may move its alias now.

    Raises:
        DecisionError: naming everything that is missing.
    """
    missing = permission_now(decision).missing
    if missing:
        raise DecisionError(
            "; ".join(missing),
            where=f"decision {decision.digest[:12]}",
            hint=f"tuneloop why {decision.digest[:12]}",
        )


def _count(
    said: Sequence[Approval], policy: PolicyConfig | None, author: str | None
) -> tuple[list[str], list[Approval], list[str]]:
    """Return who approves, which words reject, and why other words do not count."""
    last = {record.person: record for record in said}
    rules = policy.approvals if policy else None
    may = {person_of(name) for names in rules.roles.values() for name in names} if rules else set()
    writer = person_of(author) if author else None
    yes, no, ignored = [], [], []
    for person, record in last.items():
        if may and person not in may:
            ignored.append(f"{person} has no role in the policy")
        elif signing.must_be_signed() and record.signature is None:
            ignored.append(f"the word of {person} is not signed")
        elif record.word == "reject":
            no.append(record)
        elif rules and not rules.author_may and person == writer:
            ignored.append(f"{person} ran the decision and may not approve it")
        else:
            yes.append(person)
    return yes, no, ignored


def _needed(policy: PolicyConfig, counted: Sequence[str]) -> list[str]:
    rules, found = policy.approvals, []
    if len(counted) < rules.n:
        have = ", ".join(counted) or "nobody"
        found.append(f"{rules.n} different persons must approve; {have} did")
    for role, n in sorted(rules.each.items()):
        with_role = {person_of(name) for name in rules.roles.get(role, ())} & set(counted)
        if len(with_role) < n:
            found.append(f"{n} with the role {role} must approve; {len(with_role)} did")
    return found
