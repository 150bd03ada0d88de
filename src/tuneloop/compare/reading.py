"""Judgments from a file of JSON lines: checked, each once, every mistake with its line."""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from tuneloop.errors import DataError

_SHOWN = 10
_SCALAR = str | int | float | bool | None


class Judgment(msgspec.Struct, frozen=True):
    """One comparison of two answers in one order by one judge; other fields are left aside."""

    prompt_id: str | int
    preference: float | None = None
    sample: int | float = 0
    cluster: str | int | None = None
    slice: dict[str, _SCALAR] | None = None
    judge: str | None = None
    candidate_position: Literal["first", "second"] | None = None
    status: str | None = "ok"
    candidate_chars: float | None = None
    champion_chars: float | None = None
    human: float | None = None
    label_probability: float | None = None
    comparison: str | None = None

    @property
    def identity(self) -> tuple[str | None, str, str, str, float]:
        """What two rows must differ in to be two judgments."""
        position = self.candidate_position or ""
        prompt = str(self.prompt_id)
        return self.comparison, prompt, position, self.judge or "", float(self.sample)

    @property
    def missing(self) -> str | None:
        """Why there is no usable preference, or None."""
        if self.status not in (None, "ok"):
            return self.status
        return "no preference" if self.preference is None else None


def read_judgments(source: str) -> list[Judgment]:
    """Return the judgments of a file (plain or .gz; `-` is standard input), each once.

    Sorted by identity, so that nothing that follows depends on the order of the lines.

    Raises:
        DataError: naming every line that is no judgment, or two lines that contradict.
    """
    return parse_judgments(_lines(source), source="stdin" if source == "-" else source)


def parse_judgments(lines: Iterable[bytes], *, source: str) -> list[Judgment]:
    """Return the judgments of JSON lines, each once, sorted by identity.

    Raises:
        DataError: naming every line that is no judgment, or two lines that contradict.
    """
    decoder = msgspec.json.Decoder(Judgment)
    found: dict[tuple[str | None, str, str, str, float], tuple[int, Judgment]] = {}
    problems: list[str] = []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            judgment = decoder.decode(line)
            wrong = _wrong(judgment)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            wrong = f"{error}"
        if wrong:
            problems.append(f"line {number}: {wrong}")
            continue
        before = found.setdefault(judgment.identity, (number, judgment))
        if _content(before[1]) != _content(judgment):
            fields = ", ".join(_differing(before[1], judgment))
            problems.append(
                f"lines {before[0]} and {number} are the same judgment (prompt"
                f" {judgment.prompt_id!r}, order, judge and sample) and differ in {fields}"
            )
    if problems:
        shown = problems[:_SHOWN]
        more = [f"and {len(problems) - _SHOWN} more"] if len(problems) > _SHOWN else []
        raise DataError(
            "\n  ".join([f"{len(problems)} lines are no judgments", *shown, *more]),
            where=source,
            hint="docs/reference/compare.md lists the fields; rows of one prompt, order and judge"
            " need a `sample` each",
        )
    judgments = [found[key][1] for key in sorted(found, key=lambda k: (k[0] or "", *k[1:]))]
    _same_for_a_prompt(found.values(), source)
    return judgments


def select(judgments: list[Judgment], comparison: str | None, *, source: str) -> list[Judgment]:
    """Return the judgments of one comparison.

    Raises:
        DataError: if the file holds several and none is named, or none of that name.
    """
    names = sorted({j.comparison or "" for j in judgments})
    if comparison is None:
        if len(names) > 1:
            shown = ", ".join(repr(n) for n in names[:_SHOWN])
            raise DataError(
                f"the file holds {len(names)} comparisons: {shown}",
                where=source,
                hint="name one with --comparison",
            )
        return judgments
    found = [j for j in judgments if j.comparison == comparison]
    if not found:
        raise DataError(
            f"no row has the comparison {comparison!r}",
            where=source,
            hint=f"it has: {', '.join(names[:_SHOWN])}",
        )
    return found


def _lines(source: str) -> Iterator[bytes]:
    if source == "-":
        yield from _without_mark(sys.stdin.buffer)
        return
    path = Path(source)
    try:
        with path.open("rb") as raw:
            zipped = raw.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if zipped else path.open("rb") as file:
            yield from _without_mark(file)
    except FileNotFoundError:
        raise DataError("there is no such file", where=source) from None
    except (OSError, EOFError) as error:
        raise DataError(f"it cannot be read: {error}", where=source) from error


def _without_mark(lines: Iterable[bytes]) -> Iterator[bytes]:
    for number, line in enumerate(lines):
        yield line.removeprefix(b"\xef\xbb\xbf") if number == 0 else line


def _wrong(judgment: Judgment) -> str | None:
    """Return what is wrong with values of the right types, or None."""
    for name in ("preference", "human"):
        value = getattr(judgment, name)
        if value is not None and not 0 <= value <= 1:
            return f"{name} is {value}, outside 0 to 1"
    for name in ("candidate_chars", "champion_chars"):
        value = getattr(judgment, name)
        if value is not None and value < 0:
            return f"{name} is {value}, below 0"
    probability = judgment.label_probability
    if probability is not None and not 0 < probability <= 1:
        return f"label_probability is {probability}, outside 0 to 1"
    if str(judgment.prompt_id) == "":
        return "prompt_id is empty"
    return None


def _content(judgment: Judgment) -> dict[str, object]:
    found = msgspec.structs.asdict(judgment)
    found["prompt_id"], found["status"] = str(judgment.prompt_id), judgment.status or "ok"
    found["cluster"] = None if judgment.cluster is None else str(judgment.cluster)
    return found


def _differing(one: Judgment, other: Judgment) -> list[str]:
    a, b = _content(one), _content(other)
    return [name for name in a if a[name] != b[name]]


def _same_for_a_prompt(rows: Iterable[tuple[int, Judgment]], source: str) -> None:
    """Refuse a prompt that lies in two clusters, or on both sides of a slice."""
    seen: dict[tuple[str | None, str], tuple[int, Judgment]] = {}
    for number, judgment in rows:
        key = judgment.comparison, str(judgment.prompt_id)
        first = seen.setdefault(key, (number, judgment))
        for name in ("cluster", "slice"):
            if _content(first[1])[name] != _content(judgment)[name]:
                raise DataError(
                    f"lines {first[0]} and {number} give prompt {judgment.prompt_id!r} two values"
                    f" of {name}: {getattr(first[1], name)!r} and {getattr(judgment, name)!r}",
                    where=source,
                    hint="cluster and slice belong to the prompt: one value on all its rows",
                )
