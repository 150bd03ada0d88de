"""What did not pass, and why: kept as columns until it is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tuneloop.artefacts.tables import DROPPED


@dataclass
class Dropped:
    """One line each, and how often each reason was given.

    `others` are events of other tenants: counted, since their ids are none of this one's
    business.
    """

    tables: list[pa.Table] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)

    def add(
        self, kind: str, ids: pa.Array, reason: str | pa.Array, detail: str | pa.Array = ""
    ) -> None:
        """Drop interactions or feedback by their ids."""
        if not len(ids):
            return
        columns = [ids, pa.scalar(kind), reason, detail]
        columns = [
            pa.repeat(pa.scalar(c) if isinstance(c, str) else c, len(ids))
            if isinstance(c, str | pa.Scalar)
            else c.cast(pa.string())
            for c in columns
        ]
        table = pa.table(columns, names=DROPPED.names)
        coded = [table[name].dictionary_encode() for name in ("kind", "reason", "detail")]
        for place, column in enumerate(coded, 1):
            table = table.set_column(place, DROPPED.names[place], column)
        self.tables.append(table)

    def counts(self, kind: str) -> dict[str, int]:
        """Return reason → number of dropped rows of this kind."""
        reasons: Counter[str] = Counter()
        for table in self.tables:
            mine = table.filter(pc.equal(table["kind"].cast(pa.string()), kind))
            for entry in mine["reason"].cast(pa.string()).value_counts().to_pylist():
                reasons[entry["values"]] += entry["counts"]
        if self.others.get(kind):
            reasons["other_tenant"] = self.others[kind]
        return dict(sorted(reasons.items()))

    def write(self, path: Path) -> None:
        """Write all lines, in order of id, kind, reason and detail."""
        tables = [
            pa.table([table[name].cast(pa.string()) for name in DROPPED.names], schema=DROPPED)
            for table in self.tables
        ]
        table = pa.concat_tables([DROPPED.empty_table(), *tables])
        order = pc.sort_indices(table, [(name, "ascending") for name in DROPPED.names])
        pq.write_table(table.take(order), path, compression="zstd")
