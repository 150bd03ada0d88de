"""What the documents say exists: commands, options, configs, make targets, links."""

import itertools
import re
import shlex
from pathlib import Path

import pytest
import typer

from tuneloop.cli import app
from tuneloop.config.compare import CompareConfig
from tuneloop.config.schema import RunConfig
from tuneloop.config.simulate import SimulateConfig

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
FENCE = re.compile(r"^```(?:bash|console|sh|shell)\n(.*?)^```", re.M | re.S)
LINK = re.compile(r"\]\((?![a-z]+:|#)([^)\s#]+)(?:#[^)]*)?\)")
OWN_CONFIG = {"simulate": SimulateConfig, "compare": CompareConfig}
LAUNCHERS = re.compile(r"(?:^|.* )(?:\S*/)?(?:tuneloop|-m tuneloop)(?= |$)")
# The project speaks of itself alone: no machine, no registry, nothing left to do.
UNWANTED = {
    "an absolute path of one machine": r"(?<![\w.~-])/(?:work|root|home/\w+|Users/\w+)/",
    "a package registry": r"pypi\.org|pythonhosted|download\.pytorch\.org|index-url|find-links",
    "an issue number": r"\bissues? #?\d",
    "something unfinished": r"\b(?:TODO|FIXME|XXX|TBD)\b",
    "a place to fill in": r"\b[A-Z0-9]{3,}_(?:TEXT|RESULT)\b",
    "a private folder": r"\bshared/(?:design|reference)\b|\bhouse\.md\b",
}


def shell_lines(text):
    """Yield each command of the shell blocks, continuations joined, prompts and output left out."""
    for block in FENCE.findall(text):
        lines = block.replace("\\\n", " ").splitlines()
        prompted = any(line.startswith("$ ") for line in lines)
        for line in lines:
            if not prompted or line.startswith("$ "):
                yield line.removeprefix("$ ").strip()


def commands():
    for page in PAGES:
        for line in shell_lines(page.read_text("utf-8")):
            words = re.split(r"\s(?:#|\||&&|;|>)\s?", line)[0]
            if LAUNCHERS.match(words):
                rest = LAUNCHERS.sub("", words, count=1)
                yield f"{page.relative_to(ROOT)}: tuneloop{rest}", shlex.split(rest)


def refusal(words):
    """Return why the command line would refuse these words, or None."""
    command = typer.main.get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return f"no command {words[0]!r}"
        command, words = command.commands[words[0]], words[1:]
    options = {
        name: option
        for option in command.params
        if option.param_type_name == "option"
        for name in [*option.opts, *option.secondary_opts]
    }
    words = list(words)
    n_values = 0
    while words:
        word, _, value = words.pop(0).partition("=")
        if word == "--help":
            continue
        if not word.startswith("-"):
            n_values += 1
            continue
        if word not in options:
            return f"no option {word!r}"
        if not options[word].is_flag and not value:
            if not words:
                return f"{word} without a value"
            words.pop(0)
    arguments = [option for option in command.params if option.param_type_name == "argument"]
    any_number = any(argument.nargs == -1 for argument in arguments)
    return "too many values" if n_values > len(arguments) and not any_number else None


COMMANDS = dict(commands())


def test_the_documents_show_the_main_commands():
    shown = {words[0] for words in COMMANDS.values() if words}
    assert {"run", "simulate", "lineage"} <= shown


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_every_documented_command_exists(words):
    assert refusal(words) is None


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_documented_configs_and_keys_exist(words):
    for option, value in itertools.pairwise(words):
        if option in {"-c", "--config"} and value.startswith("configs/"):
            assert (ROOT / value).is_file(), value
        if option == "--set" and words[0] not in ("export", "golden"):  # there it names a set
            section = OWN_CONFIG.get(words[0], RunConfig)
            for name in value.partition("=")[0].split("."):
                assert name in section.model_fields, f"no key {name!r} in {section.__name__}"
                section = section.model_fields[name].annotation


def test_the_check_of_commands_can_fail():
    assert refusal(["run", "--no-such-option"]) == "no option '--no-such-option'"
    assert refusal(["no-such-verb"]) == "no command 'no-such-verb'"
    assert refusal(["run", "-c", "run.yaml"]) is None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_relative_link_resolves(page):
    links = LINK.findall(page.read_text("utf-8"))
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_documented_make_target_exists(page):
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    text = page.read_text("utf-8")
    named = re.findall(r"`make ([a-z]+)", text)
    named += [line.split()[1] for line in shell_lines(text) if re.match(r"make [a-z]", line)]
    assert not set(named) - targets


@pytest.mark.parametrize("text", ["DEMO_TEXT", "`TURN2_RESULT`", "see POISON_RESULT."])
def test_a_place_to_fill_in_is_found(text):
    assert re.search(UNWANTED["a place to fill in"], text)


def test_no_file_speaks_of_anything_but_the_project(repo_files):
    found = []
    for path in repo_files:
        # This file names what it looks for; data files hold what people wrote.
        if path == Path(__file__) or path.suffix in {".jsonl", ".csv", ".png", ".parquet"}:
            continue
        text = path.read_text("utf-8", errors="replace")
        found += [
            f"{path.relative_to(ROOT)}: {what}: {match.group()}"
            for what, pattern in UNWANTED.items()
            for match in re.finditer(pattern, text)
        ]
    assert not found
