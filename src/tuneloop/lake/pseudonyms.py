"""Pseudonyms of people: keyed hashes, whose key lies outside everything that is stored."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from tuneloop.errors import DataError

KEY_VARIABLE = "TUNELOOP_SUBJECT_KEY"
FILE_VARIABLE = "TUNELOOP_SUBJECT_KEY_FILE"
PREFIX = "u-"
_LEAST_KEY_CHARS = 16
_CACHED = 100_000
# Shorter names ("1", "al") stand in other words and numbers by chance.
_LEAST_NAME_CHARS = 4

# Where a person's name lies in texts that could not be read as events: in a field called like
# one, closed by a quotation mark or cut off.
_NAMED = re.compile(
    r'"(?:[a-z_]*user_?(?:id|name|key|email)?|subject(?:_?(?:key|id))?|end_?user(?:_?id)?'
    r'|person(?:_?id)?|customer(?:_?id)?|client_?id|creator|created_?by|author|e?mail)"'
    r'\s*:\s*(?:"((?:[^"\\\x00-\x1f]|\\.)+)|(\d+))',
    re.I,
)
# And in fields that no format knows.
_PERSON = re.compile(
    r"(?:[\w.-]*[_.-])?(?:(?:end_?)?user|subject|person|customer|creator|author|reviewer|annotator)"
    r"(?:[_.-]?(?:id|key|name|email|login))?|created_?by|(?:[\w.-]*[_.-])?e?mail", re.I,
)  # fmt: skip
_OF_A_PERSON = re.compile(r"_?id|key|(?:user_?|full_?|first_?|last_?)?name|e?mail|login", re.I)
_ACTOR = re.compile(r'"actor"\s*:\s*\{[^{}]*?"id"\s*:\s*"((?:[^"\\\x00-\x1f]|\\.)+)', re.I)


class Pseudonyms:
    """What a person is called in the lake: `u-` and 24 hex digits of HMAC-SHA256.

    The same person of the same tenant always has the same one; without the key none can be
    made or checked. The tenant is in the message, so that tenants cannot be joined.

    Args:
        key: The secret.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._known: dict[tuple[str, str], str] = {}

    def __call__(self, tenant: str, raw: str) -> str:
        """Return the pseudonym of the person whom the source calls `raw`."""
        known = self._known.get((tenant, raw))
        if known is None:
            message = f"{len(tenant)}:{tenant}:{raw}".encode("utf-8", "surrogatepass")
            known = PREFIX + hmac.new(self._key, message, hashlib.sha256).hexdigest()[:24]
            if len(self._known) >= _CACHED:
                self._known.clear()
            self._known[tenant, raw] = known
        return known

    @property
    def fingerprint(self) -> str:
        """Tells keys apart and says nothing of them."""
        return hmac.new(self._key, b"fingerprint", hashlib.sha256).hexdigest()[:16]

    @classmethod
    def from_environment(cls) -> Pseudonyms:
        """Return those of this machine's key, which is made at first use.

        The key is `TUNELOOP_SUBJECT_KEY`, else what is in the file `TUNELOOP_SUBJECT_KEY_FILE`,
        by default `~/.config/tuneloop/subject.key`.

        Raises:
            DataError: if the key is too short, readable by others, or within a store.
        """
        if key := os.environ.get(KEY_VARIABLE):
            return cls(_checked(key, where=KEY_VARIABLE))
        path = Path(os.environ.get(FILE_VARIABLE) or "~/.config/tuneloop/subject.key").expanduser()
        if inside := _store_around(path):
            raise DataError(
                f"the key of the pseudonyms lies inside a store ({inside})",
                where=str(path),
                hint=f"whoever has the store could name the people: set {FILE_VARIABLE}",
            )
        _make(path)
        if path.stat().st_mode & 0o077:
            raise DataError(
                "others may read the key of the pseudonyms",
                where=str(path),
                hint=f"chmod 600 {path}",
            )
        return cls(_checked(path.read_text(encoding="utf-8").strip(), where=str(path)))


def _checked(key: str, *, where: str) -> bytes:
    if len(key) < _LEAST_KEY_CHARS:
        raise DataError(
            f"the key of the pseudonyms has fewer than {_LEAST_KEY_CHARS} characters", where=where
        )
    return key.encode()


def _make(path: Path) -> None:
    """Write a new key, whole or not at all; leave one alone that is there."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_hex(32) + "\n")
    try:
        os.link(partial, path)  # unlike a rename, never over another process's key
    except FileExistsError:
        pass
    finally:
        partial.unlink()


def _store_around(path: Path) -> Path | None:
    """Return the store or table a path lies in, or None."""
    for folder in path.resolve().parents:
        if (folder / "_delta_log").is_dir():
            return folder
        if (folder / "manifests").is_dir() and (folder / "blobs").is_dir():
            return folder
    return None


# -- wherever else the name stands ------------------------------------------------------
def replaced(value: Any, names: Mapping[str, str]) -> Any:
    """Return a JSON value with every name of a person replaced, in keys, texts and numbers.

    Names of fewer than four characters are replaced where they are all of a value.
    """
    if isinstance(value, str):
        return _replaced_text(value, names)
    if isinstance(value, dict):
        return {_replaced_text(str(k), names): replaced(v, names) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [replaced(v, names) for v in value]
    if isinstance(value, int) and not isinstance(value, bool) and len(str(value)) > 3:
        return names.get(str(value), value)
    return value


def _replaced_text(text: str, names: Mapping[str, str]) -> str:
    for name, pseudonym in names.items():
        if text == name:
            return pseudonym
        if len(name) >= _LEAST_NAME_CHARS and name in text:
            text = re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", pseudonym, text)
    return text


def hashed(value: Any, name: Callable[[str], str], *, person: bool = False) -> Any:
    """Return a JSON value with what stands in fields called like a person replaced.

    Args:
        value: Fields no format knows.
        name: Returns the pseudonym of a name.
        person: Whether the value itself describes a person (`{"user": {"id": …}}`).
    """
    if isinstance(value, list):
        return [hashed(one, name, person=person) for one in value]
    if not isinstance(value, dict):
        return value
    found = {}
    for key, held in value.items():
        named = _PERSON.fullmatch(key) or (person and _OF_A_PERSON.fullmatch(key))
        if named and isinstance(held, str | int) and not isinstance(held, bool) and held != "":
            text = str(held)
            found[key] = text if text.startswith(PREFIX) else name(text)
        else:
            found[key] = hashed(held, name, person=bool(_PERSON.fullmatch(key)))
    return found


def named_in(raw: str) -> set[str]:
    """Return what stands in a raw text where people are named."""
    found = {match[1] or match[2] for match in _NAMED.finditer(raw)}
    return found | {match[1] for match in _ACTOR.finditer(raw)}


def without_names(text: str, names: Iterable[str], pseudonyms: Pseudonyms, tenant: str) -> str:
    """Return a raw text with the names of people replaced; cut-off ones at its end too."""
    for name in sorted(names, key=len, reverse=True):
        pseudonym = pseudonyms(tenant, name)
        if len(name) >= _LEAST_NAME_CHARS:
            text = text.replace(name, pseudonym)
        else:
            text = re.sub(rf'(?<=[":]){re.escape(name)}(?=["\s,}}]|$)', pseudonym, text)
    return text
