"""Read the lake through Daft, here or on a Ray cluster: one plan, one function a batch."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from tuneloop.artefacts.stage import Progress
from tuneloop.errors import ConfigError, DataError

BATCH_ROWS = 16_384

Work = Callable[[pa.RecordBatch], int]
"""Takes a batch of lake rows, leaves a part file behind, returns the number in its name."""


def use_runner(runner: str) -> None:
    """Have Daft work on this machine, or on the Ray cluster that RAY_ADDRESS names.

    Raises:
        ConfigError: if this process has begun with the other one.
    """
    import daft

    if daft.get_or_infer_runner_type() == runner:
        return
    try:
        if runner == "ray":
            _join_ray()
            daft.set_runner_ray()
        else:
            daft.set_runner_native()
    except Exception as error:
        raise ConfigError(
            [f"curate.runner {runner}: Daft cannot change its runner: {error}"],
            hint="one process keeps one runner: start another",
        ) from error


def _join_ray() -> None:
    import ray

    if ray.is_initialized():
        return
    if "RAY_ADDRESS" in os.environ:
        ray.init(log_to_driver=False)
    else:
        ray.init(include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)


@dataclass(frozen=True)
class Lake:
    """One version of the table, of one tenant or of all.

    `others` counts the events of other tenants by kind; `watermark` is the newest event of an
    interaction, in seconds.
    """

    uri: str
    version: int
    tenant: str | None

    def frame(self, kind: str) -> Any:
        """Return the rows of one kind."""
        import daft
        from daft import col

        table = daft.read_deltalake(self.uri, version=self.version)
        mine = col("kind") == kind
        return table.where(mine if self.tenant is None else mine & (col("tenant") == self.tenant))

    def only_tenant(self) -> str:
        """Return whose events these are.

        Raises:
            DataError: if nobody was named and the lake has several tenants'.
        """
        if self.tenant is not None:
            return self.tenant
        tenants = self.frame("interaction").select("tenant").distinct().to_pydict()["tenant"]
        if len(tenants) > 1:
            raise DataError(
                f"the lake holds the events of {len(tenants)} tenants",
                where=self.uri,
                hint="say whose are to be learned from",
            )
        return str(tenants[0]) if tenants else ""

    def size(self, kind: str) -> int:
        """Return the number of rows of one kind, repeated ones included."""
        return int(self.frame(kind).count_rows())

    def others(self) -> dict[str, int]:
        """Return how many events of each kind are other tenants', each counted once."""
        import daft
        from daft import col

        if self.tenant is None:
            return {}
        table = daft.read_deltalake(self.uri, version=self.version)
        rest = table.where(col("tenant") != self.tenant)
        kinds = rest.select("kind", "tenant", "id", "revision").distinct()
        counted = kinds.groupby("kind").agg(col("id").count().alias("n")).to_pydict()
        return dict(zip(counted["kind"], counted["n"], strict=True))

    def watermark(self) -> float:
        """Return when the newest interaction was, in seconds since 1970; 0 without any."""
        from daft import col

        newest = self.frame("interaction").agg(col("event_ts").max()).to_pydict()["event_ts"][0]
        return float(newest.timestamp()) if newest else 0.0

    def work(self, kind: str, columns: list[str], work: Work, progress: Progress) -> list[str]:
        """Give every batch of one kind to `work`, wherever Daft runs it; return the parts."""
        import daft
        from daft import col

        def call(*series: Any) -> Any:
            arrays = [_narrow(one.to_arrow()) for one in series]
            number = work(pa.RecordBatch.from_arrays(arrays, names=columns))
            return daft.Series.from_arrow(pa.array([number] * len(arrays[0]), pa.uint64()))

        run = daft.func.batch(return_dtype=daft.DataType.uint64(), use_process=False)(call)
        rows = self.frame(kind).select(*columns).into_batches(BATCH_ROWS)
        parts: set[int] = set()
        done = rows.select(run(*map(col, columns)).alias("part"))
        # Batches make millions of small objects, and each collection would look at all others.
        gc.freeze()
        # Files are read one at a time: all at once, Daft holds as many as fit nowhere.
        with daft.execution_config_ctx(scantask_max_parallel=1):
            for batch in done.to_arrow_iter():
                parts.update(batch.column(0).unique().to_pylist())
                progress.advance(len(batch))
        gc.unfreeze()
        if not parts:  # an empty part, so that there is always one
            parts.add(work(_empty(columns)))
        return [f"{part:016x}" for part in sorted(parts)]


def _empty(columns: list[str]) -> pa.RecordBatch:
    kinds = {"event_ts": pa.timestamp("us"), "revision": pa.int32()}
    fields = [(name, kinds.get(name, pa.string())) for name in columns]
    return pa.RecordBatch.from_pylist([], schema=pa.schema(fields))


def _narrow(column: pa.Array) -> pa.Array:
    return column.cast(pa.string()) if pa.types.is_large_string(column.type) else column
