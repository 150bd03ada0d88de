"""How different people write: the same wording through different hands."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

VOICES = {
    "plain": 0.28, "lowercase": 0.17, "typos": 0.13, "text_speak": 0.08,
    "formal": 0.08, "non_native": 0.1, "chatty": 0.1, "shouting": 0.06,
}  # fmt: skip
"""Voices and the share of people who write so."""

_SHORT = {
    "you": "u", "your": "ur", "please": "pls", "are": "r", "because": "cos", "thanks": "thx",
    "thank you": "ty", "to": "2", "for": "4", "and": "n", "with": "w", "tomorrow": "tmrw",
    "what": "wat", "before": "b4", "something": "smth", "order": "ordr", "message": "msg",
    "really": "rly", "address": "addr", "password": "pw", "account": "acc", "today": "2day",
}  # fmt: skip
_LONG = {
    "can't": "cannot", "won't": "will not", "don't": "do not", "doesn't": "does not",
    "isn't": "is not", "wasn't": "was not", "I'm": "I am", "I've": "I have", "it's": "it is",
    "It's": "It is", "didn't": "did not", "haven't": "have not", "there's": "there is",
    "There's": "There is", "hasn't": "has not", "you've": "you have", "I'd": "I would",
    "that's": "that is", "That's": "That is", "we're": "we are", "We're": "We are",
}  # fmt: skip
_FOREIGN: list[tuple[str, str, float]] = [
    (r"\b(the|a|an) ", "", 0.45),
    (r"\b(I|we) have (\w+ed)\b", r"\1 \2", 0.6),
    (r"\bdidn't (\w+)", r"not \1", 0.5),
    (r"\b(doesn't|don't)\b", "not", 0.4),
    (r"\bit (is|was)\b", r"\1", 0.5),
    (r"\bfor (\w+ (?:weeks|days))\b", r"since \1", 0.7),
    (r"\bCan you\b", "You can", 0.6),
    (r"\bany (more|news)\b", r"\1", 0.4),
    (r"\bI'm\b", "I am", 0.8),
]  # voices of people who write English as a second or third language
_FILLERS = ["honestly", "you know", "well", "I mean", "to be fair", "lol", "haha", "actually"]
_NEIGHBOURS = {
    "a": "s", "e": "r", "i": "o", "o": "p", "t": "y", "n": "m", "s": "d", "r": "t", "l": "k",
    "d": "f", "c": "v", "u": "i", "m": "n", "h": "j", "g": "h", "b": "v", "p": "o", "y": "t",
}  # fmt: skip


def speak(voice: str, text: str, rng: random.Random) -> str:
    """Return `text` as somebody with this voice writes it."""
    return _VOICE[voice](text, rng)


def draw_voice(rng: random.Random) -> str:
    """Return a voice by its share."""
    return rng.choices(list(VOICES), list(VOICES.values()))[0]


def _plain(text: str, rng: random.Random) -> str:
    return text


def _lowercase(text: str, rng: random.Random) -> str:
    text = text.lower()
    if rng.random() < 0.6:
        text = text.replace("'", "")
    if rng.random() < 0.5:
        text = re.sub(r"[.!,](?=\s|$)", "", text)
    return text.rstrip(".")


def _typos(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    for _ in range(max(1, len(words) // 10)):
        at = rng.randrange(len(words))
        if words[at].isalpha() and len(words[at]) > 3:
            words[at] = _mistype(words[at], rng)
    return " ".join(words)


def _mistype(word: str, rng: random.Random) -> str:
    i = rng.randrange(1, len(word) - 1)
    kind = rng.randrange(4)
    if kind == 0:
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    if kind == 1:
        return word[:i] + word[i + 1 :]
    if kind == 2:
        return word[:i] + word[i] + word[i:]
    return word[:i] + _NEIGHBOURS.get(word[i], word[i]) + word[i + 1 :]


def _text_speak(text: str, rng: random.Random) -> str:
    text = text.lower()
    for long, short in _SHORT.items():
        if rng.random() < 0.55:
            text = re.sub(rf"\b{long}\b", short, text)
    return re.sub(r"[.,'](?=\s|$|\w)", "", text) if rng.random() < 0.7 else text


def _formal(text: str, rng: random.Random) -> str:
    for short, long in _LONG.items():
        text = re.sub(rf"\b{short}\b", long, text)
    text = text.replace("!", ".").replace("??", "?")
    head = rng.choice(["Dear Sir or Madam,", "Dear customer service,", "Good day,", ""])
    foot = rng.choice(["Yours faithfully", "Yours sincerely", "With kind regards", "", ""])
    return " ".join(part for part in (head, text, foot) if part)


def _non_native(text: str, rng: random.Random) -> str:
    for pattern, replacement, chance in _FOREIGN:
        if rng.random() < chance:
            text = re.sub(pattern, replacement, text)
    return text


def _chatty(text: str, rng: random.Random) -> str:
    sentences = re.split(r"(?<=[.?!]) ", text)
    at = rng.randrange(len(sentences))
    filler = rng.choice(_FILLERS)
    sentence = sentences[at]
    if not sentence.startswith(("I ", "I'", "LW")):
        sentence = sentence[:1].lower() + sentence[1:]
    sentences[at] = f"{filler.capitalize()}, {sentence}" if rng.random() < 0.7 else sentences[at]
    return " ".join(sentences) + rng.choice(["", " :)", " xx", "...", " haha", ""])


def _shouting(text: str, rng: random.Random) -> str:
    if rng.random() < 0.5:
        return text.upper()
    words = text.split(" ")
    for at in rng.sample(range(len(words)), k=min(2, len(words))):
        words[at] = words[at].upper()
    return " ".join(words).rstrip(".?") + rng.choice(["!!", "!!!", "?!", "!"])


_VOICE: dict[str, Callable[[str, random.Random], str]] = {
    "plain": _plain, "lowercase": _lowercase, "typos": _typos, "text_speak": _text_speak,
    "formal": _formal, "non_native": _non_native, "chatty": _chatty, "shouting": _shouting,
}  # fmt: skip
