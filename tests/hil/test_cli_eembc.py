"""`hil eembc`: stimuli, what is printed and written, exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from firmware_interface import eembc
from firmware_interface.eembc import BenchmarkClient
from firmware_interface.errors import ConnectionLostError
from hil import cli_eembc
from hil.cli import run
from hil.cli_eembc import read_stimuli
from hil.errors import StimulusError
from tests.firmware_interface.fake_benchmark_board import HOST_CLOCK, FakeBenchmarkBoard


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "ic01"
    folder.mkdir()
    for number in range(6):
        (folder / f"s{number}.bin").write_bytes(bytes([number] * 200))
    (folder / "y_labels.csv").write_text("s0.bin,10,3\n")
    return folder


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> FakeBenchmarkBoard:
    monkeypatch.setattr(eembc, "time", HOST_CLOCK)
    board = FakeBenchmarkBoard()
    monkeypatch.setattr(cli_eembc, "open_benchmark", lambda port, baud: BenchmarkClient(board, port))
    return board


def test_board_is_measured_and_the_result_printed_and_written(
    board: FakeBenchmarkBoard, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "m.json"
    assert run(["eembc", "P", "--model", "ic01", "--stimuli", str(folder), "--json", "-o", str(output)]) == 0
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert json.loads(output.read_text("utf-8")) == found
    assert (found["baud"], found["model"], found["timed_by"]) == (115200, "ic01", "board")
    # The scripted board answers at once and says that ten seconds have gone, as an emulator might.
    assert (found["by_the_rules"], found["clocks_agree"]) == (False, False)
    assert "the board's clock is not the host's" in " ".join(said.err.split())
    assert found["throughput_per_s"] == pytest.approx(50.0)
    assert [window["stimulus"] for window in found["windows"]] == [f"s{number}.bin" for number in range(5)]
    for text in ("Median: 50", "first 5 of 6", "ULPMark", "s4.bin: measuring"):
        assert text in said.err


def test_quick_windows_are_marked(board: FakeBenchmarkBoard, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eembc", "P", "--stimuli", str(folder), "--quick", "--json"]) == 0
    said = capsys.readouterr()
    assert not json.loads(said.out)["by_the_rules"]
    assert "(quick" in said.err


def test_results_that_are_no_numbers_are_words_in_json(
    board: FakeBenchmarkBoard, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board.change = lambda command, lines: [
        "m-results-[nan,-inf]" if line.startswith("m-results") else line for line in lines
    ]
    assert run(["eembc", "P", "--stimuli", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["windows"][0]["results"] == ["nan", "-inf"]


def test_files_may_be_named_one_by_one(folder: Path) -> None:
    files = [folder / f"s{number}.bin" for number in (5, 4, 3, 2, 1)]
    assert [stimulus.name for stimulus in read_stimuli(files)] == [file.name for file in files]


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["s0.bin"] * 4, "expected 5 .bin files; got 4"),
        (["s0.bin"] * 4 + ["none.bin"], "cannot be read"),
        (["s0.bin"] * 4 + ["empty.bin"], "expected 1 to 27,648 bytes; got none"),
        (["s0.bin"] * 4 + ["long.bin"], "expected 1 to 27,648 bytes; got more"),
        (["sub"], "expected 5 .bin files; got 0"),
    ],
)
def test_stimuli_that_cannot_be_taken_are_bad_input(
    names: list[str], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty.bin").write_bytes(b"")
    (folder / "long.bin").write_bytes(bytes(27_649))
    (folder / "sub").mkdir()
    paths = [folder / name for name in names]
    with pytest.raises(StimulusError, match=said):
        read_stimuli(paths)
    assert run(["eembc", "P", *(text for path in paths for text in ("--stimuli", str(path)))]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("profile", "Board P, phase profile: no answer within 5 s. Last message from it: '"),
        ("infer", "Board P, phase infer 1 1: no answer within 1 s"),
    ],
)
def test_silence_is_the_bench_failing_with_phase_and_last_bytes(
    command: str, said: str, board: FakeBenchmarkBoard, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    board.change = lambda asked, lines: None if asked.startswith(command) else lines
    assert run(["eembc", "P", "--stimuli", str(folder), "--patience-s", "1"]) == 5
    assert said in capsys.readouterr().err


def test_wrong_model_and_lost_port_are_the_bench_failing(
    board: FakeBenchmarkBoard,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert run(["eembc", "P", "--stimuli", str(folder), "--model", "kws01"]) == 5
    assert "expected model kws01, the board has ic01" in capsys.readouterr().err

    def closed(timeout_s: float) -> bytes:
        raise ConnectionLostError("unplugged")

    monkeypatch.setattr(board, "read", closed)
    assert run(["eembc", "P", "--stimuli", str(folder)]) == 5
    assert "phase handshake: unplugged" in capsys.readouterr().err


def test_port_that_cannot_be_opened_is_the_bench_failing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eembc", "socket://127.0.0.1:1", "--stimuli", str(folder)]) == 5
    assert "phase open" in capsys.readouterr().err
