"""Labelling in a terminal: two answers, nobody knows whose, one key each."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tuneloop.artefacts.labels import Journal, LabelPlan, Side, Word
from tuneloop.artefacts.printable import printable
from tuneloop.label.pairs import AnswerPair
from tuneloop.label.plan import first_shown

KEYS = "[a] A is better  [b] B is better  [t] tie  [s]kip  [u]ndo  [q]uit"
WIDTH = 96


@dataclass(frozen=True)
class Terminal:
    """How the session speaks: `ask` returns what was typed (None: the end), `tell` shows text."""

    ask: Callable[[str], str | None]
    tell: Callable[[str], None]


@dataclass
class Tally:
    """What one session came to."""

    labelled: int = 0
    skipped: int = 0
    undone: int = 0
    left: int = 0


def label_pairs(
    pairs: Sequence[AnswerPair],
    queue: Sequence[str],
    plan: LabelPlan,
    journal: Journal,
    *,
    person: str,
    terminal: Terminal,
) -> Tally:
    """Ask one person about the pairs in the queue; each answer is kept before the next question.

    Which system is A is a coin of its own for each person and pair, and is recorded. Nothing
    shown tells which system is which, or what the judge said.

    Args:
        pairs: All pairs.
        queue: Ids of those to ask about, in order.
        plan: The plan they come from.
        journal: Where answers go.
        person: Who answers.
        terminal: Where questions and answers are shown and read.
    """
    by_id = {pair.id: pair for pair in pairs}
    tally, at, mine = Tally(), 0, [one.item for one in journal.of(person)]
    waiting = list(queue)
    while at < len(waiting):
        item = waiting[at]
        first = first_shown(plan.seed, item, person)
        terminal.tell(pair_text(by_id[item], first, f"pair {at + 1} of {len(waiting)}"))
        word = _ask(terminal, first)
        if word is None:
            break
        if word == "undo":
            if not mine:
                terminal.tell("there is nothing to undo")
                continue
            last = mine.pop()
            journal.append(last, "undo", person=person, first=first_shown(plan.seed, last, person))
            tally.undone += 1
            at = max(at - 1, 0) if at and waiting[at - 1] == last else at
            if waiting[at] != last:
                waiting.insert(at, last)
            continue
        journal.append(item, word, person=person, first=first)
        mine.append(item)
        tally.skipped += word == "skip"
        tally.labelled += word != "skip"
        at += 1
    tally.left = len(waiting) - at
    return tally


def decode(key: str, first: Side) -> Word | None:
    """Return what a key says of the two systems, or None where it says nothing."""
    other: Side = "candidate" if first == "champion" else "champion"
    words: dict[str, Word] = {
        "a": first, "b": other, "t": "tie", "tie": "tie", "s": "skip", "skip": "skip",
        "u": "undo", "undo": "undo",
    }  # fmt: skip
    return words.get(key.strip().lower())


def pair_text(pair: AnswerPair, first: Side, title: str) -> str:
    """Return prompt and answers for people. Each line of them stands behind a bar.

    So no text can look like a frame, a heading or another answer.
    """
    a, b = pair.champion, pair.candidate
    if first == "candidate":
        a, b = b, a
    lines = ["", f"── {title} " + "─" * max(0, WIDTH - len(title) - 4)]
    for message in pair.messages:
        lines += [f"{printable(str(message.get('role', '')))}:", *_fenced(message.get("content"))]
    if pair.reference:
        lines += ["a good answer:", *_fenced(pair.reference)]
    lines += ["", "A", *_fenced(a), "", "B", *_fenced(b), ""]
    if a == b:
        lines.append("(both answers are the same)")
    return "\n".join(lines)


def _ask(terminal: Terminal, first: Side) -> Word | None:
    while True:
        typed = terminal.ask(KEYS)
        if typed is None or typed.strip().lower() in ("q", "quit"):
            return None
        word = decode(typed, first)
        if word is not None:
            return word
        terminal.tell("one of a, b, t, s, u, q")


def _fenced(content: object) -> list[str]:
    text = content if isinstance(content, str) else "" if content is None else str(content)
    lines: list[str] = []
    for line in text.split("\n"):
        shown = printable(line, keep="\t").expandtabs(4)
        lines += textwrap.wrap(shown, WIDTH - 4, drop_whitespace=False) or [""]
    return [f"  │ {line}" for line in lines]
