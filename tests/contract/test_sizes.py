"""Files, functions and parameter lists stay small enough to read."""

import ast
import re

import pytest

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 6
BANNED_NAMES = {"utils.py", "helpers.py", "util.py", "helper.py", "common.py", "misc.py"}


@pytest.fixture(scope="module")
def sources(root):
    found = sorted((root / "src").rglob("*.py"))
    assert len(found) > 20, "the sources were not found"
    return {str(path.relative_to(root)): path.read_text(encoding="utf-8") for path in found}


def functions(sources):
    for name, text in sources.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{name}:{node.lineno} {node.name}", node


def test_no_file_is_too_long(sources):
    too_long = {
        name: lines
        for name, text in sources.items()
        if (lines := len(text.splitlines())) > MAX_FILE_LINES
    }
    assert not too_long


def test_no_function_is_too_long(sources):
    too_long = {
        name: lines
        for name, node in functions(sources)
        if (lines := node.end_lineno - node.lineno + 1) > MAX_FUNCTION_LINES
    }
    assert not too_long


def is_command(node):
    """A Typer command's parameters are its options, however many."""
    texts = [ast.unparse(decorator) for decorator in node.decorator_list]
    texts += [ast.unparse(a.annotation) for a in node.args.args if a.annotation]
    option = re.compile(r"app\.command\(|typer\.Option\(|\b[A-Z][a-z]+Option\b")
    return any(option.search(text) for text in texts)


def test_no_function_takes_too_many_parameters(sources):
    too_many = {}
    for name, node in functions(sources):
        arguments = node.args
        names = [a.arg for a in arguments.posonlyargs + arguments.args + arguments.kwonlyargs]
        n_parameters = len([n for n in names if n not in {"self", "cls", "ctx"}])
        if n_parameters > MAX_PARAMETERS and not is_command(node):
            too_many[name] = n_parameters
    assert not too_many


def test_every_file_is_named_for_what_it_holds(sources):
    assert not [name for name in sources if name.rsplit("/", 1)[-1] in BANNED_NAMES]
