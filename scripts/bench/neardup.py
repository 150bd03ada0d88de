"""Near-duplicates among 100,000 texts: ours against datasketch and datatrove, at one recall.

    python scripts/bench/neardup.py [--texts 100000] [--runs 3] [--json OUT.json]

All compare sets of word 5-grams with a threshold of 0.7. Texts are questions of 30 words in the
mean; 17 % repeat an earlier one, most word by word. The truth is exhaustive: every pair at or
above the threshold, from a sparse product of all sets. Recall is the share of the true pairs that
a method has in one cluster. Each method gets the texts as a list of strings.

datasketch: MinHash of 64 permutations per text (`update_batch` over the shingles) into a
MinHashLSH with the same bands and rows as ours, queried for every text; candidates are verified,
as ours are. datatrove: its pipeline of four steps (signatures, buckets, clusters, filter) with
those bands and rows, run as its example does, in forked processes on all cores. Medians of the
runs.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from traffic import Writer, asked

from tuneloop.curate.near import band_rows
from tuneloop.curate.similar import SHINGLE, Corpus, cluster, components, normalise

THRESHOLD, PERMUTATIONS = 0.7, 64
Clusters = np.ndarray


def texts_of(n: int) -> list[str]:
    writer = Writer(7)
    return asked(writer, writer.texts(n // 100, 30), n)


def true_pairs(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """Return every pair of different texts at or above the threshold; nothing is sampled."""
    corpus = Corpus.of(normalise(texts))
    matrix = corpus.by_shingle
    sizes = np.diff(matrix.indptr)
    columns = matrix.T.tocsr()
    found = []
    for start in range(0, len(texts), 2_000):
        shared = (matrix[start : start + 2_000] @ columns).tocoo()
        a, b = shared.row + start, shared.col
        alike = shared.data >= THRESHOLD * (sizes[a] + sizes[b] - shared.data)
        found.append(np.stack([a, b])[:, alike & (a < b)])
    a, b = np.concatenate(found, axis=1)
    return a, b


def ours(texts: list[str]) -> Clusters:
    return cluster(texts, threshold=THRESHOLD, n_permutations=PERMUTATIONS)


def with_datasketch(texts: list[str]) -> Clusters:
    from datasketch import MinHash, MinHashLSH

    rows = band_rows(THRESHOLD, PERMUTATIONS)
    bands = (PERMUTATIONS // rows, rows)
    index = MinHashLSH(num_perm=PERMUTATIONS, params=bands)
    shingles = []
    for text in texts:
        words = text.split()
        grams = {" ".join(words[i : i + SHINGLE]) for i in range(max(len(words) - SHINGLE + 1, 1))}
        shingles.append(grams)
    pairs: list[tuple[int, int]] = []
    for number, grams in enumerate(shingles):
        sketch = MinHash(num_perm=PERMUTATIONS)
        sketch.update_batch([gram.encode() for gram in grams])
        for other in index.query(sketch):
            theirs = shingles[other]
            if len(grams & theirs) >= THRESHOLD * len(grams | theirs):
                pairs.append((other, number))
        index.insert(number, sketch, check_duplication=False)
    edges = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return components(edges[:, 0], edges[:, 1], len(texts))


def with_datatrove(texts: list[str]) -> Clusters:
    from datatrove.data import Document
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.utils.hashing import HashConfig

    rows = band_rows(THRESHOLD, PERMUTATIONS)
    bands, cores = PERMUTATIONS // rows, os.cpu_count() or 1
    config = MinhashConfig(
        n_grams=SHINGLE, num_buckets=bands, hashes_per_bucket=rows,
        hash_config=HashConfig(precision=64),
    )  # fmt: skip

    class Read:
        """Gives each task its share of the texts."""

        name, type = "texts", "reader"

        def __call__(self, data: Any, rank: int = 0, world_size: int = 1) -> Any:
            for number in range(rank, len(texts), world_size):
                yield Document(text=texts[number], id=str(number))

    _let_datatrove_hash()
    with tempfile.TemporaryDirectory() as folder:
        steps: list[tuple[list[Any], int]] = [
            ([Read(), MinhashDedupSignature(f"{folder}/signatures", config=config)], cores),
            ([MinhashDedupBuckets(f"{folder}/signatures", f"{folder}/buckets", config=config)],
             bands),
            ([MinhashDedupCluster(f"{folder}/buckets", f"{folder}/ids", config=config,
                                  save_cluster_id=True)], 1),
        ]  # fmt: skip
        for place, (pipeline, tasks) in enumerate(steps):
            LocalPipelineExecutor(
                pipeline, tasks=tasks, workers=cores, logging_dir=f"{folder}/logs{place}",
                start_method="fork",
            ).run()  # fmt: skip
        return _clusters(Path(folder) / "ids", len(texts), cores)


def _let_datatrove_hash() -> None:
    """Datatrove 0.10 hands text to xxhash, whose fourth version takes bytes alone."""
    import sys

    import xxhash
    from datatrove.utils.hashes import xxhash as hashes
    from loguru import logger

    plain = xxhash.xxh64_intdigest
    hashes.xxhash.xxh64_intdigest = lambda text: plain(text.encode())
    logger.remove()
    logger.add(sys.stderr, level="ERROR")


def _clusters(folder: Path, n: int, world_size: int) -> Clusters:
    """Return the clusters datatrove wrote: (document, cluster) in 32-bit pairs, a file a task."""
    labels = np.arange(n, 2 * n)
    for path in sorted(folder.glob("*.clusters")):
        rank = int(path.name.split(".")[0])
        pairs = np.frombuffer(path.read_bytes(), dtype="<u4").reshape(-1, 2)
        labels[pairs[:, 0].astype(np.int64) * world_size + rank] = pairs[:, 1]
    return labels


def measure(
    method: Callable[[list[str]], Clusters], texts: list[str], truth: tuple[Any, Any], runs: int
) -> dict[str, Any]:
    seconds = []
    labels = np.zeros(0)
    for _ in range(runs):
        began = time.perf_counter()
        labels = method(texts)
        seconds.append(round(time.perf_counter() - began, 2))
    a, b = truth
    recall = float(np.mean(labels[a] == labels[b])) if len(a) else 1.0
    return {"seconds": seconds, "median_s": statistics.median(seconds), "recall": round(recall, 5)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    texts = texts_of(given.texts)
    truth = true_pairs(texts)
    report: dict[str, Any] = {
        "texts": len(texts), "true_pairs": len(truth[0]), "threshold": THRESHOLD,
        "permutations": PERMUTATIONS, "rows_a_band": band_rows(THRESHOLD, PERMUTATIONS),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "versions": {name: version(name) for name in ("datasketch", "datatrove", "numpy")},
    }  # fmt: skip
    methods = {"tuneloop": ours, "datasketch": with_datasketch, "datatrove": with_datatrove}
    for name, method in methods.items():
        report[name] = measure(method, texts, truth, given.runs)
        times = report[name]["median_s"] / report["tuneloop"]["median_s"]
        print(f"{name:>11}  {report[name]['median_s']:>7} s  recall {report[name]['recall']}  "
              f"{times:.1f} times ours", flush=True)  # fmt: skip
    if given.json:
        given.json.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
