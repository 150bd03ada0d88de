"""Gates that look at one interaction at a time: was it served, is it usable, is it allowed."""

from __future__ import annotations

from datetime import UTC, datetime

from tuneloop.artefacts.stage import Scope
from tuneloop.config.data import CurateConfig
from tuneloop.curate.load import Joined
from tuneloop.curate.rows import Dropped, FeedbackRow, Row

SPEAKING = frozenset(
    {"thumb", "stars", "score", "correction", "preference", "copy", "dwell", "reformulation",
     "regenerate", "abandonment"}
)  # fmt: skip


def pass_gates(
    joined: Joined, config: CurateConfig, dropped: Dropped, scope: Scope | None = None
) -> list[Row]:
    """Return the interactions that may be learned from, in order of their id."""
    for id in joined.without_feedback:
        dropped.lines.append((id, "interaction", "no_signal", "no feedback"))
    kept = []
    for row in sorted(joined.rows.values(), key=lambda row: (row.id, row.tenant)):
        row.feedback = [item for item in row.feedback if _fits(item, config, dropped)]
        reason, detail = _elsewhere(row, scope) or refusal(row, config, joined.watermark)
        if reason:
            dropped.interaction(row, reason, detail)
            for item in row.feedback:
                dropped.feedback(item, "target_dropped", reason)
        else:
            kept.append(row)
    return kept


def drop_silent(rows: list[Row], dropped: Dropped) -> list[Row]:
    """Drop interactions whose feedback, as far as it is trusted, says nothing on quality."""
    kept = []
    for row in rows:
        if any(item.signal in SPEAKING for item in row.feedback):
            kept.append(row)
        else:
            detail = "comments only" if row.feedback else "none of its feedback is trusted"
            dropped.interaction(row, "no_signal", detail)
    return kept


def refusal(row: Row, config: CurateConfig, watermark: float) -> tuple[str, str]:
    """Return why this interaction may not be used, and a detail; empty where it may.

    Consent ends by the lake's own clock (`watermark`, its newest event), so that the same
    lake always gives the same set.
    """
    consent = row.consent or {}
    until = consent.get("until")
    n_chars = len(row.answer)
    rules = [
        (not row.shown or row.role in ("shadow", "replay"), "not_shown", row.role),
        (row.outcome != "ok", f"outcome_{row.outcome}", ""),
        (consent.get("train") is False, "consent_refused", consent.get("basis") or ""),
        (config.require_consent and not consent, "consent_missing", ""),
        (until is not None and _timestamp(until) < watermark, "consent_expired", until or ""),
        (not row.answer.strip(), "empty_answer", ""),
        (not row.question.strip(), "no_question", ""),
        (n_chars > config.max_answer_chars, "too_long", f"{n_chars} characters"),
    ]
    return next(((reason, detail) for broken, reason, detail in rules if broken), ("", ""))


def _elsewhere(row: Row, scope: Scope | None) -> tuple[str, str] | None:
    """Return why the row is none of this run's; None where it is, or does not say."""
    if scope and row.task not in (None, scope.task):
        return "other_task", row.task or ""
    if scope and row.env not in (None, scope.env):
        return "other_env", row.env or ""
    return None


def _fits(item: FeedbackRow, config: CurateConfig, dropped: Dropped) -> bool:
    if item.signal == "correction" and len(item.value) > config.max_answer_chars:
        dropped.feedback(item, "too_long", f"{len(item.value)} characters")
        return False
    return True


def _timestamp(text: str) -> float:
    stamp = datetime.fromisoformat(text)
    return (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).timestamp()
