"""A simulated log from lake to training sets: seconds, memory, and how both grow.

    python scripts/bench/curate.py --sizes 0.1,0.3,1,3 --out curate.json

Each size is written once (about two events of feedback an interaction, see `traffic.py`) and
then curated and built in a process of its own, whose peak memory is read when it ends. Redaction
is by patterns; nothing is compared by meaning. Exponents are fitted over the sizes by least
squares on logarithms.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

CONFIG: dict[str, Any] = {"redact": {"engine": "patterns"}, "leak": {"semantic": "off"}}
N_GOLDEN = 300


class Laps:
    """A progress that keeps the seconds of each step, by the clock and of processors."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}
        self._step, self._since = "", self._now()

    def _now(self) -> tuple[float, float]:
        return time.perf_counter(), time.process_time()

    def start(self, description: str, *, total: int | None = None) -> None:
        """Begin a step, and end the one before."""
        now = self._now()
        if self._step:
            spent = self.seconds.setdefault(self._step, [0.0, 0.0])
            for place in (0, 1):
                spent[place] = round(spent[place] + now[place] - self._since[place], 2)
        self._step, self._since = description, now

    def advance(self, n: int = 1) -> None:
        """Nobody looks."""

    def done(self, note: str = "") -> None:
        """End the step."""
        self.start("")

    def say(self, text: str) -> None:
        """Nobody listens."""


def write_log(folder: Path, n: int) -> None:
    from traffic import Writer, write_lake

    write_lake(str(folder / "lake"), n)
    prompts = Writer(99).texts(2 * N_GOLDEN, 30)
    lines = [
        {"id": f"g{i}", "messages": [{"role": "user", "content": prompts[2 * i]}],
         "reference": prompts[2 * i + 1]}
        for i in range(N_GOLDEN)
    ]  # fmt: skip
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "golden.jsonl").write_text(text, "utf-8")


def run(folder: Path) -> dict[str, Any]:
    """Curate and build the log in `folder`; return what it took."""
    from tuneloop.artefacts.manifest import Manifest
    from tuneloop.artefacts.stage import (
        CuratedSet,
        GoldenSet,
        LakeVersion,
        Scope,
        StageContext,
    )
    from tuneloop.artefacts.store import Store
    from tuneloop.build.stage import build
    from tuneloop.config.curate import CurateConfig
    from tuneloop.config.sets import BuildConfig
    from tuneloop.curate.stage import curate

    store, laps = Store(str(folder / "store")), Laps()

    def kept(kind: str, artefact: Any, files: dict[str, Path], **details: Any) -> Any:
        draft = Manifest(kind=kind, key=kind, digest="", files={}, details=details,
                         started_at=datetime.now(UTC))  # fmt: skip
        return artefact(store.commit(draft, files).manifest, store)

    golden = kept("golden", GoldenSet, {"golden.jsonl": folder / "golden.jsonl"})
    (folder / "lake.json").write_text("{}", "utf-8")
    lake = kept("lake", LakeVersion, {"lake.json": folder / "lake.json"},
                uri=str(folder / "lake"), version=0)  # fmt: skip
    began = time.perf_counter()
    out = curate(lake, golden, CurateConfig.model_validate(CONFIG),
                 StageContext(folder / "curate", 17, laps),
                 scope=Scope("shop", "helpdesk", "production"))  # fmt: skip
    curated = time.perf_counter()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    entry = {"curate_s": round(curated - began, 1),
             "curate_gib": round(usage.ru_maxrss / 2**20, 2),
             "curate_cpu_s": round(usage.ru_utime + usage.ru_stime, 1)}  # fmt: skip
    curated_set = kept("curate", CuratedSet, dict(out.files))
    shutil.rmtree(folder / "curate", ignore_errors=True)
    began = time.perf_counter()
    build(curated_set, BuildConfig(), StageContext(folder / "build", 17, laps))
    laps.done()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "n_out": out.counts.n_out, "dropped": out.counts.dropped, **entry,
        "build_s": round(time.perf_counter() - began, 1),
        "peak_gib": round(usage.ru_maxrss / 2**20, 2),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "steps_s_and_cpu_s": laps.seconds,
    }  # fmt: skip


def measure(millions: float, base: Path | None) -> dict[str, Any]:
    """Write a log and curate it in a process of its own."""
    n = int(millions * 1e6)
    folder = (base or Path(tempfile.mkdtemp())) / f"{n}"
    folder.mkdir(parents=True, exist_ok=True)
    began = time.perf_counter()
    if not (folder / "golden.jsonl").exists():
        call(["--write", str(n), "--folder", str(folder)])
    wrote = time.perf_counter() - began
    for name in ("store", "build", "curate"):
        shutil.rmtree(folder / name, ignore_errors=True)
    result = json.loads(call(["--run", "--folder", str(folder)]))
    if base is None:
        shutil.rmtree(folder.parent)
    whole = {"interactions": n, "written_s": round(wrote, 1),
             "total_s": round(result["curate_s"] + result["build_s"], 1)}  # fmt: skip
    return whole | result


def call(arguments: list[str]) -> str:
    done = subprocess.run(
        [sys.executable, __file__, *arguments], check=True, stdout=subprocess.PIPE, text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    return done.stdout.strip().rpartition("\n")[2]


def exponent(rows: list[dict[str, Any]], key: str) -> float | None:
    import numpy as np

    if len(rows) < 2:
        return None
    sizes, values = (np.log([row[name] for row in rows]) for name in ("interactions", key))
    return round(float(np.polyfit(sizes, values, 1)[0]), 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes", default="0.1,0.3,1,3", help="millions of interactions")
    parser.add_argument("--folder", type=Path, help="keep the logs here")
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    parser.add_argument("--write", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--run", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.write:
        return write_log(given.folder, given.write)
    if given.run:
        print(json.dumps(run(given.folder)))
        return None
    rows = [measure(float(size), given.folder) for size in given.sizes.split(",")]
    report = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python "
        f"{platform.python_version()}",
        "versions": {name: version(name) for name in ("daft", "pyarrow", "numpy", "deltalake")},
        "config": CONFIG,
        "rows": rows,
        "exponents": {"time": exponent(rows, "total_s"), "memory": exponent(rows, "peak_gib")},
    }
    for row in rows:
        print(f"{row['interactions']:>9,}  curate {row['curate_s']:>6} s  build "
              f"{row['build_s']:>5} s  peak {row['peak_gib']:>5} GiB")  # fmt: skip
    print(f"exponents: time {report['exponents']['time']}, memory {report['exponents']['memory']}")
    if given.out:
        given.out.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    return None


if __name__ == "__main__":
    main()
