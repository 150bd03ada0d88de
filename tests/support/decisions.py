"""Decisions in a store, made by the real stage from evidence made by hand."""

from evaluations import commit, commit_evaluation

from tuneloop.artefacts.decision import ErrorBudget
from tuneloop.artefacts.manifest import Parent
from tuneloop.artefacts.stage import Decision, StageContext
from tuneloop.config.decide import DecideConfig
from tuneloop.config.policy import PolicyConfig
from tuneloop.decide.stage import decide
from tuneloop.decide.terms import Terms
from tuneloop.runtime.progress import SilentProgress

SCOPE = {"tenant": "acme", "task": "desk", "env": "production"}


def decided(store, folder, made, *, config=None, policy=None, budget=None, author="ada"):
    """Commit `made` as an evaluation and the decision on it; return the decision."""
    folder.mkdir(parents=True, exist_ok=True)
    evaluation = commit_evaluation(store, folder, made)
    config = config or DecideConfig(n_bootstrap=200)
    policy = PolicyConfig.model_validate({"name": "p"} | policy) if policy else None
    if budget:
        budget = ErrorBudget(golden="c" * 64, **budget)
    context = StageContext(work=folder, seed=3, progress=SilentProgress())
    terms = Terms(policy=policy, budget=budget, scope=SCOPE, author=author)
    output = decide(evaluation, config, context, terms=terms)
    manifest = evaluation.manifest
    parent = Parent(role="evaluation", kind="evaluate", digest=manifest.digest, key=manifest.key)
    return commit(
        store, Decision, "decide", output.files, parents=[parent], seed=3,
        config=config.model_dump(mode="json"), details=dict(output.details),
    )  # fmt: skip
