from __future__ import annotations

from pathlib import Path

import pytest

from server.cli import main


def run(*arguments: str) -> int | str | None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
        raise SystemExit(0)
    return ended.value.code


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("edgecut, version ")


def test_help_tells_of_dev_and_not_of_its_workers(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("server", "--help") == 0
    out = capsys.readouterr().out
    assert "dev" in out and "worker" not in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--host", "0.0.0.0"], "no log-in"),
        (["--port", "99999"], "--port"),
        (["--max-upload", "5"], ""),
        (["--max-upload", "5 parsecs"], "--max-upload"),
        (["--workers", "0"], "--workers"),
        (["--lab", "bench"], "NAME=FILE"),
        (["--lab", "a=x", "--lab", "a=y"], "NAME=FILE"),
        (["--lab", "bench=nowhere.yaml"], "nowhere.yaml"),
        (["--data", "/proc/nope"], "--data"),
    ],
)
def test_bad_input_is_one_paragraph_and_exit_code_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], said: str
) -> None:
    last = [] if "--host" in options or "--data" in options else ["--host", "192.0.2.1"]
    data = [] if "--data" in options else ["--data", str(tmp_path / "data")]
    assert run("server", "dev", *data, *options, *last) == 2
    captured = capsys.readouterr()
    assert said in captured.err and "Traceback" not in captured.err
    assert captured.out == ""
    assert not (tmp_path / "data").exists()


def test_debug_shows_the_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--debug", "server", "dev", "--host", "192.0.2.1", "--data", str(tmp_path)) == 2
    assert "Traceback" in capsys.readouterr().err
