"""Rules that score one answer. A kind of check is one file in `rules/`."""

from tuneloop.evaluate.checks.kind import Answer, CheckOutcome, Kind, NotThereError, kinds
from tuneloop.evaluate.checks.run import check_golden, prompt_passes, run_check
from tuneloop.evaluate.checks.values import parse_json

__all__ = [
    "Answer",
    "CheckOutcome",
    "Kind",
    "NotThereError",
    "check_golden",
    "kinds",
    "parse_json",
    "prompt_passes",
    "run_check",
]
