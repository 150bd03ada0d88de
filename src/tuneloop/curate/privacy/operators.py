"""Names that are nobody's: whom the operator's own system prompt speaks of."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from tuneloop.curate.privacy.parts import Leaf, Part
from tuneloop.recognise.finding import Span
from tuneloop.recognise.persons import fold, tokens

SYSTEM = "system_prompt"


def forget_operators(leaves: list[Leaf], parts: list[Part]) -> None:
    """Take back names that stand in their row's system prompt and are no person's there.

    "Dear Larkwell" is a letter to the shop whose help desk it is. A system prompt that says
    "the user is Ann Lee" names a person: what is found in the prompt itself stays found.
    """
    rows = {leaf.row for leaf in leaves if any(map(_is_person, leaf.spans))}
    if not rows:
        return
    people: dict[int, set[str]] = defaultdict(set)
    for leaf in leaves:
        if leaf.field_name == SYSTEM:
            spans = filter(_is_person, leaf.spans)
            people[leaf.row] |= {_last(leaf, s) for s in spans}
    words: dict[int, set[str]] = defaultdict(set)
    wanted = np.fromiter(rows, np.int64, len(rows))
    for part in parts:
        for place in np.flatnonzero(np.isin(part.rows, wanted)).tolist():
            name = part.fields if isinstance(part.fields, str) else part.fields[place]
            if name == SYSTEM and (text := part.texts[place].as_py()):
                spoken = {word.strip(".,:;!?\"'()") for word in text.split()}
                words[int(part.rows[place])] |= {
                    fold(word) for word in spoken if word[:1].isupper()
                }
    for leaf in leaves:
        ours = words[leaf.row] - people[leaf.row]
        if ours:
            leaf.spans = [
                span for span in leaf.spans if not (_is_person(span) and _last(leaf, span) in ours)
            ]


def _last(leaf: Leaf, span: Span) -> str:
    """Return the last word of a name, folded."""
    return fold(tokens(leaf.text[span.start : span.end])[-1])


def _is_person(span: Span) -> bool:
    return span.kind == "person"
