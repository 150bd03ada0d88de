"""Pairs of answers for people to compare."""

from tuneloop.label.pairs import AnswerPair


def pairs(n=40, slices=None, share=None):
    """Return n pairs, undecided unless `share` says otherwise."""
    return [
        AnswerPair(
            f"p{i}", [{"role": "user", "content": f"q{i}"}], f"old {i}", f"new {i}",
            share(i) if share else 0.5, frozenset(slices(i) if slices else ()),
        )
        for i in range(n)
    ]  # fmt: skip
