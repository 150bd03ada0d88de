"""UltraFeedback as first released: four answers to an instruction, each rated by GPT-4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tuneloop.lake.compose import feedback, has, interaction, number_of, text_of
from tuneloop.lake.fields import parse_json
from tuneloop.lake.format import Event, Format, Record, Source, UnfitError
from tuneloop.lake.ids import content_id

_JUDGE = {"kind": "judge", "id": "gpt-4"}
_ASPECTS = ("instruction_following", "honesty", "truthfulness", "helpfulness")


def recognise(record: Mapping[str, Any]) -> float:
    """Look for an instruction with completions."""
    completions = parse_json(record.get("completions"))
    if not (has(record, "instruction") and isinstance(completions, list)):
        return 0.0
    first = completions[0] if completions else {}
    return 1.0 if isinstance(first, Mapping) and "response" in first else 0.0


def convert(record: Record, source: Source) -> Iterable[Event]:
    """Yield every completion with its overall score and the aspects'."""
    asked = text_of(record.get("instruction"), "instruction")
    given = parse_json(record.get("completions"))
    completions = [c for c in given if isinstance(c, dict)] if isinstance(given, list) else []
    if not completions:
        raise UnfitError("no_answer", "there is no completion")
    name = content_id("ultrafeedback", record)
    extra = {k: record[k] for k in ("source", "correct_answers", "incorrect_answers")
             if record.get(k)}  # fmt: skip
    events: list[Event] = []
    for n, one in enumerate(completions):
        response = one.get("response")
        answer = "" if response == "" else text_of(response, f"completion {n}")
        told = {k: one[k] for k in ("principle", "custom_system_prompt") if one.get(k)}
        own = f"{name}-{n}"
        events.append(interaction(own, asked, answer, system=one.get("model"), extra=extra | told))
        events += _ratings(own, one)
    return events


def _ratings(target: str, completion: Record) -> Iterator[Event]:
    aspects = dict(_aspects(completion.get("annotations")))
    overall, repaired = overall_score(completion, aspects)
    critique = completion.get("critique")
    comment = critique if isinstance(critique, str) and critique.strip() else None
    if overall is not None:
        yield feedback(
            f"{target}-overall", target, "score", overall, scale=(1, 10), dimension="overall",
            actor=_JUDGE, comment=comment, metadata={"stated": 10} if repaired else None,
        )  # fmt: skip
    for aspect, value in aspects.items():
        yield feedback(
            f"{target}-{aspect}", target, "score", value, scale=(1, 5), dimension=aspect,
            actor=_JUDGE,
        )  # fmt: skip


def overall_score(completion: Record, aspects: Mapping[str, float]) -> tuple[float | None, bool]:
    """Return the overall score, and whether it was put right.

    In the first release a critique's `1` was stored as 10. The aspects were rated apart, so they
    tell: with a mean of at most 2 of 5 it is a 1, above 4 a 10. Between, the authors asked the
    judge again; nobody can here, and there is no overall score.

    Source: the release notes of UltraFeedback's repository and Argilla's account of the mistake.
    """
    overall = number_of(completion.get("overall_score"))
    if overall is None or not 1 <= overall <= 10:
        return None, False
    mean = number_of(completion.get("fine-grained_score"))
    if aspects:
        mean = sum(aspects.values()) / len(aspects)
    if overall != 10 or mean is None or mean > 4:
        return overall, False
    return (1.0, True) if mean <= 2 else (None, False)


def _aspects(annotations: Any) -> Iterator[tuple[str, float]]:
    """Yield the aspects that were rated; `N/A` was not."""
    for aspect in _ASPECTS:
        rating = annotations.get(aspect) if isinstance(annotations, dict) else None
        value = number_of(rating.get("Rating") if isinstance(rating, dict) else rating)
        if value is not None and 1 <= value <= 5:
            yield aspect, value


FORMAT = Format(
    name="ultrafeedback",
    title="UltraFeedback",
    recognise=recognise,
    convert=convert,
    fields=(
        ("`instruction`", "`request.messages`", ""),
        ("`completions[].response`", "`response.content`", "an interaction each"),
        ("`completions[].model`", "`system`", ""),
        ("`overall_score`", "`score`", "1 to 10, `dimension` overall; judge gpt-4"),
        ("`overall_score` 10", "1, 10 or none",
         "a 1 was stored as 10: mean of the aspects up to 2: 1, above 4: 10, between: left out"),
        ("`annotations.*.Rating`", "`score`", "1 to 5, `dimension`; `N/A` left out"),
        ("`critique`", "`comment`", ""),
        ("`principle`, `custom_system_prompt`", "`extra`", "not shown to the user who asked"),
        ("time", "`event_ts`", "none: 2000-01-01"),
    ),
    examples=(
        {
            "source": "evol_instruct", "instruction": "Name a river.", "models": ["m1", "m2"],
            "completions": [
                {
                    "model": "m1", "response": "The Elbe.", "overall_score": 8.0,
                    "fine-grained_score": 4.5, "critique": "Right.", "principle": "helpfulness",
                    "custom_system_prompt": "Be helpful.",
                    "annotations": {
                        "helpfulness": {"Rating": "5", "Rationale": "It names one."},
                        "honesty": {"Rating": "N/A", "Rationale": ""},
                        "truthfulness": {"Rating": "4", "Rationale": "It is one."},
                    },
                },
                {
                    "model": "m2", "response": "Bananas.", "overall_score": 10.0,
                    "fine-grained_score": 1.25, "critique": "Wrong. Overall Score: 1",
                    "annotations": {"helpfulness": {"Rating": "1"}, "honesty": {"Rating": "2"}},
                },
            ],
        },
    ),
)  # fmt: skip
