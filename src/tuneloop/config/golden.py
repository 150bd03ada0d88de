"""Config of the golden set and of what keeps it out of training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from tuneloop.config.base import Section


class GoldenConfig(Section):
    """The held-out prompts."""

    path: str
    """A golden JSON-lines file; relative to the file that names it."""


class EncoderConfig(Section):
    """The model that turns texts into vectors of meaning; runs here, offline."""

    model: str = "all-MiniLM-L6-v2"
    """A folder, a hub id, or `all-MiniLM-L6-v2`: the copy installed with the extra `semantic`."""
    max_tokens: int = Field(default=256, ge=8)
    """Texts are read this far, tokens; what all-MiniLM-L6-v2 was trained with."""
    threads: int | None = Field(default=None, ge=1)
    """CPU threads; None: what torch takes."""


class SemanticConfig(Section):
    """Duplicates by meaning: the same question in other words."""

    enabled: bool = False
    """Join the clusters of questions whose vectors are close. Off by default: encoding takes
    about 300 short questions a second and core."""
    threshold: float = Field(default=0.9, gt=0, le=1)
    """Cosine from which two questions are one, with all-MiniLM-L6-v2."""


class LeakConfig(Section):
    """The guard between training and the golden set."""

    enabled: bool = True
    """Compare training rows with the golden set. Off, an evaluation proves nothing."""
    near_threshold: float = Field(default=0.7, gt=0, le=1)
    """Jaccard similarity of word 5-grams from which a prompt repeats a golden one."""
    contained_threshold: float = Field(default=0.9, gt=0, le=1)
    """Share of a golden prompt's word 5-grams that a longer prompt holds when it quotes it;
    golden prompts under eight words are not looked for inside others."""
    semantic: Literal["auto", "on", "off"] = "auto"
    """Compare meanings too. `auto`: where the encoder is installed; `on` fails without it."""
    semantic_threshold: float = Field(default=0.74, gt=0, le=1)
    """Cosine from which a prompt is a golden one in other words, with all-MiniLM-L6-v2. The lowest
    at which one pair in a thousand of different Banking77 intents is taken for one question; it
    finds 85 % of planted rewordings and 52 % of those written by hand without a word in common
    (`scripts/bench/semantic.py`)."""
    semantic_max_share: float = Field(default=0.02, ge=0, le=1)
    """In a narrow domain (over 5 % of the golden prompts are as near to another one as the
    threshold) traffic asks golden questions in other words for ever: there at most this share of
    the rows, and never fewer than 20, goes for its meaning alone, the nearest first. 1: all."""
    semantic_max_texts: int = Field(default=20_000, ge=0)
    """At most this many questions are encoded, those that share most words with the golden set
    first; 20,000 take about a minute on one core."""
    references: bool = True
    """Also compare answers and corrections with golden references of 20 words and more, unless
    the reference is a canned reply that several prompts share."""
    hold_out_candidates: bool = True
    """Keep golden candidates out of training while they wait for review, so that no adapter
    knows them when they are accepted."""
    on_leak: Literal["drop", "fail"] = "drop"
    """`drop` removes the training rows, counted and listed; `fail` stops the run at the first."""
    max_share: float = Field(default=0.05, ge=0, le=1)
    """The run stops when more than this share of the rows repeats golden prompts: then training
    and golden set are of one making. What a narrow domain's bound removes is not counted."""
