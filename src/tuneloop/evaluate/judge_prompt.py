"""What a judge reads: versioned prompt files, with answers fenced as data.

The fixed part stands first, so that a server caches it once for all comparisons. Answers stand
between tags whose number depends on all of their text, so that no answer can know it; what could
close a tag all the same, or open a chat turn, is made harmless.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import regex

from tuneloop.artefacts.digest import digest_file, digest_json

if TYPE_CHECKING:
    from jinja2 import Template

PROMPTS = Path(__file__).parent / "prompts"
VERDICT = "Verdict:"
Messages = list[dict[str, str]]

_FENCE = regex.compile(
    r"<(?=\s*/?\s*(?:task|reference|requirement|answer|chunk|claim|source)s?(?![a-z]))",
    regex.IGNORECASE,
)
# Chat templates of common models; a tokenizer would read these as turns, not as text.
_TURN = regex.compile(
    r"<(?=\||｜|/?s>|<\s*/?\s*SYS|(?:start|end)_of_turn>|/?(?:unk|pad|bos|eos|cls|sep|mask)>"
    r"|/?think(?:ing)?>|/?tool_(?:call|response)s?>|/?im_(?:start|end))"
    r"|\[(?=/?(?:INST|SYSTEM_PROMPT|TOOL_CALLS|AVAILABLE_TOOLS|TOOL_RESULTS)\])"
    r"|(?<=^|\n)\s*(?:\u0023{2,}\s*)?(?:system|assistant|user|human|instruction)s?\K:(?=\s*(?:\n|$))",
    regex.IGNORECASE,
)
_MARKS = {"<": "\u2039", "[": "\u27e6", ":": "\ua789"}
# Characters nobody sees: tag letters, direction marks, zero-width spaces. Joiners stay: scripts
# and emoji are written with them.
_UNSEEN = regex.compile(r"[\U000e0000-\U000e007f\u202a-\u202e\u2066-\u2069\u200b\u2060\ufeff]")


def neutralise(text: str) -> str:
    """Return `text` with nothing in it that closes a fence, opens a chat turn or is invisible."""
    seen: str = _UNSEEN.sub("", text)
    fenced: str = _FENCE.sub(_MARKS["<"], seen)
    harmless: str = _TURN.sub(lambda found: _MARKS[found.group()[-1]], fenced)
    return harmless


def fence_number(texts: Sequence[str]) -> str:
    """Return the number in the tags round these texts; their order does not change it."""
    return digest_json(sorted(texts))[:12]


def render(name: str, answers: Sequence[str], values: Mapping[str, Any]) -> Messages:
    """Return the messages of one question.

    Args:
        name: A prompt file, without its suffix: what is asked, and its version.
        answers: The untrusted texts the prompt fences, in the order shown: `first`, `second`.
        values: What else the prompt names. Texts are made harmless; `rubric` is ours.
    """
    number = fence_number(answers)

    def fence(tag: str, text: str) -> str:
        return f"<{tag}-{number}>\n{text}\n</{tag}-{number}>"

    safe = {
        key: neutralise(value) if isinstance(value, str) and key != "rubric" else value
        for key, value in values.items()
    }
    shown = dict(zip(("first", "second"), (neutralise(text) for text in answers), strict=False))
    template = _template(name)
    context = template.new_context({**safe, **shown, "fence": fence})
    return [
        {"role": role, "content": "".join(template.blocks[role](context)).strip()}
        for role in ("system", "user")
    ]


def task_text(messages: Sequence[Mapping[str, str]]) -> str:
    """Return the conversation that was to be answered, a line a turn."""
    return "\n".join(f"{m['role']}: {m['content']}" for m in messages)


def prompt_digest(name: str) -> str:
    """Return the SHA-256 of a prompt file and of how texts are fenced in it."""
    rules = [_FENCE.pattern, _TURN.pattern, _UNSEEN.pattern, VERDICT]
    return digest_json([digest_file(PROMPTS / f"{name}.j2"), rules])


@functools.cache
def _template(name: str) -> Template:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Not escaped for HTML: the reader is a model.
    environment = Environment(
        loader=FileSystemLoader(PROMPTS),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701
    )
    return environment.get_template(f"{name}.j2")
