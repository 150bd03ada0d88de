"""Redaction: recall and precision by kind, documents a second and core, beside plain presidio.

    python scripts/bench/redact.py --documents 400 --repeats 3

Texts are the labelled set of `redact_set.py` and, where TUNELOOP_DATA names a folder with
`banking77/test.csv` and `pandalm/testset-v1.json`, real ones. Times are CPU seconds of this
process, so that a busy machine changes little; set OMP_NUM_THREADS=1. Nothing is kept between
repeats: the cache of sentences is emptied.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from redact_set import Labelled, labelled_set

from tuneloop.config.privacy import RedactConfig
from tuneloop.curate.privacy import language
from tuneloop.curate.privacy.redact import Redactor, find_all, make_redactor, redact_batch
from tuneloop.recognise.finding import Span

KINDS = {
    "person": "PERSON", "email": "EMAIL_ADDRESS", "phone": "PHONE_NUMBER", "card": "CREDIT_CARD",
    "iban": "IBAN_CODE", "ip": "IP_ADDRESS", "address": "LOCATION", "birth_date": "DATE_TIME",
    "national_id": "US_SSN UK_NHS US_PASSPORT US_DRIVER_LICENSE US_ITIN UK_NINO",
}  # fmt: skip


def plain_presidio() -> Callable[[list[str]], list[list[Span]]]:
    """Return the library as its guide sets it up, with the same model."""
    logging.getLogger("tldextract").setLevel(logging.CRITICAL)  # it asks the network first
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import NlpEngineProvider

    models = [{"lang_code": "en", "model_name": language.MODEL}]
    provider = NlpEngineProvider(nlp_configuration={"nlp_engine_name": "spacy", "models": models})
    engine = AnalyzerEngine(nlp_engine=provider.create_engine(), supported_languages=["en"])
    ours = {theirs: kind for kind, names in KINDS.items() for theirs in names.split()}

    def find(texts: list[str]) -> list[list[Span]]:
        return [
            [
                Span(r.start, r.end, ours.get(r.entity_type, r.entity_type))
                for r in engine.analyze(text, language="en")
            ]
            for text in texts
        ]

    return find


def scores(labelled: list[Labelled], found: list[list[Span]]) -> dict[str, dict[str, float]]:
    """Return recall (every letter and digit of the value covered, by whatever kind) and precision.

    Precision: of the spans of a kind, the share that touches a labelled value.
    """
    total: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    said: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for one, spans in zip(labelled, found, strict=True):
        covered = {i for span in spans for i in range(span.start, span.end)}
        true: set[int] = set()
        for kind, value in one.spans:
            start = one.text.index(value)
            places = [i for i in range(start, start + len(value)) if one.text[i].isalnum()]
            true.update(places)
            total[kind] += 1
            hit[kind] += covered.issuperset(places)
        for span in spans:
            said[span.kind] += 1
            right[span.kind] += not true.isdisjoint(range(span.start, span.end))
    return {
        kind: {
            "n": n,
            "recall": round(hit[kind] / n, 3),
            "precision": round(right[kind] / said[kind], 3) if said[kind] else 1.0,
        }
        for kind, n in total.items()
    }


def real_texts() -> dict[str, list[str]]:
    """Return real messages and answers, where they are at hand."""
    folder = Path(os.environ.get("TUNELOOP_DATA", ""))
    if not (folder / "banking77" / "test.csv").is_file():
        return {}
    with (folder / "banking77" / "test.csv").open(encoding="utf-8") as file:
        messages = [row["text"] for row in csv.DictReader(file)]
    pairs = json.loads((folder / "pandalm" / "testset-v1.json").read_text("utf-8"))
    return {
        "banking77": messages,
        "pandalm": [f"{p['instruction']}\n{p['response1']}" for p in pairs],
    }


def cpu_seconds(work: Callable[[], Any], repeats: int) -> float:
    """Return the median CPU seconds of the work."""
    times = []
    for _ in range(repeats):
        language.forget()
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def speeds(texts: list[str], arms: dict[str, Any], n: int, repeats: int) -> dict[str, float]:
    """Return arm → texts a second and core; the plain library on the first n."""
    out: dict[str, float] = {}
    for name, arm in arms.items():
        given = texts[:n] if name == "plain" else texts
        if isinstance(arm, Redactor):

            def work(one: Redactor = arm, some: list[str] = given) -> object:
                conversations = [str(i) for i in range(len(some))]
                return redact_batch({"question": some}, conversations, one)
        else:

            def work(one: Any = arm, some: list[str] = given) -> object:
                return one(some)

        out[name] = round(len(given) / cpu_seconds(work, repeats), 1)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=400, help="texts for the plain library")
    parser.add_argument("--labelled", type=int, default=6000, help="texts of the labelled set")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--out", type=Path, help="also write the figures here, as JSON")
    options = parser.parse_args()
    labelled = labelled_set(options.labelled, seed=11)
    texts = [one.text for one in labelled]
    arms: dict[str, Any] = {"patterns": make_redactor(RedactConfig(engine="patterns"), seed=0)}
    if language.available():
        arms["presidio"] = make_redactor(RedactConfig(engine="presidio"), seed=0)
        arms["plain"] = plain_presidio()
        arms["plain"](texts[:2])
        redact_batch({"question": ["Is Olumide Adeyemi here?"]}, ["s"], arms["presidio"])  # loads
    result: dict[str, Any] = {"recall": {}, "per_second": {}}
    for name, arm in arms.items():
        some = labelled[: options.documents * 3] if name == "plain" else labelled
        given = [one.text for one in some]
        found = find_all(given, arm) if isinstance(arm, Redactor) else arm(given)
        result["recall"][name] = scores(some, found)
    for name, some in {"labelled": texts, **real_texts()}.items():
        result["per_second"][name] = speeds(some, arms, options.documents, options.repeats)
        speed = result["per_second"][name]
        if "plain" in speed:
            speed["times plain"] = round(speed["presidio"] / speed["plain"], 1)
    clean = ["how long does the transfer take to arrive in my account"] * 300_000
    seconds = cpu_seconds(lambda: find_all(clean, arms["patterns"]), options.repeats)
    result["per_second"]["nothing in it"] = {"patterns": round(len(clean) / seconds)}
    print(json.dumps(result, indent=1))
    if options.out:
        options.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
