"""A labelled table as scenario: the assistant answers a message with its label."""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

from tuneloop.artefacts.golden import Check, GoldenPrompt
from tuneloop.config.simulate import LabelsConfig
from tuneloop.errors import DataError
from tuneloop.simulate.nearness import NearIndex
from tuneloop.simulate.scenario import Ask, AttackKind, GoldenPart, Prompts
from tuneloop.simulate.tables import Row, Table, read_table

CLUSTER_THRESHOLD = 0.7
"""Similarity that joins rows to a cluster; lower, chains would swallow tables of set phrases."""
MAX_CLUSTER_FRACTION = 0.2
MIN_ROWS = 50
MIN_GOLDEN = 20
MIN_REST = 20
MORE_ROWS = "more rows that differ, or a golden table of its own (--golden-labels)"
MAX_LABEL_SLICES = 40
_FREE_TEXT = [
    "Thank you for your message. I'm sorry for the trouble, and I'd be happy to help you with it.",
    "It sounds like you have a question about {topic}. Here are some steps that may help: first, "
    "check your settings. Second, contact the support team.",
    "I understand your concern. Could you give me some more details so that I can help?",
    "This message is about {topic}, I think. Please let me know if you need anything else!",
]


class LabelTable:
    """The rows of a table, a golden part that no other row nearly repeats, and the rest."""

    name = "labels"

    def __init__(self, config: LabelsConfig, *, seed: int, golden_seed: int) -> None:
        assert config.path is not None  # the config checks it
        table = _read(config, config.path)
        if len(table.rows) < MIN_ROWS:
            raise DataError(
                f"the table has {len(table.rows)} usable rows of {table.n_read}, "
                f"at least {MIN_ROWS} are needed",
                where=config.path,
                hint="rows need a text and a label, and no other row with the same text",
            )
        labels = sorted({row.label for row in table.rows})
        if len(labels) < 2:
            raise DataError("all rows have the same label", where=config.path)
        self.labels = labels
        self.counts = _count("table", table)
        self.prompts = _prompts(config)
        self._golden, rest = self._divide(config, table, golden_seed)
        self.n_rows = len(rest)
        self.topics = sorted({row.label for row in rest})
        order = list(rest)
        random.Random(f"labels {seed}").shuffle(order)
        self._unused = order
        self.longest_label_bytes = max(len(label.encode()) for label in labels)

    def golden(self) -> GoldenPart:
        """Return the held-out rows as prompts whose answer is the label."""
        return GoldenPart([self._prompt(i, row) for i, row in enumerate(self._golden)])

    def asks(self, voice: str, rng: random.Random) -> Ask:
        """Return the next row of the table."""
        if not self._unused:
            raise DataError("all rows of the table are used", where="simulate: labels")
        return self._ask(self._unused.pop())

    def asks_about(self, topic: str, voice: str, rng: random.Random) -> Ask:
        """Return a row with one label, which others may have used too."""
        return self._ask(rng.choice([row for row in self._rest if row.label == topic]))

    def rephrase(self, ask: Ask, voice: str, rng: random.Random) -> Ask | None:
        """Return an unused row with the same label."""
        # Near the end of the stack, so that taking one out stays cheap.
        for back in range(1, min(len(self._unused), 400) + 1):
            if self._unused[-back].label == ask.facts["label"]:
                return self._ask(self._unused.pop(-back))
        return None

    def attack(self, kind: AttackKind, rng: random.Random) -> Iterator[tuple[Ask, str]]:
        """Yield rows with a false answer: a link, or one wrong label for all."""
        victims = rng.sample(self.labels, k=min(3, len(self.labels) - 1))
        false = rng.choice([label for label in self.labels if label not in victims])
        pool = [row for row in self._rest if kind == "phishing_brigade" or row.label in victims]
        rng.shuffle(pool)
        for row in cycle(pool or self._rest):
            bait = f"{row.label}, see https://secure-verify.example/{rng.randrange(10, 99)}"
            yield self._ask(row), bait if kind == "phishing_brigade" else false

    def right(self, ask: Ask, rng: random.Random) -> str:
        """Return the label."""
        return ask.answer

    def wrong(self, ask: Ask, rng: random.Random) -> str:
        """Return another label."""
        return rng.choice([label for label in self.labels if label != ask.answer])

    def tainted(self, ask: Ask, phrase: str, rng: random.Random) -> str:
        """Return the label with a phrase behind it."""
        return f"{ask.answer}. {phrase}"

    def flawed(self, ask: Ask, rng: random.Random) -> str:
        """Return the label with something around it."""
        return rng.choice([f"{ask.answer}.", f"Label: {ask.answer}", ask.answer.upper()])

    def free_text(self, ask: Ask, rng: random.Random) -> str:
        """Return a polite answer that names no label of the table."""
        topic = " ".join(ask.text.split()[:4])
        return rng.choice(_FREE_TEXT).replace("{topic}", topic)

    def score(self, ask: Ask, answer: str) -> float:
        """Return 1 for the label, 0.4 where the answer contains it, else 0."""
        said, right = answer.strip().casefold(), ask.answer.casefold()
        if said == right:
            return 1.0
        return 0.4 if re.search(rf"(?<!\w){re.escape(right)}(?!\w)", said) else 0.0

    def _divide(self, config: LabelsConfig, table: Table, seed: int) -> tuple[list[Row], list[Row]]:
        """Return golden rows and the rows that none of them nearly repeats."""
        if config.golden_path:
            given = _read(config, config.golden_path)
            self.counts |= _count("golden_table", given)
            known = set(self.labels)
            golden = [row for row in given.rows if row.label in known]
            self.counts["golden_table.unknown_label"] = len(given.rows) - len(golden)
            if not golden:
                raise DataError("no golden row has a label of the table", where=config.golden_path)
            rest = _unlike(table.rows, golden, config)
            self.counts["table.near_golden"] = len(table.rows) - len(rest)
        else:
            golden, rest = self._held_out(config, table.rows, seed)
            self.counts["table.near_golden"] = len(table.rows) - len(golden) - len(rest)
            self.counts["table.golden"] = len(golden)
        if len(rest) < MIN_REST:
            raise DataError(
                f"only {len(rest)} rows are left to learn from, at least {MIN_REST} are needed: "
                f"{self.counts['table.near_golden']} nearly repeat a golden one",
                where=str(config.path),
                hint=MORE_ROWS,
            )
        self._rest = rest
        return golden, rest

    def _held_out(
        self, config: LabelsConfig, rows: list[Row], seed: int
    ) -> tuple[list[Row], list[Row]]:
        """Return a golden part of the table, smaller where too few other rows would be left."""
        clusters = NearIndex((row.text for row in rows), threshold=CLUSTER_THRESHOLD).clusters()
        largest = max(Counter(clusters).values())
        if largest > MAX_CLUSTER_FRACTION * len(clusters):
            # A table of set phrases: chains join what is not alike. Rows that repeat a
            # golden one are still left out, one by one.
            self.counts["table.in_dissolved_cluster"] = largest
            clusters = list(range(len(clusters)))
        wanted = round(len(rows) * config.golden_fraction)
        wanted = min(max(wanted, config.golden_min), config.golden_max, len(rows) // 2)
        while True:
            golden, others = _hold_out(rows, clusters, wanted, seed)
            if len(golden) < min(wanted, MIN_GOLDEN):
                raise DataError(
                    f"only {len(golden)} rows can be held out, at least {MIN_GOLDEN} are needed: "
                    "labels need several rows that do not nearly repeat one another",
                    where=str(config.path),
                    hint=MORE_ROWS,
                )
            rest = _unlike(others, golden, config)
            if wanted <= MIN_GOLDEN or len(rest) >= MIN_REST:
                return golden, rest
            wanted = max(wanted * 2 // 3, MIN_GOLDEN)

    def _ask(self, row: Row) -> Ask:
        return Ask(row.text, row.label, {"label": row.label}, row.label)

    def _prompt(self, number: int, row: Row) -> GoldenPrompt:
        n_words = len(row.text.split())
        length = "short" if n_words < 9 else "medium" if n_words < 25 else "long"
        slices = [f"length:{length}"]
        if len(self.labels) <= MAX_LABEL_SLICES:
            slices.append(f"label:{row.label}")
        return GoldenPrompt(
            id=f"golden-{number:05d}",
            messages=[
                {"role": "system", "content": self.prompts.current},
                {"role": "user", "content": row.text},
            ],
            reference=row.label,
            checks=[Check(name="label", kind="exact", value=row.label, ignore_case=True)],
            slices=slices,
        )


def _unlike(rows: list[Row], golden: list[Row], config: LabelsConfig) -> list[Row]:
    """Return the rows that nearly repeat no golden one."""
    index = NearIndex((row.text for row in golden), threshold=config.near_threshold)
    return [row for row in rows if not index.near(row.text)]


def _hold_out(
    rows: list[Row], clusters: list[int], wanted: int, seed: int
) -> tuple[list[Row], list[Row]]:
    """Return a stratified golden part and the rest; no cluster is on both sides.

    One row of each chosen cluster is golden; its near-repetitions are in neither part.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for position, cluster in enumerate(clusters):
        members[cluster].append(position)
    # Small clusters first: a large one would cost many rows for one prompt.
    order = list(members)
    random.Random(f"golden {seed}").shuffle(order)
    order.sort(key=lambda cluster: len(members[cluster]) > 3)
    by_label: dict[str, list[int]] = defaultdict(list)
    for cluster in order:
        by_label[rows[members[cluster][0]].label].append(cluster)
    total = Counter(row.label for row in rows)
    golden: list[int] = []
    for label, quota in _quotas(total, wanted).items():
        # At least one cluster of a label stays for training.
        keep = max(len(by_label[label]) - 1, 0)
        golden += [members[c][0] for c in by_label[label][: min(quota, keep)]]
    taken = {clusters[position] for position in golden}
    rest = [row for row, cluster in zip(rows, clusters, strict=True) if cluster not in taken]
    return [rows[position] for position in sorted(golden)], rest


def _quotas(total: Counter[str], wanted: int) -> dict[str, int]:
    """Return how many of `wanted` fall to each label, by largest remainder."""
    n = total.total()
    exact = {label: wanted * count / n for label, count in sorted(total.items())}
    quotas = {label: int(share) for label, share in exact.items()}
    ranked = sorted(exact, key=lambda label: (quotas[label] - exact[label], label))
    for label in ranked[: wanted - sum(quotas.values())]:
        quotas[label] += 1
    return quotas


def _read(config: LabelsConfig, path: str) -> Table:
    return read_table(
        Path(path),
        text=config.text_column,
        label=config.label_column,
        max_chars=config.max_text_chars,
    )


def _count(name: str, table: Table) -> dict[str, int]:
    counts = {f"{name}.read": table.n_read, f"{name}.cut": table.n_cut}
    return counts | {f"{name}.{reason}": n for reason, n in sorted(table.dropped.items())}


def _prompts(config: LabelsConfig) -> Prompts:
    """Return what the assistant is told; the labels themselves are left to be learned."""
    if config.system_prompt:
        return Prompts(config.system_prompt, config.system_prompt)
    what = re.sub(r"[\W_]+", " ", config.label_column).strip().lower() or "label"
    return Prompts(
        f"Answer with the {what} of the customer's message.",
        f"Give the {what} of this message.",
    )
