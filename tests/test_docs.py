"""What the documents name exists: files, make targets, commands and their options."""

from __future__ import annotations

import io
import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import cache
from importlib import import_module
from pathlib import Path

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
        if line.partition(" ")[0] in PROGRAMS:
            yield shlex.split(line, comments=True)


def cases() -> list[tuple[str, str]]:
    return [
        (path.relative_to(ROOT).as_posix(), shlex.join(words))
        for path in DOCUMENTS
        for words in commands(path.read_text())
    ]


@cache
def help_of(program: str, command: tuple[str, ...]) -> str | None:
    """What ``program command --help`` prints; None where there is no such command."""
    out, code = io.StringIO(), None
    with redirect_stdout(out), redirect_stderr(io.StringIO()):
        try:
            code = import_module(PROGRAMS[program]).main([*command, "--help"])
        except SystemExit as end:
            code = end.code
    return None if code else out.getvalue()


@pytest.mark.parametrize(("document", "line"), cases())
def test_command_and_its_options_exist(document: str, line: str) -> None:
    program, *words = shlex.split(line)
    bare = [w for w in words if re.fullmatch(r"[a-z-]+", w)]
    command = tuple(bare[: 2 if program == "edgecut" else 1])
    text = help_of(program, command)
    assert text is not None, f"{document}: {program} has no command {' '.join(command)!r}"
    used = {w.split("=")[0] for w in words if re.fullmatch(r"--?[a-z][a-z-]*(=.*)?", w)}
    missing = [w for w in used if not re.search(rf"(?<![\w-]){w}(?![\w-])", text)]
    assert missing == [], f"{document}: {line}"


@pytest.mark.parametrize(("program", "group"), [("optimizer", ()), ("hil", ()), ("edgecut", ("server",))])
def test_lists_of_commands_cut_no_sentence_off(program: str, group: tuple[str, ...]) -> None:
    text = help_of(program, group)
    assert text is not None
    assert re.findall(r"^  [a-z-]+ .*\.\.\.$", text, re.MULTILINE) == []


def test_http_calls_are_those_of_the_service(tmp_path: Path) -> None:
    from server.app import create_app
    from server.config import ServerConfig

    app = create_app(ServerConfig(tmp_path / "data"))
    names = "|".join(("plan", "front", "report", "measurement"))
    served = {
        f"{method} {path}"
        for rule in app.url_map.iter_rules()
        for path in expand(re.sub(r"<(?!any)[^>]+>", "ID", rule.rule), names)
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    text = (ROOT / "docs" / "http-api.md").read_text()
    written = set(re.findall(r"^\| `((?:GET|POST|DELETE|PUT|PATCH) /v1[^`?]*)", text, re.MULTILINE))
    assert written == served


def expand(rule: str, names: str) -> list[str]:
    """One address for each word that the rule's ``any(...)`` takes."""
    return [re.sub(r"<any[^>]*>", name, rule) for name in names.split("|")] if "<any" in rule else [rule]


def test_http_problems_are_those_of_the_service() -> None:
    from server.problems import KINDS

    text = (ROOT / "docs" / "http-api.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)` \| (\d+|in a job) \|", text, re.MULTILINE)
    assert dict(rows) == {k: "in a job" if status is None else str(status) for k, (status, _) in KINDS.items()}


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
