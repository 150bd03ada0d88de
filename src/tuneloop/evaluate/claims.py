"""An answer taken apart into claims: its sentences, points of lists and rows of tables."""

from __future__ import annotations

import regex

_MARK = regex.compile(r"^\s*(?:[-*+•>|]+|#{1,6}|\(?\d{1,3}[.)]|\(?[a-z][.)])\s+")
_RULE = regex.compile(r"^[\s|:*_=-]*$")
# A full stop ends a sentence where a capital, a digit or an opening mark follows, and what stands
# before it is no initial and no common abbreviation.
_END = regex.compile(
    r"(?<=[.!?][\"'”’)\]]*)(?<!\b(?:\p{Lu}|(?i:e\.g|i\.e|vs|cf|approx|nr|dr|mr|mrs|ms|st|z\.\s?b|"
    r"ca|bzw))\.)\s+(?=[\p{Lu}\p{N}\"“'‘(\[])|(?<=[。！？])"
)
_CITED = regex.compile(r"\s*\[[^\[\]\n]{1,80}\](?!\()")
MAX_CLAIMS = 40
"""What an answer says beyond so many sentences is not asked about: the check is then missing."""


def claims_of(text: str) -> list[str]:
    """Return the sentences of an answer, in order, without list marks and citations.

    Whether a sentence claims anything is the judge's to say; those without a letter or a digit
    are left out.
    """
    found: list[str] = []
    for line in text.splitlines():
        if _RULE.match(line):
            continue
        plain = _MARK.sub("", line).strip().strip("|").strip()
        found += [_CITED.sub("", part).strip() for part in _END.split(plain)]
    return [claim for claim in found if regex.search(r"[\p{L}\p{N}]", claim)]
