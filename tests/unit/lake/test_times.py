"""Times in the forms people write them: one moment, or refused."""

from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuneloop.lake.format import UnfitError
from tuneloop.lake.times import UNDATED, parse_time

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "written",
    [
        "2024-05-01T12:00:00Z", "2024-05-01T14:00:00+02:00", "2024-05-01T12:00:00",
        "2024-05-01 12:00:00", "2024-05-01 12:00:00.000", "20240501T120000Z",
        "2024-05-01 12:00:00 UTC", "2024-05-01 12:00:00 GMT", "2024-05-01 14:00:00 +0200",
        "2024-05-01 12:00:00 +0000 UTC", "2024-05-01T12:00:00.000000000Z", " 2024-05-01T12:00Z ",
        1714564800, 1714564800.0, 1714564800_000, 1714564800_000_000, 1714564800_000_000_000,
        "1714564800", "1714564800.0", "1714564800000", "1714564800000000", "1714564800000000000",
        "1.7145648e9", "Wed, 01 May 2024 12:00:00 GMT", "Wed, 01 May 2024 14:00:00 +0200",
        "01 May 2024 12:00:00 +0000", "Wed May  1 12:00:00 2024", "20240501120000",
        "2024/05/01 12:00:00", "2024/5/1 12:00", "1.5.2024 12:00", "01.05.2024 12:00:00",
        "2024/05/01 14:00:00 +02:00", "2024/05/01 12:00 PM", datetime(2024, 5, 1, 12),
        datetime(2024, 5, 1, 14, tzinfo=timezone(timedelta(hours=2))),
    ],
)  # fmt: skip
def test_noon(written):
    assert parse_time(written) == NOON
    assert parse_time(written).tzinfo is UTC


@pytest.mark.parametrize(
    ("written", "day"),
    [
        ("13/05/2024", 13), ("05/13/2024", 13), ("05/05/2024", 5), ("31-05-2024", 31),
        ("2024/05/06", 6), ("6.5.2024", 6), ("20240506", 6), (date(2024, 5, 6), 6),
    ],
)  # fmt: skip
def test_days(written, day):
    assert parse_time(written) == datetime(2024, 5, day, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("05/06/2024", "ambiguous_date"), ("05-06-2024 10:00", "ambiguous_date"),
        ("05/06/24", "ambiguous_date"), ("13/13/2024", "bad_time"), ("2024-13-01", "bad_time"),
        ("yesterday", "bad_time"), ("", "bad_time"), ("2024", "bad_time"), (0, "bad_time"),
        (7, "bad_time"), (-1714564800, "bad_time"), (float("nan"), "bad_time"),
        (float("inf"), "bad_time"), (10**30, "bad_time"), (True, "bad_time"), (None, "bad_time"),
        ([], "bad_time"), ("0001-01-01T00:00:00+14:00", "bad_time"), ("9999-01-01", "bad_time"),
        ("2024-05-01T25:00:00", "bad_time"), ("12:00", "bad_time"), ("Mayday", "bad_time"),
        ("2024-05-01 12:00:00 EST5", "bad_time"), ("1/1/2024 13:00 PM", "bad_time"),
        ("1" * 400, "bad_time"), ("1e99", "bad_time"),
    ],
)  # fmt: skip
def test_refused(written, reason):
    with pytest.raises(UnfitError) as caught:
        parse_time(written)
    assert caught.value.reason == reason


@settings(deadline=None)  # the first call imports pandas
@given(st.datetimes(datetime(1974, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC)))
def test_units_agree_with_pandas(moment):
    pd = pytest.importorskip("pandas")
    stamp = pd.Timestamp(moment).value  # nanoseconds
    assert parse_time(moment.isoformat()) == moment
    assert parse_time(stamp // 1000 if moment.year > 1976 else moment) == moment
    assert parse_time(stamp // 10**9) == moment.replace(microsecond=0)
    if moment.year > 1976:  # before, milliseconds have as many digits as seconds of 5138
        assert parse_time(str(stamp)) == moment
        assert parse_time(stamp // 10**6) == moment.replace(
            microsecond=moment.microsecond // 1000 * 1000
        )


@given(st.text(max_size=30) | st.floats() | st.integers())
def test_anything_is_a_time_in_range_or_refused(value):
    try:
        assert 1970 <= parse_time(value).year <= 2261
    except UnfitError:
        pass


def test_the_undated_are_older_than_anything_that_happens():
    assert parse_time(UNDATED) == datetime(2000, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("May 1, 2024", "2024-05-01T00:00:00"),
        ("May 1st, 2024 3:30 PM", "2024-05-01T15:30:00"),
        ("1 May 2024", "2024-05-01T00:00:00"),
        ("01-May-2024 12:00:00", "2024-05-01T12:00:00"),
        ("1 May 2024 12:00 UTC", "2024-05-01T12:00:00"),
        ("Wednesday, May 1, 2024 at 14:05", "2024-05-01T14:05:00"),
        ("Sept. 3, 2024", "2024-09-03T00:00:00"),
    ],
)
def test_months_in_words(text, wanted):
    assert parse_time(text).isoformat() == wanted + "+00:00"


@pytest.mark.parametrize("text", ["Foo 3, 2024", "May 32, 2024", "May 2024", "3 May 24"])
def test_words_that_are_no_date(text):
    with pytest.raises(UnfitError):
        parse_time(text)
