"""Dockerfile.cuda builds from what is there: pinned, cached by layer, not as root."""

import re
import shlex

import pytest


@pytest.fixture(scope="module")
def steps(root):
    text = (root / "Dockerfile.cuda").read_text("utf-8")
    text = re.sub(r"^#.*\n", "", text, flags=re.M).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in text.splitlines() if line.strip()]


def arguments(steps, instruction):
    return [rest for name, rest in steps if name == instruction]


def test_the_base_image_is_pinned(steps):
    (image,) = arguments(steps, "FROM")
    assert re.fullmatch(r"nvidia/cuda:\d+\.\d+\.\d+-[\w.-]+", image)


def test_every_copied_source_exists_and_is_let_through(steps, root):
    ignore = (root / ".dockerignore").read_text("utf-8").split()
    assert "*" in ignore
    let_through = {line[1:].rstrip("/") for line in ignore if line.startswith("!")}
    copied = [source for rest in arguments(steps, "COPY") for source in shlex.split(rest)[:-1]]
    assert len(copied) >= 4
    for source in copied:
        assert (root / source).exists(), source
        assert source.split("/")[0] in let_through, f".dockerignore keeps {source} out"


def test_requirement_files_are_copied_before_they_are_installed(steps, root):
    copied = {}
    for name, rest in steps:
        if name == "COPY":
            *sources, target = shlex.split(rest)
            copied |= {target + source.rsplit("/", 1)[-1]: source for source in sources}
        for path in re.findall(r"-r (\S+)", rest if name == "RUN" else ""):
            assert path in copied
            text = (root / copied[path]).read_text("utf-8")
            for included in re.findall(r"^-r (\S+)", text, flags=re.M):
                assert path.rsplit("/", 1)[0] + "/" + included in copied


def test_the_pins_are_installed_before_the_sources_are_copied(steps):
    install = next(i for i, (n, rest) in enumerate(steps) if n == "RUN" and "-r " in rest)
    sources = next(i for i, (n, rest) in enumerate(steps) if n == "COPY" and "src " in rest)
    assert install < sources


def test_it_runs_as_another_user_than_root(steps):
    user = arguments(steps, "USER")[-1]
    assert user.split(":")[0] not in {"root", "0"}
    order = [name for name, _ in steps]
    assert order.index("USER") < order.index("ENTRYPOINT")
    assert "RUN" not in order[order.index("USER") :], "steps after USER would need root"


def test_it_starts_the_command_line_and_holds_no_secret(steps):
    assert arguments(steps, "ENTRYPOINT") == ['["tuneloop"]']
    settings = " ".join(arguments(steps, "ENV") + arguments(steps, "ARG"))
    assert not re.search(r"token|secret|password|api_key", settings, flags=re.I)
