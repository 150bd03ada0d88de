"""Which format a file is in, told from the fields of its first records."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

from tuneloop.errors import DataError
from tuneloop.lake.format import Format, Record, Source, UnfitError, formats
from tuneloop.lake.parsing import Item

AUTO = "auto"
N_RECORDS = 20
N_LOOKED_AT = 200
"""So many are read to find those; a file that begins with more broken ones is not guessed at."""

_ENOUGH = 0.5
_EQUAL = 0.05
_CLOSE = 0.3


@dataclass(frozen=True)
class Recognised:
    """What a file was taken for.

    Attributes:
        format: The format.
        note: Why, for people; empty where they named it.
    """

    format: Format
    note: str = ""


def named(name: str) -> Format:
    """Return the format of this name.

    Raises:
        DataError: if there is none.
    """
    if name not in formats():
        raise DataError(f"{name!r} is no format", where="--format", hint=_names())
    return formats()[name]


def best_fit(record: Record) -> tuple[float, bool]:
    """Return how surely any format takes the record, and whether that one has records within."""
    one = max(formats().values(), key=lambda one: one.recognise(record))
    return one.recognise(record), one.split is not None


def recognise(items: Iterable[Item], *, where: str) -> Recognised:
    """Return the format whose fields the first records have.

    Raises:
        DataError: if none fits, several fit as well, or none of the records could be read.
    """
    looked_at = list(islice(items, N_LOOKED_AT))
    if not looked_at:
        return Recognised(named("native"), "empty: an array or a table without records")
    records = [item.record for item in looked_at if item.record is not None][:N_RECORDS]
    if not records:
        refused = next((item.refused for item in looked_at if item.refused), None)
        raise DataError(
            f"its format is unknown: no record could be read ({refused})",
            where=where,
            hint=f"--format names one: {_names()}",
        )
    scores = sorted(
        ((sum(map(one.recognise, records)) / len(records), one) for one in formats().values()),
        key=lambda scored: (-scored[0], scored[1].name),
    )
    (best, first), (next_best, second) = scores[0], scores[1]
    if best < _ENOUGH:
        fields = ", ".join(sorted(records[0])[:12])
        least, against = scores[-1]  # a format may say that it must not be this one
        near = against if least < 0 else first if best else None
        nearest = f"; nearest is {near.name}{_why_not(near, records)}" if near else ""
        raise DataError(
            f"its format is unknown{nearest}: the first record has {fields or 'no fields'}",
            where=where,
            hint=f"--format names one: {_names()}",
        )
    if best - next_best < _EQUAL:
        equal = [one.name for score, one in scores if best - score < _EQUAL]
        raise DataError(
            f"its format is ambiguous: it fits {' and '.join(equal)} as well",
            where=where,
            hint=f"say which with --format {equal[0]}",
        )
    note = f"taken for {first.name} ({first.title}): {best:.0%} of its fields"
    if best - next_best < _CLOSE:
        note += f"; not for {second.name}, which has {next_best:.0%}"
    return Recognised(first, note)


def _why_not(one: Format, records: list[Record]) -> str:
    source = Source("")
    for record in records:
        try:
            list(one.convert(record, source))
        except UnfitError as unfit:
            return f" ({unfit})"
        except Exception:  # noqa: S112 - as good as any reason to look at the next record
            continue
    return ""


def _names() -> str:
    return ", ".join(formats())
