"""Time and memory of taking native events in: events a second and core, peak memory by size.

    python scripts/bench/ingest.py 100000 2000000

Each size is taken into a lake of its own by a process of its own, once into the empty lake and
once more with the ledger gone, so that every event is compared with the table.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ANSWER = "Your parcel left our warehouse on Monday and will be with you within three days. " * 3


def write_events(path: Path, n: int) -> None:
    """Write a third interactions of about 700 bytes and two thirds feedback on them."""
    with path.open("w", encoding="utf-8") as file:
        for i in range(n // 3 + 1):
            stamp = f"2025-03-{1 + i % 28:02d}T{i % 24:02d}:00:00Z"
            asked = {"role": "user", "content": f"Where is my parcel number {i}? " * 4}
            rows = [
                {
                    "type": "interaction", "id": f"i{i:08d}", "event_ts": stamp,
                    "session_id": f"s{i // 3}", "subject_key": f"person-{i % 9973}",
                    "request": {"messages": [asked]}, "response": {"content": ANSWER},
                },
                {
                    "type": "feedback", "id": f"t{i:08d}", "event_ts": stamp,
                    "target": {"id": f"i{i:08d}"}, "signal": "thumb", "value": i % 4 > 0,
                    "actor": {"kind": "user", "id": f"person-{i % 9973}"},
                },
                {
                    "type": "feedback", "id": f"d{i:08d}", "event_ts": stamp,
                    "target": {"id": f"i{i:08d}"}, "signal": "dwell", "value": i % 60,
                },
            ]  # fmt: skip
            file.writelines(json.dumps(row) + "\n" for row in rows[: n - 3 * i])


def take(path: Path, lake: Path) -> dict[str, float]:
    """Take the file in and summarise the lake; return what it took."""
    import resource

    from tuneloop.lake.ingest import ingest_file
    from tuneloop.lake.pseudonyms import Pseudonyms
    from tuneloop.lake.reading import Intake
    from tuneloop.lake.table import open_table, summarise
    from tuneloop.runtime.progress import SilentProgress

    intake = Intake(str(lake), SilentProgress(), pseudonyms=Pseudonyms(b"a key for measuring"))
    wall, cpu = time.perf_counter(), time.process_time()
    report = ingest_file(str(path), intake, dead_letter=lake.with_suffix(".dead"))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    table = open_table(str(lake))
    assert table
    summarise(str(lake), table)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {
        "read": report.read, "added": report.n_events, "seconds": round(wall, 2),
        "cpu_seconds": round(cpu, 2), "events_a_cpu_second": round(report.read / cpu),
        "peak_mib": round(peak), "peak_mib_with_summary": round(after),
    }  # fmt: skip


def main(sizes: list[int]) -> None:
    """Measure each size, twice."""
    for n in sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_events(folder / "events.jsonl", n)
            for again in (False, True):
                for entry in (folder / "lake" / "_ingested").glob("*"):
                    entry.unlink()
                command = [sys.executable, __file__, "--take", str(folder)]
                out = subprocess.run(command, capture_output=True, text=True, check=True)
                print(json.dumps({"n": n, "again": again} | json.loads(out.stdout)), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "--take":
        print(json.dumps(take(Path(sys.argv[2]) / "events.jsonl", Path(sys.argv[2]) / "lake")))
    else:
        main([int(n) for n in sys.argv[1:]])
