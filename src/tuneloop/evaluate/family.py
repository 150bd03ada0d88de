"""Whether a judge is of the family of the models it judges."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Literal

from tuneloop.errors import ConfigError

_FAMILIES = (
    "smollm", "qwen", "llama", "gemma", "gemini", "mistral", "mixtral", "ministral", "phi",
    "gpt-oss", "gpt", "claude", "deepseek", "falcon", "olmo", "granite", "command", "yi", "glm",
    "kimi", "nemotron", "grok",
)  # fmt: skip
_ALIASES = {"mixtral": "mistral", "ministral": "mistral", "gpt-oss": "gpt"}


def family_of(name: str, folder: Path | None = None) -> str | None:
    """Return a model's family by its name, else by the kind of model in its folder."""
    for family in _FAMILIES:
        if re.search(rf"(?<![a-z]){family}(?![a-z])|(?<![a-z]){family}\d", name.lower()):
            return _ALIASES.get(family, family)
    config = folder / "config.json" if folder else None
    if config and config.is_file():
        kind = json.loads(config.read_text("utf-8")).get("model_type")
        return str(kind) if kind else None
    return None


def check_family(
    judge: tuple[str, Path | None],
    judged: tuple[str, Path | None],
    *,
    same: bool,
    policy: Literal["allow", "warn", "refuse"],
) -> str | None:
    """Return a warning where the judge is of the judged model's family, else None.

    Args:
        judge: Its name, and its folder where its weights are here.
        judged: The same of the model that answers.
        same: Whether their weights are the same.
        policy: What to do about it.

    Raises:
        ConfigError: where the policy is to refuse.
    """
    family = family_of(*judge)
    if policy == "allow" or not (same or (family and family == family_of(*judged))):
        return None
    what = "the base model itself" if same else f"of the base model's family ({family})"
    text = f"the judge {judge[0]} is {what}; judges prefer answers like their own"
    if policy == "refuse":
        raise ConfigError(
            [text], where="evaluate.judge.same_family", hint="name a judge of another family"
        )
    return text
