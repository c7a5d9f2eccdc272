"""What the documents name exists: files, make targets, commands and their options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
PROGRAMS = {"optimizer": "optimizer.cli", "hil": "hil.cli", "edgecut": "server.cli"}


def commands(text: str) -> Iterator[list[str]]:
    """Commands of ours in the text's shell blocks and inline code, as words."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    lines += re.findall(rf"`((?:{'|'.join(PROGRAMS)}) [^`\n]+)`", text)
    for line in lines:
        words = shlex.split(line.strip().removeprefix("$ "), comments=True)
        if words and words[0] in PROGRAMS:
            yield words


def cases() -> list[tuple[str, str]]:
    return [
        (path.relative_to(ROOT).as_posix(), shlex.join(words))
        for path in DOCUMENTS
        for words in commands(path.read_text())
    ]


@pytest.mark.parametrize(("document", "line"), cases())
def test_command_and_its_options_exist(document: str, line: str) -> None:
    program, *words = shlex.split(line)
    command = import_module(PROGRAMS[program]).main
    assert isinstance(command, click.Command)
    while isinstance(command, click.Group):
        name = words.pop(0)
        assert name in command.commands, f"{document}: {program} has no command {name!r}"
        command = command.commands[name]
    known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)} | {"--help"}
    used = {w.split("=")[0] for w in words if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", w)}
    assert used <= known, f"{document}: {line}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text())
    missing = [t for t in targets if not t.startswith("http") and not (path.parent / t).exists()]
    assert missing == []


def test_folders_of_the_readme_exist() -> None:
    named = re.findall(r"^\| `([^`]+)` \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert named
    assert [n for n in named if not (ROOT / n).exists()] == []


def test_make_targets_of_the_readme_exist() -> None:
    wanted = set(re.findall(r"`?make ([a-z]+)", (ROOT / "README.md").read_text()))
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= wanted <= targets


@pytest.mark.integration
@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_python_blocks_run(path: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", path.read_text(), re.DOTALL):
        exec(compile(block, str(path), "exec"), {})
