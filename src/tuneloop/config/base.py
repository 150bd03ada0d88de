"""The base every config section shares."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, model_validator


class Section(BaseModel):
    """One section of the run config: frozen, typos fail, docstrings are the help texts."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    def conflicts(self) -> list[str]:
        """Return every combination of values, each right alone, that cannot be."""
        return []

    @model_validator(mode="after")
    def _no_conflicts(self) -> Self:
        found = self.conflicts()
        if found:
            raise ValueError("\n".join(found))  # loading reports each line by itself
        return self
