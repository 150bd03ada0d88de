"""A whole pipeline whose stages are stubs: every key, manifest and alias is real, no model is."""

import json
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tuneloop.artefacts.stage import StageOutput
from tuneloop.artefacts.store import Store
from tuneloop.config.schema import RunConfig
from tuneloop.pipeline import Pipeline
from tuneloop.runtime.progress import SilentProgress
from tuneloop.runtime.weights import ResolvedModel

BASE = "b" * 64
STUBBED = {
    "lake": "tuneloop.lake.stage.take_in",
    "curate": "tuneloop.curate.stage.curate",
    "sample": "tuneloop.evaluate.sampling.sample",
    "build": "tuneloop.build.stage.build",
    "sft": "tuneloop.train.stage.sft",
    "dpo": "tuneloop.train.stage.dpo",
    "kto": "tuneloop.train.stage.kto",
    "evaluate": "tuneloop.evaluate.stage.evaluate",
    "decide": "tuneloop.decide.stage.decide",
    "report": "tuneloop.report.stage.report",
}
ROWS = pa.schema(
    [("interaction_ids", pa.list_(pa.string())), ("feedback_ids", pa.list_(pa.string()))]
)
SETS = [f"{kind}_{split}" for kind in ("sft", "preference", "kto")
        for split in ("train", "validation")]  # fmt: skip
CURATED = pa.schema(
    [
        ("interaction_id", pa.string()),
        ("subject_key", pa.string()),
        ("signals", pa.list_(pa.struct([("feedback_id", pa.string()), ("actor", pa.string())]))),
    ]
)


@dataclass
class Loop:
    """A folder with events, a golden set and a store, and stubs that count how often they ran."""

    folder: Path
    verdict: str = "PROMOTE"
    ran: list[str] = field(default_factory=list)
    curated: list[dict] = field(default_factory=list)
    sets: dict[str, list[dict]] = field(default_factory=dict)
    version: str = "1"
    said: list[str] = field(default_factory=list)

    @property
    def store(self):
        return Store(str(self.folder / "store"))

    def config(self, **sections):
        body = {"name": "demo", "model": {"name": "m"}, "store": str(self.folder / "store"),
                "golden": {"path": str(self.folder / "golden.jsonl")},
                "lake": {"events": [str(self.folder / "events.jsonl")]}}  # fmt: skip
        return RunConfig.model_validate(body | sections)

    def pipeline(self, config=None, **options):
        progress = SilentProgress()
        progress.say = self.said.append
        return Pipeline(config or self.config(), self.store, progress=progress, **options)

    def objects(self):
        """Return every path and its bytes below the store, folders included."""
        return {
            path.relative_to(self.folder): path.read_bytes() if path.is_file() else None
            for path in (self.folder / "store").rglob("*")
        }

    def _lake(self, config, *, uri, context, tenant="default"):
        files = {"lake.json": '{"content_digest": "%s"}' % ("c" * 64), "dead_letter.jsonl": ""}
        return self._written(context, files, {"uri": uri, "version": 3})

    def _build(self, *args, samples=None, golden=None):
        context = args[-1]
        files = {}
        for name in SETS:
            files[f"{name}.parquet"] = context.work / f"{name}.parquet"
            pq.write_table(
                pa.Table.from_pylist(self.sets.get(name, []), ROWS), files[f"{name}.parquet"]
            )
        return StageOutput(files=files)

    def _curate(self, *args, scope=None):
        path = args[-1].work / "curated.parquet"
        pq.write_table(pa.Table.from_pylist(self.curated, CURATED), path)
        return StageOutput(files={"curated.parquet": path})

    def _sample(self, curated, system, config, engine, context, judge_model=None):
        return self._written(context, {"samples.parquet": system.spec.digest})

    def _train(self, *args):
        return self._written(args[-1], {"adapter/adapter.safetensors": self.version})

    def _evaluate(self, golden, champion, candidate, config, context, judge_model=None):
        systems = {"champion": champion, "candidate": candidate}
        body = {
            side: {"digest": s.spec.digest, "spec": s.spec.model_dump(mode="json")}
            for side, s in systems.items()
        }
        return self._written(context, {"evaluation.json": json.dumps(body)})

    def _decide(self, evaluation, config, context, terms=None):
        body = {"verdict": self.verdict, "reasons": ["because"],
                "systems": evaluation.json("evaluation.json")}  # fmt: skip
        return self._written(context, {"decision.json": json.dumps(body)})

    def _report(self, *args, title=""):
        return self._written(args[-1], {"report.html": title})

    def _written(self, context, files, details=()):
        paths = {}
        for name, text in files.items():
            paths[name] = context.work / name
            paths[name].parent.mkdir(parents=True, exist_ok=True)
            paths[name].write_text(text)
        return StageOutput(files=paths, details=dict(details))


def stub(monkeypatch, loop):
    """Put the loop's stubs in the stages' place."""
    (loop.folder / "events.jsonl").write_text("{}\n")
    golden = {"id": "g1", "messages": [{"role": "user", "content": "hi"}]}
    (loop.folder / "golden.jsonl").write_text(json.dumps(golden) + "\n")
    base = ResolvedModel(folder=loop.folder, digest=BASE, name="m")
    monkeypatch.setattr("tuneloop.runtime.weights.resolve_model", lambda *_, **__: base)
    works = {"lake": loop._lake, "curate": loop._curate, "sample": loop._sample,
             "build": loop._build, "sft": loop._train, "dpo": loop._train,
             "kto": loop._train,
             "evaluate": loop._evaluate, "decide": loop._decide,
             "report": loop._report}  # fmt: skip
    for stage, place in STUBBED.items():

        def counted(*args, _stage=stage, **kwargs):
            loop.ran.append(_stage)
            return works[_stage](*args, **kwargs)

        monkeypatch.setattr(place, counted)
    return loop
