"""The answer's Python code does what it should, run in a sandbox."""

from __future__ import annotations

import json
import secrets

import regex

from tuneloop.artefacts.golden import Check
from tuneloop.evaluate.checks.kind import Answer, CheckOutcome, Kind, NotThereError
from tuneloop.evaluate.checks.values import as_text, options
from tuneloop.runtime.sandbox import Limits, RunResult, run_python, why_not

_FENCE = regex.compile(
    r"^[ \t]*(```+|~~~+)[ \t]*([\w+-]*)[^\n]*\n(.*?)(?:^[ \t]*\1|\Z)",
    regex.DOTALL | regex.MULTILINE,
)
# The token is printed when all tests are through: an answer that ends early, or prints what it
# likes, has not passed. Code that looks for the token in its callers' frames would: answers are
# taken to be wrong, or hostile to the machine, but not written against this harness.
_HARNESS = """\
import json, os, sys

def run():
    token, answer, tests = json.load(sys.stdin)
    out = os.dup(1)
    scope = {"__name__": "answer"}
    exec(compile(answer, "answer.py", "exec"), scope)
    exec(compile(tests, "tests.py", "exec"), scope)
    sys.stdout.flush()
    os.write(out, ("\\n" + token).encode())

run()
"""


def code_in(answer: str) -> str:
    """Return the code of an answer: its fenced Python blocks, or all of it where there is none.

    Raises:
        NotThereError: where there is no code.
    """
    blocks = [(m.group(2).casefold(), m.group(3)) for m in _FENCE.finditer(answer, timeout=1.0)]
    python = [body for language, body in blocks if language in ("python", "py", "python3")]
    code = "\n".join(python or [body for language, body in blocks if not language])
    if not blocks:
        code = answer
    if not code.strip():
        raise NotThereError("no code")
    return code


def _run(check: Check, answer: Answer) -> CheckOutcome:
    code = code_in(as_text(answer.subject))
    if problem := why_not():
        return CheckOutcome(None, problem, "no_sandbox")
    value = check.value
    limits = Limits(
        time_s=float(value.get("time_s", 10)),
        memory_mib=int(value.get("memory_mib", 512)),
        n_processes=int(value.get("n_processes", 32)),
    )
    if "tests" in value:
        token = secrets.token_hex(16)
        stdin = json.dumps([token, code, value["tests"]])
        ran = run_python({"harness.py": _HARNESS}, "harness.py", stdin=stdin, limits=limits)
        passed = ran.ending == "ok" and ran.stdout.endswith(token)
    else:
        files = {"answer.py": code}
        ran = run_python(files, "answer.py", stdin=value.get("stdin", ""), limits=limits)
        passed = ran.ending == "ok" and _lines(ran.stdout) == _lines(value["stdout"])
    return CheckOutcome(passed, "" if passed else _why(ran))


def _lines(text: str) -> list[str]:
    return [line.rstrip() for line in text.strip().splitlines()]


def _why(ran: RunResult) -> str:
    said = [line for line in ran.stderr.strip().splitlines() if line.strip()]
    last = said[-1] if said else "another output than expected"
    return f"{ran.ending}: {ran.detail or last}"


def _problem(check: Check) -> str | None:
    number = (int, float)
    known = {"tests": str, "stdin": str, "stdout": str,
             "time_s": number, "memory_mib": int, "n_processes": int}  # fmt: skip
    if problem := options(check.value, known):  # type: ignore[arg-type]
        return problem
    if ("tests" in check.value) == ("stdout" in check.value):
        return "value needs either tests or stdout"
    if any(check.value.get(key, 1) <= 0 for key in ("time_s", "memory_mib", "n_processes")):
        return "limits must be above 0"
    try:
        compile(check.value.get("tests", ""), "tests", "exec")
    except (SyntaxError, ValueError) as error:
        return f"tests are no Python: {error}"
    return None


KIND = Kind(
    name="code",
    version=1,
    cost="sandbox",
    about="The answer's Python code runs in a sandbox and passes the tests, or prints what is "
    "expected; missing where nothing can be contained.",
    value="`tests` (Python that raises where the code is wrong) or `stdout` (with `stdin`), and "
    "limits: `time_s` (10), `memory_mib` (512), `n_processes` (32)",
    run=_run,
    problem=_problem,
)
