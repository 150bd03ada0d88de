"""How many training pairs an export really holds."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from tuneloop.audit.events import Hash, Log
from tuneloop.statistics.rates import wilson

LIKED = 0.5
Pair = tuple[Hash, Hash, Hash]


def count_pairs(log: Log) -> dict[str, Any]:
    """Return how many pairs are stated, why some are none, and how many are left.

    A pair is a prompt, a better and a worse answer: a preference, a correction before what it
    corrects, or a liked and a disliked answer to one prompt. Usable ones are different from each
    other, both of their texts are known and differ, and nobody says the opposite.
    """
    lost: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    held: Counter[Pair] = Counter()
    for word in log.stated():
        if word.signal not in ("preference", "correction"):
            continue
        sources[word.signal] += 1
        found = _stated(log, word)
        if isinstance(found, str):
            lost[found] += 1
        else:
            held[found] += 1
    for pair in _opposed(log):
        sources["liked and disliked"] += 1
        held[pair] += 1
    opposite = {p for p in held if (p[0], p[2], p[1]) in held}
    lost["contradicted by the opposite"] = sum(held[p] for p in opposite)
    lost["said before"] = sum(n - 1 for p, n in held.items() if p not in opposite)
    usable = [p for p in held if p not in opposite]
    n = sum(sources.values())
    low, high = wilson(len(usable), n, 0.025)
    return {
        "n_stated": n,
        "by_source": dict(sorted(sources.items())),
        "lost": {k: v for k, v in sorted(lost.items()) if v},
        "n_usable": len(usable),
        "usable_share": len(usable) / n if n else None,
        "usable_share_low": low if n else None,
        "usable_share_high": high if n else None,
        "n_prompts": len({p[0] for p in usable}),
        "n_interactions": len(log.answers),
        "n_distinct_prompts": len({a.question for a in log.answers.values()}),
    }


def _stated(log: Log, word: Any) -> Pair | str:
    """Return the pair a preference or a correction states, or why it is none."""
    about = log.answers.get(word.target)
    if about is None:
        return "the answer is not in the export"
    if word.signal == "correction":
        chosen, rejected = word.text, about.answer
    else:
        if word.outcome != "better":
            return "a tie, or both bad"
        other = log.answers.get(word.other or "")
        if other is None:
            return "the answer is not in the export"
        if other.question != about.question:
            return "two different prompts"
        chosen, rejected = about.answer, other.answer
    if chosen is None or rejected is None:
        return "an answer without text"
    return "both answers are the same" if chosen == rejected else (about.question, chosen, rejected)


def _opposed(log: Log) -> list[Pair]:
    """Return a pair for each liked answer that stands against a disliked one of its prompt."""
    opinions: dict[tuple[Hash, Hash], list[float]] = defaultdict(list)
    for word in log.stated():
        about = log.answers.get(word.target)
        if word.opinion is not None and about and about.answer:
            opinions[about.question, about.answer].append(word.opinion)
    sides: dict[Hash, tuple[list[Hash], list[Hash]]] = defaultdict(lambda: ([], []))
    for (question, answer), said in sorted(opinions.items()):
        mean = sum(said) / len(said)
        if abs(mean) >= LIKED:
            sides[question][mean < 0].append(answer)
    return [
        (q, good, bad)
        for q, (liked, disliked) in sides.items()
        for good, bad in zip(liked, disliked, strict=False)
    ]
