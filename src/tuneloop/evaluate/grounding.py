"""Grounding: each claim of an answer, supported or not by the prompt's context, by a judge.

The judge is tried on claims whose answer is known first: those that come with tuneloop, and
sentences of the golden prompts' own contexts, put to the right context and to another one. One
that fails says nothing: the checks are missing then, never passed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tuneloop.artefacts.digest import digest_file, digest_json
from tuneloop.artefacts.golden import Check, Chunk, GoldenPrompt
from tuneloop.evaluate import certificate as cert
from tuneloop.evaluate.answers import Answers
from tuneloop.evaluate.asking import Question, Reading, ask
from tuneloop.evaluate.checks import CheckOutcome, NotThereError
from tuneloop.evaluate.checks.rules.grounding import KIND, limits_of
from tuneloop.evaluate.checks.values import as_text, field_of, normalised
from tuneloop.evaluate.claims import MAX_CLAIMS, claims_of
from tuneloop.evaluate.injection import tries_injection
from tuneloop.evaluate.judge_prompt import prompt_digest, render, task_text
from tuneloop.evaluate.judging import JudgePlan
from tuneloop.evaluate.tables import Row, Side
from tuneloop.runtime.serving import Engine

ANCHORS = Path(__file__).parent / "anchors" / "grounding-v1.jsonl"
PROMPT_FILE = "grounding-v1"
LABELS: Mapping[str, str] = {"A": "supported", "B": "unsupported", "C": "nothing"}
_MIN_WORDS = 5

CheckKey = tuple[str, Side, str]
"""Prompt id, side, name of the check."""


@dataclass(frozen=True)
class _Claim:
    """One sentence of an answer, and the sources it is held against."""

    text: str
    answer: str
    task: str
    sources: str

    def question(self) -> Question:
        values = {"task": self.task, "claim": self.text}
        return Question(render(PROMPT_FILE, [self.answer, self.sources], values), tuple(LABELS))


@dataclass(frozen=True)
class Grounded:
    """What the judge said: outcomes by check, rows of `claims.parquet`, a summary."""

    outcomes: dict[CheckKey, CheckOutcome]
    rows: list[Row]
    summary: dict[str, Any]


def grounded_prompts(prompts: Sequence[GoldenPrompt]) -> list[GoldenPrompt]:
    """Return the prompts with a check that a judge must answer."""
    return [p for p in prompts if any(check.kind == KIND.name for check in p.checks)]


def ground(
    engine: Engine,
    judge: JudgePlan,
    prompts: Sequence[GoldenPrompt],
    answers: Mapping[Side, Answers],
) -> Grounded:
    """Return what the judge says of every grounding check of both sides' answers."""
    items = _try_out(engine, judge, prompts)
    able = cert.conclude(items) == "passed"
    asked = dict(_checks(prompts, answers))
    claims = [claim for _, found in asked.values() if isinstance(found, list) for claim in found]
    questions = [claim.question() for claim in claims]
    readings = iter(ask(engine, judge.system, questions, judge.config, step="grounding"))
    outcomes: dict[CheckKey, CheckOutcome] = {}
    rows: list[Row] = []
    for key, (check, found) in asked.items():
        if isinstance(found, CheckOutcome):
            outcomes[key] = found
            continue
        mine = [_row(key, i, claim, next(readings)) for i, claim in enumerate(found)]
        rows += mine
        outcomes[key] = _settle(check, mine)
        if not able:
            detail = "the judge failed its canaries: see grounding in evaluation.json"
            outcomes[key] = CheckOutcome(None, detail, "no_judge")
    return Grounded(outcomes, rows, _summary(judge, items, rows))


def protocol_digest(judge: JudgePlan) -> str:
    """Return the SHA-256 over the fixed words the judge reads, and how its label is read."""
    return digest_json([prompt_digest(PROMPT_FILE), judge.config.reasoning_tokens])


def _checks(
    prompts: Sequence[GoldenPrompt], answers: Mapping[Side, Answers]
) -> Iterator[tuple[CheckKey, tuple[Check, list[_Claim] | CheckOutcome]]]:
    """Yield each grounding check with the claims to ask about, or what is known without."""
    for prompt in grounded_prompts(prompts):
        for check in (c for c in prompt.checks if c.kind == KIND.name):
            for side, given in answers.items():
                key = (prompt.id, side, check.name)
                answer = given[prompt.id]
                if answer.status != "ok":
                    told = f"no answer: {answer.reason}"
                    yield key, (check, CheckOutcome(None, told, "no_answer"))
                else:
                    yield key, (check, _claims(check, prompt, answer.text))


def _claims(check: Check, prompt: GoldenPrompt, answer: str) -> list[_Claim] | CheckOutcome:
    try:
        text = as_text(field_of(answer, check.path)) if check.path else answer
    except NotThereError as error:
        return CheckOutcome(False, str(error))
    task, sources = task_text(prompt.messages), _sources(prompt.context)
    if tries_injection(text, f"{task}\n{sources}"):
        return CheckOutcome(None, "the answer speaks to its judge", "unclear")
    found = claims_of(text)
    if len(found) > MAX_CLAIMS:
        return CheckOutcome(None, f"makes {len(found)} claims: too many to ask", "unclear")
    if len(found) < limits_of(check)[1]:
        return CheckOutcome(False, f"makes {len(found)} claims")
    return [_Claim(claim, text, task, sources) for claim in found]


def _sources(context: Sequence[Chunk]) -> str:
    return "\n\n".join(f"[{chunk.id}] {chunk.text}" for chunk in context)


def _row(key: CheckKey, number: int, claim: _Claim, reading: Reading) -> Row:
    """Return one row of `claims.parquet`; the likeliest label is the finding."""
    prompt_id, side, check = key
    ok = reading.status == "ok"
    likeliest = max(LABELS, key=lambda label: reading.shares[label]) if ok else None
    return {
        "prompt_id": prompt_id, "side": side, "check": check, "claim": number, "text": claim.text,
        "status": reading.status, "reason": reading.reason,
        "finding": LABELS[likeliest] if likeliest else None,
        "p_supported": round(reading.shares["A"], 6) if ok else None,
        "off_label": reading.off_label, "decided_by": reading.decided_by,
        "reasoning": reading.reasoning,
    }  # fmt: skip


def _settle(check: Check, rows: Sequence[Row]) -> CheckOutcome:
    """Return whether enough claims are supported, whatever the unread ones may be."""
    least, fewest = limits_of(check)
    findings = [row["finding"] for row in rows]
    supported, bad = findings.count("supported"), findings.count("unsupported")
    unread = findings.count(None)
    known = supported + bad
    if known + unread < fewest:
        return CheckOutcome(False, f"makes {known} claims")
    total = known + unread
    worst = supported / total if total else 1.0
    best = (supported + unread) / total if total else 1.0
    said = next((row["text"] for row in rows if row["finding"] == "unsupported"), "")
    if best < least:
        return CheckOutcome(False, f"{bad} of {known} claims unsupported: {said}")
    if unread and (worst < least or known < fewest):
        reason: Literal["unclear"] = "unclear"
        return CheckOutcome(None, f"{unread} of {total} claims could not be judged", reason)
    return CheckOutcome(True, f"{bad} of {known} claims unsupported: {said}" if bad else "")


def _try_out(engine: Engine, judge: JudgePlan, prompts: Sequence[GoldenPrompt]) -> list[cert.Item]:
    """Return how the judge does on claims that are known to be supported, or not to be."""
    known = [(_anchor(line), line["supported"], line["id"]) for line in _anchors()]
    known += _planted(grounded_prompts(prompts), judge.config.certificate.n_canaries)
    questions = [claim.question() for claim, _, _ in known]
    fresh = judge.engine.backend == "url"
    readings = ask(
        engine, judge.system, questions, judge.config, step="grounding, canaries", fresh=fresh
    )
    tolerance = judge.config.certificate.canary_tolerance
    items = []
    for supported in (True, False):
        mine = [(r, name) for (_, truth, name), r in zip(known, readings, strict=True)
                if truth == supported]  # fmt: skip
        values = [cert.Value(name, r.shares["A"]) for r, name in mine if r.status == "ok"]
        name = "supported" if supported else "unsupported"
        limit = 0.5 + (tolerance if supported else -tolerance)
        items.append(
            cert.judged(name, values, limit=limit, least=supported,
                        n_missing=len(mine) - len(values), seed=judge.seed)
        )  # fmt: skip
    return items


def _anchors() -> list[dict[str, Any]]:
    return [json.loads(line) for line in ANCHORS.read_text("utf-8").splitlines()]


def _anchor(line: Mapping[str, Any]) -> _Claim:
    claim = str(line["claim"])
    return _Claim(claim, claim, "user: What do the sources say?", f"[1] {line['source']}")


def _planted(prompts: Sequence[GoldenPrompt], n: int) -> list[tuple[_Claim, bool, str]]:
    """Return sentences of contexts, each put to its own context, and to one without it."""
    found: list[tuple[_Claim, bool, str]] = []
    for i, prompt in enumerate(prompts[:n]):
        said = [c for chunk in prompt.context for c in claims_of(chunk.text)]
        claim = next((c for c in said if len(c.split()) >= _MIN_WORDS), None)
        if claim is None:
            continue
        task, family = task_text(prompt.messages), prompt.family or prompt.id
        found.append((_Claim(claim, claim, task, _sources(prompt.context)), True, family))
        strangers = [*prompts[i + 1 :], *prompts[:i]]
        other = next((p for p in strangers if not _says(p.context, claim)), None)
        if other is not None:
            task = task_text(other.messages)
            found.append((_Claim(claim, claim, task, _sources(other.context)), False, family))
    return found


def _says(context: Sequence[Chunk], claim: str) -> bool:
    """Whether a context holds most words of a claim: it may then support it."""
    words = set(normalised(claim).split())
    held = set(normalised(_sources(context)).split())
    return len(words & held) >= 0.6 * len(words)


def _summary(judge: JudgePlan, items: Sequence[cert.Item], rows: Sequence[Row]) -> dict[str, Any]:
    sides = {}
    for side in ("champion", "candidate"):
        mine = [row["finding"] for row in rows if row["side"] == side]
        sides[side] = {finding: mine.count(finding) for finding in LABELS.values()}
        sides[side] |= {"missing": mine.count(None)}
    return {
        "status": cert.conclude(items),
        "model": judge.system.spec.model,
        "model_digest": judge.system.spec.base,
        "protocol": protocol_digest(judge),
        "anchors_digest": digest_file(ANCHORS),
        "warning": judge.warning,
        "canaries": [item.row() for item in items],
        "claims": sides,
    }
