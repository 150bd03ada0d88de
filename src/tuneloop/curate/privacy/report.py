"""What redaction found and replaced, by field and kind, with a sample for review."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, NamedTuple


class Sample(NamedTuple):
    """One replacement as a reviewer sees it; holds nothing that was personal.

    Attributes:
        rank: Drawn from (conversation, field, value): the lowest of a kind are kept, in whatever
            order batches come.
        context: The text around the surrogate, after redaction.
    """

    rank: int
    field: str
    context: str


@dataclass
class RedactionReport:
    """Counts that add up over batches.

    Args:
        n_samples: How many samples of each kind are kept.
    """

    n_samples: int = 5
    found: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(field, kind) → how often something was found."""
    replaced: Counter[tuple[str, str]] = field(default_factory=Counter)
    """The same for what was replaced or left out."""
    samples: dict[str, list[Sample]] = field(default_factory=dict)

    def wants(self, kind: str, rank: int) -> bool:
        """Return whether a sample of this rank would be kept."""
        kept = self.samples.get(kind, [])
        return len(kept) < self.n_samples or (self.n_samples > 0 and rank < kept[-1].rank)

    def add_sample(self, kind: str, sample: Sample) -> None:
        """Keep the sample if it is among the first of its kind."""
        kept = {*self.samples.get(kind, []), sample} if self.n_samples else set()
        self.samples[kind] = heapq.nsmallest(self.n_samples, kept)

    def merge(self, other: RedactionReport) -> None:
        """Add another batch's report."""
        self.found.update(other.found)
        self.replaced.update(other.replaced)
        for kind, samples in other.samples.items():
            for sample in samples:
                self.add_sample(kind, sample)

    def summary(self) -> dict[str, Any]:
        """Return it as JSON, in stable order: totals by kind, by field, and the sample."""
        kinds = sorted({kind for _, kind in self.found})
        by_kind = {
            kind: {
                "found": sum(n for (_, k), n in self.found.items() if k == kind),
                "replaced": sum(n for (_, k), n in self.replaced.items() if k == kind),
            }
            for kind in kinds
        }
        by_field: dict[str, dict[str, int]] = {}
        for (name, kind), n in sorted(self.found.items()):
            by_field.setdefault(name, {})[kind] = n
        sample = [
            {"kind": kind, "field": one.field, "context": one.context}
            for kind, samples in sorted(self.samples.items())
            for one in samples
        ]
        return {"by_kind": by_kind, "by_field": by_field, "sample": sample}
