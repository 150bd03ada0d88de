"""One record's bytes: parsed within bounds, or refused with a reason."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from pydantic_core import from_json

from tuneloop.lake.format import Record, UnfitError

MAX_RECORD_BYTES = 16 * 1024 * 1024
RAW_BYTES = 8_000
"""How much of a record that is refused is looked at."""

# Numbers beyond 1e308 parse as infinity. To find them in a microsecond: digits become 0 and
# exponents e, so that three literal searches do.
_SHAPE = bytes(
    ord("0") if 48 <= c < 58 else ord("e") if c in b"eE" else c if c == ord("+") else 1
    for c in range(256)
)
_LONG = b"0" * 200


class Item(NamedTuple):
    """One record of a source, or why there is none."""

    number: int
    """Line, element or row, from 1."""
    record: Record | None
    raw: bytes
    """Its bytes, or the beginning of them."""
    refused: UnfitError | None = None


def parse_item(number: int, raw: bytes, *, complete: bool) -> Item:
    """Return the record, or the item that says what is wrong with it."""
    try:
        return Item(number, parse_record(raw, complete=complete), raw)
    except UnfitError as unfit:
        return Item(number, None, raw[:RAW_BYTES], unfit)


def parse_record(raw: bytes, *, complete: bool = True) -> Record:
    """Return a JSON object. Of a name that is there twice, the last value counts.

    Raises:
        UnfitError: `too_long`, `bad_encoding`, `bad_json`, `too_deep` or `not_an_object`.
    """
    if not complete:
        raise UnfitError("too_long", f"it has more than {MAX_RECORD_BYTES} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UnfitError("bad_encoding", f"byte {error.start} is not UTF-8") from error
    try:
        data: Any = from_json(text, allow_inf_nan=False)
        shape = raw.translate(_SHAPE)
        if b"0e000" in shape or b"0e+000" in shape or _LONG in shape:
            json.dumps(data, allow_nan=False)
    except ValueError as error:
        reason = "too_deep" if "recursion limit" in str(error) else "bad_json"
        raise UnfitError(reason, str(error)) from error
    if not isinstance(data, dict):
        raise UnfitError("not_an_object", f"it is a JSON {type(data).__name__}")
    return data
