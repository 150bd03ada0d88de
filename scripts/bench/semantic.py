"""Calibrate the cosine from which two questions are one, and time the encoder.

    python scripts/bench/semantic.py --data FOLDER [--json OUT.json]

Pairs that mean the same: `paraphrases.csv` beside this file (written by hand, often without one
content word in common), and planted rewordings of Banking77's questions by rule. Pairs that do
not: Banking77 questions of different intents, and the hard ones of `paraphrases.csv`, which
differ in one word that matters. The threshold is the lowest at which at most one pair in a
thousand of different Banking77 intents is taken for one question.

Beside it stands what a threshold costs where the domain is narrow: how many honest questions of
Banking77's training part lie that near to one of a golden set drawn from its test part.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa

from tuneloop.config.golden import EncoderConfig
from tuneloop.curate.overlap import Overlap
from tuneloop.curate.semantic import nearest
from tuneloop.runtime.encoder import Encoder, find_encoder

MAX_FALSE = 1e-3
GRID = [round(0.5 + 0.05 * i, 2) for i in range(10)]
N_ROWS, N_GOLDEN, N_REWORDED = 3_000, 500, 300
OPENINGS = ["Hi, ", "Hello there. ", "Could you help me? ", "Quick question: ", ""]
ENDINGS = [" Thanks in advance.", " I need to know soon.", " Please advise.", ""]
OTHER_WORDS = {
    "card": "bank card",
    "can i": "am I able to",
    "how do i": "what is the way to",
    "why": "for what reason",
    "money": "funds",
    "transfer": "bank transfer",
    "account": "bank account",
    "how long": "how much time",
    "what": "which thing",
    "need": "require",
    "get": "obtain",
    "show": "appear",
    "wrong": "incorrect",
    "want to": "would like to",
    "charged": "billed",
    "fee": "charge",
    "help": "assist",
    "still": "even now",
    "payment": "purchase",
    "app": "application",
    "lost": "misplaced",
    "stolen": "taken by a thief",
    "pin": "PIN code",
    "my": "my own",
    "exchange": "convert",
    "cash": "banknotes",
    "top up": "add money",
}


def reword(text: str, rng: random.Random) -> str:
    """Return a question in other words: synonyms, another order of clauses, courtesies."""
    said = " " + text.strip().rstrip("?.!").lower() + " "
    for word, other in sorted(OTHER_WORDS.items(), key=lambda pair: -len(pair[0])):
        said = said.replace(f" {word} ", f" {other} ")
    clauses = [part.strip() for part in said.replace(".", ",").split(",") if part.strip()]
    if len(clauses) > 1:
        clauses = clauses[::-1]
    return rng.choice(OPENINGS) + ", ".join(clauses) + "?" + rng.choice(ENDINGS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="Folder that holds banking77/.")
    parser.add_argument("--json", type=Path, help="Write the figures here.")
    parser.add_argument("--cache", type=Path, help="Keep vectors here.")
    options = parser.parse_args()
    encoder = find_encoder(EncoderConfig(threads=1), cache=options.cache, required=True)
    assert encoder is not None
    encoder.encode(["Loads the model."])
    rng = random.Random(17)
    rows = rng.sample(_banking(options.data, "train"), N_ROWS)
    golden = rng.sample(_banking(options.data, "test"), N_GOLDEN)
    hand = list(csv.DictReader((Path(__file__).parent / "paraphrases.csv").open(encoding="utf-8")))
    pairs = {
        kind: [(row["one"], row["other"]) for row in hand if row["kind"] == kind]
        for kind in ("same", "different")
    }
    reworded = [(text, reword(text, rng)) for text, _ in rng.sample(golden, N_REWORDED)]
    repeated = _overlap(reworded)
    reworded = [pair for pair, near in zip(reworded, repeated, strict=True) if not near]
    started = time.process_time()  # other work on the machine does not count
    vectors = encoder.encode([text for text, _ in rows])
    seconds = time.process_time() - started
    held = encoder.encode([text for text, _ in golden])
    intents = np.array([intent for _, intent in rows])
    other_intent = intents[:, None] != np.array([intent for _, intent in golden])[None, :]
    cosines = {
        "by_hand": _pairwise(encoder, pairs["same"]),
        "reworded": _pairwise(encoder, reworded),
        "hard": _pairwise(encoder, pairs["different"]),
        "other_intent": (vectors @ held.T)[other_intent],
        "nearest": nearest(vectors, held)[1],
    }
    fine = np.arange(0.5, 1, 0.01)
    chosen = next(
        float(t) for t in fine if float((cosines["other_intent"] >= t).mean()) <= MAX_FALSE
    )
    many = pa.array([f"{text} number {i}" for i in range(10) for text, _ in rows])
    overlap = Overlap([text for text, _ in golden], near=0.7, contained=0.9)
    started = time.process_time()
    overlap.match(many)
    words_per_s = len(many) / (time.process_time() - started)
    result = {
        "encoder": encoder.digest[:12],
        "n": {name: len(values) for name, values in cosines.items()},
        "texts_per_s_and_core": round(N_ROWS / seconds, 1),
        "compared_by_words_per_s_and_core": round(words_per_s),
        "threshold": round(chosen, 2),
        "roc": [_row(t, cosines) for t in sorted({*GRID, round(chosen, 2)})],
        "auc": {
            f"{same} against {other}": round(_auc(cosines[same], cosines[other]), 4)
            for same in ("by_hand", "reworded")
            for other in ("hard", "other_intent")
        },
    }
    _show(result, print)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _banking(folder: Path, part: str) -> list[tuple[str, str]]:
    with (folder / "banking77" / f"{part}.csv").open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file)]


def _overlap(pairs: list[tuple[str, str]]) -> list[bool]:
    """Return which pairs the comparison of words finds anyway."""
    return [
        bool(Overlap([one], near=0.7, contained=0.9).match(pa.array([other])).kind[0])
        for one, other in pairs
    ]


def _pairwise(encoder: Encoder, pairs: list[tuple[str, str]]) -> np.ndarray:
    one, other = (encoder.encode(list(side)) for side in zip(*pairs, strict=True))
    return (one * other).sum(axis=1)


def _row(threshold: float, cosines: dict[str, np.ndarray]) -> dict[str, float]:
    shares = {name: float((values >= threshold).mean()) for name, values in cosines.items()}
    return {"threshold": threshold} | {name: round(share, 5) for name, share in shares.items()}


def _auc(same: np.ndarray, other: np.ndarray) -> float:
    """Return how often a pair that means the same is closer than one that does not."""
    order = np.sort(other)
    return float(np.searchsorted(order, same).mean() / len(order))


def _show(result: dict, write: Callable[[str], None]) -> None:
    write(f"{result['texts_per_s_and_core']} texts encoded a second and core")
    write(f"{result['compared_by_words_per_s_and_core']} compared by words; pairs {result['n']}")
    names = list(result["roc"][0])
    write(" ".join(f"{name:>12}" for name in names))
    for row in result["roc"]:
        mark = "  <- chosen" if row["threshold"] == result["threshold"] else ""
        write(" ".join(f"{row[name]:>12.4f}" for name in names) + mark)
    for name, value in result["auc"].items():
        write(f"AUC {name}: {value}")


if __name__ == "__main__":
    main()
