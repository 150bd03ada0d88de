"""Times as people and programs write them, read to one moment in UTC or refused."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta, timezone
from email.utils import parsedate_to_datetime
from typing import Any

from tuneloop.lake.format import UnfitError

UNDATED = "2000-01-01T00:00:00+00:00"
"""The time of records that state none: before any language model answered anybody, so that
nothing that is dated is ever taken for older, and the same on every machine."""

FIRST_YEAR, LAST_YEAR = 1970, 2261  # nanoseconds since 1970 in 64 bits end in 2262
# Digits tell the unit: seconds reach 11 digits in 5138, milliseconds had 12 in 1973.
_UNITS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))
_LEAST_EPOCH_S = 1e8  # 1973: a smaller number is an index or a year, not a time
_NUMBER = re.compile(r"\d+(?:\.\d*)?(?:[eE]\+?\d{1,2})?")
_COMPACT = re.compile(r"(?:19|20)\d{6}(?:\d{6})?")  # 20240501, 20240501120000
_ZONE = re.compile(r"\s*(?:\b(?:UTC|GMT)|(?<=\d)[zZ]|([+-]\d\d):?(\d\d)(?:\s+\w+)?)$")
_PARTED = re.compile(r"(\d{1,4})([/.-])(\d{1,2})\2(\d{1,4})(?:,?[T\s]+(.+))?")
_CLOCK = re.compile(r"(\d{1,2}):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?\s*([AaPp][Mm])?")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = re.compile(rf"\b(?:{'|'.join(_MONTHS)})", re.I)
_SPELLED = re.compile(
    r"(?:[a-z]+,\s*)?(?:(?P<d>\d{1,2})(?:st|nd|rd|th)?[\s-]+(?P<m>[a-z]{3,9})\.?"
    r"|(?P<m2>[a-z]{3,9})\.?\s+(?P<d2>\d{1,2})(?:st|nd|rd|th)?)"
    r"[,\s-]+(?P<y>\d{4})(?:,?\s+(?:at\s+)?(?P<clock>\d.*))?", re.I,
)  # fmt: skip


def parse_time(value: Any) -> datetime:
    """Return the moment in UTC.

    Takes datetimes, ISO 8601 (with or without zone, `T` or a space), numbers since 1970 in
    seconds, milliseconds, microseconds or nanoseconds (told apart by their size; as text too),
    RFC 2822, `2024-05-01 12:00:00 UTC`, and dates with slashes, dots or dashes. Without a zone
    it is UTC. With dots the day comes first, as where such dates are written.

    Raises:
        UnfitError: `bad_time`, or `ambiguous_date` where day and month could be either.
    """
    try:
        moment = _read(value)
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError, TypeError) as error:
        raise UnfitError("bad_time", f"{str(value)[:80]!r} is no time: {error}") from error
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise UnfitError("bad_time", f"{str(value)[:80]!r} is not between 1970 and 2261")
    return moment


def _read(value: Any) -> datetime:
    if isinstance(value, str):
        return _read_text(value.strip())
    if isinstance(value, datetime):
        return value
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _since_1970(str(value))
    raise ValueError(f"a {type(value).__name__}")


def _read_text(text: str) -> datetime:
    if _NUMBER.fullmatch(text):
        return _since_1970(text)
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    body, zone = text, UTC
    if ":" in text and (found := _ZONE.search(text)):
        body = text[: found.start()]
        if found[1]:
            minutes = int(found[1]) * 60 + int(found[1][0] + found[2])
            zone = timezone(timedelta(minutes=minutes))
    try:
        return datetime.fromisoformat(body).replace(tzinfo=zone)
    except ValueError:
        pass
    if parted := _PARTED.fullmatch(body):
        return _from_parts(parted).replace(tzinfo=zone)
    if (spelled := _SPELLED.fullmatch(body)) and _month(spelled) in _MONTHS:
        month = _MONTHS.index(_month(spelled)) + 1
        day = int(spelled["d"] or spelled["d2"])
        return datetime(int(spelled["y"]), month, day, *_clock(spelled["clock"]), tzinfo=zone)
    if _MONTH.search(text):
        return parsedate_to_datetime(text)
    raise ValueError("it has no form that is known")


def _since_1970(text: str) -> datetime:
    if _COMPACT.fullmatch(text):
        return datetime.strptime(text, "%Y%m%d%H%M%S" if len(text) == 14 else "%Y%m%d")
    number = float(text)
    scale = next((scale for limit, scale in _UNITS if number < limit), None)
    if scale is None or number / scale < _LEAST_EPOCH_S:
        raise ValueError("as a number since 1970 it is out of range")
    if text.isdigit():  # whole microseconds, exactly
        microseconds = int(text) * 1_000_000 // int(scale)
    else:
        microseconds = round(number / scale * 1e6)
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)


def _from_parts(parted: re.Match[str]) -> datetime:
    first, mark, second, third = parted[1], parted[2], int(parted[3]), parted[4]
    if len(first) == 4:
        year, month, day = int(first), second, int(third)
    elif len(third) != 4:
        raise UnfitError("ambiguous_date", f"{parted[0]!r}: a year needs four digits")
    else:
        year, day, month = int(third), int(first), second
        if mark != "." and day != month:
            if day <= 12 and month <= 12:
                raise UnfitError("ambiguous_date", f"{parted[0]!r}: day or month first?")
            if month > 12:
                day, month = month, day
    return datetime(year, month, day, *_clock(parted[5]))


def _month(spelled: re.Match[str]) -> str:
    return (spelled["m"] or spelled["m2"])[:3].lower()


def _clock(text: str | None) -> tuple[int, int, int, int]:
    """Return hour, minute, second and microsecond; midnight where nothing is said."""
    if not text:
        return 0, 0, 0, 0
    clock = _CLOCK.fullmatch(text.strip())
    if not clock:
        raise ValueError("its time of day has no form that is known")
    hour = int(clock[1])
    if clock[5]:
        if not 1 <= hour <= 12:
            raise ValueError("a.m. and p.m. go from 1 to 12")
        hour = hour % 12 + (12 if clock[5].lower() == "pm" else 0)
    return hour, int(clock[2]), int(clock[3] or 0), int((clock[4] or "0").ljust(6, "0")[:6])
