"""Running code that nobody has read, contained or not at all."""

from tuneloop.runtime.sandbox.run import Limits, RunResult, run_python, why_not

__all__ = ["Limits", "RunResult", "run_python", "why_not"]
