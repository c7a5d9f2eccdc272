"""The command line: what it says, and its exit codes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from hil import cli, cli_bench
from hil.cli import run
from hil.cli_run import bundle_of, print_measurement
from hil.errors import BundleError, EmulationError
from hil.lab import make_key, save_lab
from hil.lab_types import Lab, LabTarget
from hil.measurement import Interval, Measurement, Modelled

COMMANDS = (
    "agent", "agent-bundle", "demo", "demo-mcu", "discover", "eembc", "emulate", "flash", "measure", "profile", "run",
)  # fmt: skip


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A lab of the demo's boards where nobody listens."""
    with closing(socket.create_server(("127.0.0.1", 0))) as unused:
        port = unused.getsockname()[1]
    targets = {name: LabTarget(name, "network_agent", "127.0.0.1", port) for name in ("left", "right")}
    lab = Lab(tmp_path / "lab.yaml", "demo", make_key(), False, "none", targets)
    save_lab(lab)
    return lab


def _one_paragraph(text: str) -> bool:
    return text.count("\n") <= 1 and "Traceback" not in text


def test_help_lists_all_commands_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n  {command} " in text
    for code in ("2 bad input", "5 the bench failed", "130 interrupted"):
        assert code in " ".join(text.split())


@pytest.mark.parametrize("command", [c for c in COMMANDS if c != "agent"])
def test_help_of_each_command_shows_an_example(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Example:" in text
    assert f"hil {command}" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["discover", "--lab", "nowhere.yaml"], "nowhere.yaml"),
        (["emulate", "dmo"], "Did you mean 'demo'?"),
        (["run", "p.json", "--lab", "nowhere.yaml", "--input", "x.npz"], "nowhere.yaml"),
        (["measure", "p.json", "--lab", "nowhere.yaml"], "nowhere.yaml"),
        (["profile", "zoo:mobilenet_v2", "--lab", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_bad_input_is_exit_code_2_and_one_paragraph(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments) == 2
    error = capsys.readouterr().err
    assert said in error
    assert _one_paragraph(error)


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["emulate"],
        ["emulate", "demo", "--shaping", "tk"],
        ["emulate", "demo", "--cores", "a,b"],
        ["measure", "p", "--lab", "l", "--windows", "3"],
        ["profile", "m", "--lab", "l", "--runs", "0"],
        ["discover"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == 2
    assert "Usage" in capsys.readouterr().err


def test_core_that_is_not_there_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["emulate", "demo", "--cores", "0,4095"]) == 2
    assert "core 4095 cannot be used" in capsys.readouterr().err


def test_board_that_does_not_answer_is_exit_code_5(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["discover", "--lab", str(lab.path), "--json"]) == 5
    output = capsys.readouterr()
    assert set(json.loads(output.out)["errors"]) == {"left", "right"}
    assert "phase connect" in output.err.splitlines()[-1]


def test_profile_of_a_missing_model_is_exit_code_2(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["profile", "missing.onnx", "--lab", str(lab.path)]) == 2
    assert "missing.onnx" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, b"", b"not an archive", b"PK\x03\x04cut"])
def test_input_that_is_no_npz_is_exit_code_2(
    lab: Lab, tmp_path: Path, content: bytes | None, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x.npz"
    if content is not None:
        path.write_bytes(content)
    assert run(["run", "plan.json", "--lab", str(lab.path), "--input", str(path)]) == 2
    error = capsys.readouterr().err
    assert "the input cannot be read" in error
    assert _one_paragraph(error)


def test_input_that_is_one_array_is_refused(lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    arguments = ["run", "plan.json", "--lab", str(lab.path), "--input", str(tmp_path / "x.npy")]
    assert run(arguments) == 2
    assert "a single array without a name" in capsys.readouterr().err


def test_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no bundle.*manifest\.json"), bundle_of(tmp_path):
        pytest.fail("accepted")


def test_interruption_is_exit_code_130(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli_bench, "discover", interrupt)
    assert run(["discover", "--lab", str(lab.path)]) == 130
    assert capsys.readouterr().err.strip() == "Interrupted."


def test_termination_unwinds_before_it_ends(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    unwound = []

    def wait(*_: object) -> None:
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.sigtimedwait([], 5)
        finally:
            unwound.append(True)

    monkeypatch.setattr(cli_bench, "discover", wait)
    with pytest.raises(SystemExit) as ended:
        run(["discover", "--lab", str(lab.path)])
    assert ended.value.code == 128 + signal.SIGTERM
    assert unwound
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_debug_shows_the_traceback(
    lab: Lab, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise EmulationError("something", got="nothing")

    monkeypatch.setattr(cli_bench, "discover", fail)
    monkeypatch.setattr(sys, "excepthook", cli._explain_internal_error)  # as a call of main() without it leaves it
    assert run(["--debug", "discover", "--lab", str(lab.path)]) == 5
    assert "Traceback" in capsys.readouterr().err


def test_internal_error_is_exit_code_1_and_one_paragraph() -> None:
    code = "from hil import cli, cli_bench; cli_bench.discover = lambda *_: 1 / 0; cli.main()"
    command = [sys.executable, "-c", code, "discover", "--lab", "x"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "internal error: ZeroDivisionError" in done.stderr
    assert "--debug" in done.stderr
    assert _one_paragraph(done.stderr)


def test_agent_without_a_key_beyond_loopback_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["agent", "--name", "left", "--bind", "0.0.0.0"]) == 2
    assert "key" in capsys.readouterr().err


def test_agent_bundle_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "agent.pyz"
    assert run(["agent-bundle", "-o", str(path)]) == 0
    assert capsys.readouterr().out.strip() == str(path)
    assert path.stat().st_size > 1000


def test_agent_bundle_in_a_missing_folder_is_exit_code_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["agent-bundle", "-o", str(tmp_path / "no" / "agent.pyz")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_energy_never_stands_in_the_measured_column(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    print_measurement(_measurement())
    lines = [line for line in capsys.readouterr().err.splitlines() if "energy" in line]
    cells = [cell.strip() for cell in lines[0].split("│")[1:]]
    assert cells[:2] == ["energy", "-"]
    assert "model" in cells[2]


def test_quick_partial_and_emulated_are_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "140")
    print_measurement(_measurement())
    assert "quick; PARTIAL; emulated, links: tc" in capsys.readouterr().err


def _measurement() -> Measurement:
    return Measurement(
        model={"source": "zoo:x"},
        source="left",
        sink="right",
        emulated=True,
        shaping="tc",
        quick=True,
        partial=True,
        failure="board right died",
        warmup_s=1.0,
        window_s=2.0,
        windows=(),
        throughput_per_s=Interval(10.0, 9.0, 11.0, 0.97, 6),
        latency=None,
        stages=(),
        links=(),
        modelled=Modelled("model", 0.5, {}),
        prediction={"period_s": 0.1, "throughput_per_s": 10.0, "latency_s": 0.2, "energy_j": 0.4},
        relative_error={"throughput_per_s": 0.0},
        checksum_mismatches=0,
    )


def test_run_names_are_the_commands() -> None:
    assert set(cli.cli.commands) == set(COMMANDS)
