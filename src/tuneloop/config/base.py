"""The base every config section shares, and the kinds of text that must hold no secret."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Annotated, NamedTuple, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)
from pydantic_core import PydanticCustomError

CONFLICTS_LATER = "conflicts_later"  # context of a validation whose caller looks for conflicts
SECRET = "secret"  # type of an error whose input must not be shown
VARIABLE = r"^[A-Za-z_][A-Za-z0-9_]*$"
# A password in any address; over HTTP also a lone user, since tokens are given that way.
_CREDENTIALS = re.compile(r"^(?:https?://[^/?#]*@|[a-z][a-z0-9+.-]*://[^/?#]*:[^/?#]*@)", re.I)


class Conflict(NamedTuple):
    """Values, each right alone, that cannot be together."""

    keys: tuple[str | tuple[str, ...], ...]
    """The dotted keys that are read, below the section; the first written one is named. As a
    tuple of its parts where a part has dots itself."""
    message: str


class Section(BaseModel):
    """One section of the run config: frozen, typos fail, docstrings are the help texts."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,  # it may be a secret; loading shows what may be shown
    )

    def conflicts(self) -> Iterator[Conflict]:
        """Yield every combination of values, each right alone, that cannot be."""
        yield from ()

    @model_validator(mode="after")
    def _no_conflicts(self, info: ValidationInfo) -> Self:
        if not (info.context or {}).get(CONFLICTS_LATER):
            found = [conflict.message for conflict in self.conflicts()]
            if found:
                raise ValueError("\n".join(found))
        return self


def holds_credentials(address: str) -> bool:
    """Return whether an address holds a password or a token, which would be stored with a run."""
    return bool(_CREDENTIALS.match(address))


def _address(value: str) -> str:
    if holds_credentials(value):
        raise PydanticCustomError(SECRET, "Addresses are stored with the run: no user or password")
    return os.path.expanduser(value)


def _variable(value: object) -> object:
    if not (value is None or (isinstance(value, str) and re.fullmatch(VARIABLE, value))):
        raise PydanticCustomError(
            SECRET, "Give the NAME of an environment variable (such as OPENAI_API_KEY), not a key"
        )
    return value


Address = Annotated[str, AfterValidator(_address)]
"""A folder or URL without credentials; `~` is the home folder."""
VariableName = Annotated[str, Field(pattern=VARIABLE), BeforeValidator(_variable)]
"""The name of an environment variable, never what it holds."""
