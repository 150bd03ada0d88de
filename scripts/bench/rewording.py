"""How well two questions are told to be one: by words, by meaning, on BANKING77's intents.

    python scripts/bench/rewording.py test.csv [--pairs 2000] [--meaning]

Pairs of two people's messages with one intent stand for rewordings (a person's own are more
alike), pairs with different intents for new questions. For each threshold: the share of either
that passes it. The defaults of `curate.signals.derive` come from here.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa

from tuneloop.config.golden import EncoderConfig
from tuneloop.curate.signals.wording import wording_similarity
from tuneloop.runtime.encoder import find_encoder

Pairs = list[tuple[str, str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--pairs", type=int, default=2000)
    parser.add_argument("--meaning", action="store_true", help="also by the installed encoder")
    options = parser.parse_args()
    one, different = draw(options.table, options.pairs)
    ways = {"words": by_words}
    if options.meaning:
        ways["meaning"] = by_meaning
    for name, similarity in ways.items():
        alike, unlike = similarity(one), similarity(different)
        for least in (0.45, 0.5, 0.55, 0.6, 0.65, 0.7):
            row = {"by": name, "threshold": least,
                   "one_intent": round(float((alike >= least).mean()), 4),
                   "different_intents": round(float((unlike >= least).mean()), 4)}  # fmt: skip
            print(json.dumps(row))


def draw(table: Path, n: int) -> tuple[Pairs, Pairs]:
    """Return n pairs with one intent, and n with two."""
    rng, by_intent = random.Random(1), {}
    with table.open(encoding="utf-8", newline="") as lines:
        for row in csv.DictReader(lines):
            by_intent.setdefault(row["category"], []).append(row["text"])
    one, different = [], []
    for _ in range(n):
        intent, other = rng.sample(sorted(by_intent), 2)
        one.append(tuple(rng.sample(by_intent[intent], 2)))
        different.append((rng.choice(by_intent[intent]), rng.choice(by_intent[other])))
    return one, different


def by_words(pairs: Pairs) -> np.ndarray:
    return wording_similarity(*(pa.array([pair[side] for pair in pairs]) for side in (0, 1)))


def by_meaning(pairs: Pairs) -> np.ndarray:
    encoder = find_encoder(EncoderConfig(), required=True)
    assert encoder is not None
    first, second = (encoder.encode([pair[side] for pair in pairs]) for side in (0, 1))
    return (first * second).sum(axis=1)


if __name__ == "__main__":
    main()
