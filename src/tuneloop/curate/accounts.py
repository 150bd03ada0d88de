"""Accounts one at a time: who gave a piece of feedback, and whose feedback tells nothing."""

from __future__ import annotations

from collections import Counter, defaultdict

from tuneloop.config.data import BrigadeConfig
from tuneloop.curate.evidence import opinion
from tuneloop.curate.rows import Dropped, FeedbackRow, Row

MAX_P_ONE_SIDED = 1e-9
Given = list[tuple[FeedbackRow, Row]]


def account_of(item: FeedbackRow, row: Row) -> str:
    """Return who gave it: the named actor, else the interaction's person, session, or itself."""
    name = item.actor_id or row.subject_key
    if name:
        return f"{row.tenant}/{name}"
    return f"{row.tenant}//{row.session_id or item.id}"


def direction(item: FeedbackRow, row: Row) -> str | None:
    """Return `up` or `down` where the feedback is a vote."""
    if item.signal not in ("thumb", "stars", "score"):
        return None
    said = opinion(item, row)
    return None if not said else "up" if said > 0 else "down"


def trust_accounts(rows: list[Row], config: BrigadeConfig, dropped: Dropped) -> None:
    """Take off the rows what one account gave too much of, or always in the same direction.

    Somebody who votes down whatever it is says nothing about any answer. One-sided is an
    account with at least `min_one_sided_votes` votes, all alike, where so many alike would be
    a wonder at the rate of everybody else.
    """
    given: dict[str, Given] = defaultdict(list)
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for item in row.feedback:
            if item.actor_kind == "user":
                account = account_of(item, row)
                given[account].append((item, row))
                if way := direction(item, row):
                    votes[account][way] += 1
    everybody = sum(votes.values(), Counter())
    for account in sorted(given):
        pairs = sorted(given[account], key=lambda pair: (pair[0].ts, pair[0].id))
        if _is_one_sided(votes[account], everybody, config.min_one_sided_votes):
            _take(pairs, "one_sided", "all votes of the account go one way", dropped)
        else:
            most = config.max_events_per_user
            _take(pairs[most:], "account_cap", f"more than {most} from one account", dropped)


def _is_one_sided(own: Counter[str], everybody: Counter[str], fewest: int) -> bool:
    n = own.total()
    if n < fewest or len(own) > 1:
        return False
    ((way, _),) = own.items()
    share = (everybody[way] - n + 1.0) / (everybody.total() - n + 2.0)
    return float(share**n) <= MAX_P_ONE_SIDED


def _take(pairs: Given, reason: str, detail: str, dropped: Dropped) -> None:
    for item, row in pairs:
        row.feedback.remove(item)
        dropped.feedback(item, reason, detail)
