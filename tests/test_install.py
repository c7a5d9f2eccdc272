"""What the machine lacks stands in the first line that `make install` prints."""

from __future__ import annotations

import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "tools" / "install.sh"
ENOUGH = 'case "$2" in *version_info*) exit 0;; esac; exit 1'


def first_line(tmp_path: Path, interpreters: dict[str, str], python: str = "") -> str:
    """Run the script where only these interpreters exist, each a shell script."""
    for name, body in interpreters.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(0o755)
    done = subprocess.run(
        ["/bin/sh", str(SCRIPT), str(tmp_path / "venv")],
        env={"PATH": str(tmp_path / "bin"), "PYTHON": python},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert not (tmp_path / "venv").exists()
    return (done.stderr + done.stdout).splitlines()[0]


def test_missing_python_is_named(tmp_path: Path) -> None:
    assert "apt-get install python3 python3-venv" in first_line(tmp_path, {})


def test_old_python_is_not_taken(tmp_path: Path) -> None:
    assert first_line(tmp_path, {"python3": "exit 1"}).startswith("Python 3.11 or newer is missing")


def test_missing_venv_is_named(tmp_path: Path) -> None:
    line = first_line(tmp_path, {"python3": ENOUGH})
    assert line == "python3 cannot make virtual environments: apt-get install python3-venv"


def test_chosen_interpreter_that_does_not_exist_is_named(tmp_path: Path) -> None:
    assert "tried python9" in first_line(tmp_path, {"python3": ENOUGH}, python="python9")


def test_missing_compiler_is_mentioned_and_installation_goes_on(tmp_path: Path) -> None:
    # This interpreter passes every check and then fails to make the environment: the line came first.
    body = 'case "$1" in -c) exit 0;; esac; exit 7'
    assert first_line(tmp_path, {"python3": body}).startswith("There is no C compiler: apt-get install gcc")
