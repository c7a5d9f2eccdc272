"""The agent as a process: how it starts, what it refuses, and when it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from firmware_interface.keys import read_key, write_key
from firmware_interface.messages import Mode
from hil.agent_bundle import build_agent_bundle
from hil.deploy import deploy
from hil.deploy_bundle import open_bundle
from hil.errors import DeviceFailedError, DeviceLostError
from hil.lab_types import Lab, LabTarget
from hil.measure import random_stimuli
from hil.run import run
from hil.targets import connect_target
from tests.hil.bench_agents import AgentProcess, lab_of
from tests.hil.bench_samples import chain, frames_for, whole_model_outputs, write_bundle
from tests.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.integration


def _start_agent(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hil.agent_cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)


def test_a_port_in_use_is_one_clear_line(bench: Lab) -> None:
    done = _start_agent("--name", "x", "--port", str(bench.targets["a"].port))
    assert done.returncode == 2
    assert "the port is in use" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_open_address_without_a_key_is_refused() -> None:
    done = _start_agent("--name", "x", "--bind", "0.0.0.0")
    assert done.returncode == 2
    assert "needs a key" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_on_loopback_without_a_key_file_a_fresh_key_is_made(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hil.agent_cli", "--name", "x"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            key_file = Path(ready["key_file"])
            assert key_file.stat().st_mode & 0o777 == 0o600
            target = LabTarget("x", "network_agent", ready["host"], ready["port"])
            lab = Lab(tmp_path, "sample", read_key(key_file), True, "none", {"x": target})
            with connect_target(lab, "x") as board:
                assert board.identify().pid == process.pid
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 0
    assert not key_file.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_middle_of_a_run_ends_the_agent_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    with lab_of(tmp_path, ["a", "b"]) as (lab, agents):
        bundle = open_bundle(write_bundle(tmp_path / "bundle", chain(boards=("a", "b"))))
        with (
            contextlib.suppress(DeviceLostError, DeviceFailedError),
            deploy(bundle, lab, stimuli=random_stimuli(bundle)) as deployment,
        ):
            deployment.start(Mode.MEASURE, 0)
            agents["b"].process.send_signal(number)
            assert agents["b"].process.wait(PATIENCE_S) == 0
        assert agents["b"].process.stderr is not None
        assert agents["b"].process.stderr.read() == ""


def test_an_agent_does_not_outlive_its_starter(tmp_path: Path) -> None:
    write_key(tmp_path / "key")
    starter = (
        "import subprocess, sys, time, os\n"
        "p = subprocess.Popen([sys.executable, '-m', 'hil.agent_cli', '--name', 'x', '--key-file', sys.argv[1],"
        " '--exit-with-parent', str(os.getpid())], stdout=subprocess.PIPE)\n"
        "p.stdout.readline(); print(p.pid, flush=True); time.sleep(1000)\n"
    )
    command = [sys.executable, "-c", starter, str(tmp_path / "key")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        agent = int(process.stdout.readline())
        process.kill()
    wait_for(lambda: not _alive(agent), "the agent lives on")


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def test_the_bundle_runs_where_only_python_numpy_and_onnxruntime_are(tmp_path: Path) -> None:
    """agent.pyz under an isolated interpreter whose path holds three packages and nothing of ours."""
    import google.protobuf
    import onnxruntime

    packages = tmp_path / "packages"
    packages.mkdir()
    site = Path(onnxruntime.__file__).parents[1]
    wanted = ["numpy", "onnxruntime", *(p.name for p in site.glob("numpy.libs"))]
    for name in wanted:
        (packages / name).symlink_to(site / name)
    assert google.protobuf  # present here, absent there: the bundle must not need it
    bundle = build_agent_bundle(tmp_path / "agent.pyz")
    write_key(tmp_path / "lab.key")
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info[0]}.{sys.version_info[1]}"
    # -I -S: no environment, no user folder, no site-packages; the three packages are all there is.
    start = (
        f"import sys, runpy; sys.path.append({str(packages)!r}); sys.argv = ['agent.pyz', *sys.argv[1:]]; "
        f"runpy.run_path({str(bundle)!r}, run_name='__main__')"
    )
    check = f"import sys; sys.path.append({str(packages)!r}); import onnx"
    absent = subprocess.run([base, "-I", "-S", "-c", check], capture_output=True, cwd=tmp_path, check=False)
    assert b"ModuleNotFoundError" in absent.stderr
    command = [str(base), "-I", "-S", "-c", start, "--name", "a", "--key-file", str(tmp_path / "lab.key")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        try:
            assert process.stdout is not None
            ready = json.loads(process.stdout.readline())
            target = LabTarget("a", "network_agent", ready["host"], ready["port"])
            lab = Lab(tmp_path, "sample", read_key(tmp_path / "lab.key"), True, "none", {"a": target})
            sample = chain(boards=("a",))
            frames = frames_for(sample, 8)
            outputs = run(write_bundle(tmp_path / "bundle", sample), lab, {"x": frames})
            assert np.array_equal(outputs["t0"], whole_model_outputs(sample, frames)["t0"])
        finally:
            process.terminate()
            assert process.wait(PATIENCE_S) == 0


def test_an_agent_pinned_to_a_core_stays_there(tmp_path: Path) -> None:
    core = max(os.sched_getaffinity(0))
    write_key(tmp_path / "lab.key")
    agent = AgentProcess("a", tmp_path / "lab.key", arguments=["--core", str(core)])
    try:
        lab = Lab(tmp_path, "s", read_key(tmp_path / "lab.key"), True, "none", {"a": agent.target})
        with connect_target(lab, "a") as board:
            assert board.identify().facts["cores"] == [core]
    finally:
        agent.stop()
    assert _start_agent("--name", "x", "--core", "4096").returncode == 2
