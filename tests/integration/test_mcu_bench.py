"""The digits network over emulated Cortex-M4 boards, end to end: the same outputs as one board, and a measurement."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from boards.catalog import load_system
from hil.cli import run as hil
from hil.emulate import emulate
from hil.errors import DeviceError
from hil.flash import flash
from hil.lab_types import Lab
from hil.measure import measure, random_stimuli
from hil.run import run
from hil.targets import connect_mcu
from optimizer.problem import Limits
from optimizer.request import SolveRequest, solve_request, write_results
from tests.hil.mcu_bench import SYSTEM, bundle_of, expected_outputs
from tests.needs import needs_program, needs_qemu
from tests.waiting import wait_for

MODEL = "zoo:tiny_digits_int8"
FRAMES = 5

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    needs_qemu()
    with emulate(SYSTEM) as found:
        yield found


@pytest.mark.parametrize(
    "boards", [["head"], ["head", "tail"], ["tail", "head"], ["head", "middle", "tail"]], ids="-".join
)
def test_outputs_are_those_of_one_board(lab: Lab, tmp_path: Path, boards: list[str]) -> None:
    bundle = bundle_of(tmp_path / "b", MODEL, boards)
    inputs = random_stimuli(bundle, FRAMES)
    outputs = run(bundle.directory, lab, inputs, stall_s=120.0)
    for name, expected in expected_outputs(bundle, inputs).items():
        np.testing.assert_array_equal(outputs[name], expected)


def test_measurement_is_by_the_boards_clocks(lab: Lab, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "b", MODEL, ["head", "tail"])
    found = measure(bundle.directory, lab, windows=6, window_s=0.5, warmup_s=0.5, latency_frames=3)
    # However busy this machine is: a window counts, or it is void because a clock has drifted.
    assert len(found.windows) == 6 or len(found.windows) + found.void_windows >= 12
    assert all(w.frames >= 3 for w in found.windows)
    assert found.emulated
    assert set(found.environment["largest_drift"]) == {"head", "middle", "tail"}
    assert found.latency.count >= 3 if found.latency is not None else found.void_windows >= 2
    stages = {stage.processor: stage.compute_s for stage in found.stages}
    assert set(stages) == {"head/m4", "tail/m4"}
    assert all(0 < seconds < 0.1 for seconds in stages.values())  # by guests' clocks, which count instructions


def test_a_starter_that_is_killed_leaves_no_board_behind(tmp_path: Path) -> None:
    needs_qemu()
    needs_program("setpriv", "apt-get install util-linux")
    command = [sys.executable, "-m", "hil.cli", "emulate", SYSTEM, "--lab-out", str(tmp_path / "lab.yaml"), "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as starter:
        assert starter.stdout is not None
        said = ""
        while not said.endswith("}\n}\n"):
            line = starter.stdout.readline()
            assert line, said
            said += line.replace(" ", "")
        boards = [psutil.Process(pid) for pid in json.loads(said)["processes"].values()]
        starter.kill()
    wait_for(lambda: not any(board.is_running() for board in boards), "boards that outlive their starter")


def test_a_board_that_is_reset_while_it_runs_is_named_and_serves_again(lab: Lab, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "b", MODEL, ["head", "tail"])
    inputs = random_stimuli(bundle, 200)

    def reset(text: str) -> None:
        if text.startswith("3 of"):
            with connect_mcu(lab, "tail") as other:
                other.client.reset()

    with pytest.raises(DeviceError, match="Board tail, phase"):
        run(bundle.directory, lab, inputs, stall_s=20.0, progress=reset)
    assert all(f.sent_bytes in (0, f.size_bytes) for f in flash(bundle.directory, lab))
    few = {name: frames[:2] for name, frames in inputs.items()}
    outputs = run(bundle.directory, lab, few, stall_s=120.0)
    for name, expected in expected_outputs(bundle, few).items():
        np.testing.assert_array_equal(outputs[name], expected)


def test_commands_from_profile_to_outputs(lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    costs, plan = tmp_path / "costs.json", tmp_path / "plan"
    assert hil(["profile", MODEL, "--lab", str(lab.path), "-o", str(costs), "--json"]) == 0
    links = json.loads(capsys.readouterr().out)["links"]
    assert all(figures["send_s_per_byte"] > figures["receive_s_per_byte"] > 0 for figures in links.values())
    request = SolveRequest(MODEL, load_system(SYSTEM), costs, limits=Limits(pins={"classifier": "tail"}))
    plan.mkdir()
    write_results(solve_request(request), plan)
    inputs = {"input": np.zeros((2, 1, 1, 8, 8), np.int8)}
    np.savez(tmp_path / "x.npz", **inputs)
    arguments = ["run", str(plan / "plan.json"), "--lab", str(lab.path), "--input", str(tmp_path / "x.npz")]
    assert hil([*arguments, "-o", str(tmp_path / "y.npz")]) == 0
    with np.load(tmp_path / "y.npz") as outputs:
        assert outputs["output"].shape == (2, 1, 10)
