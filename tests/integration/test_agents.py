"""Real agents as processes on loopback: plans run as scheduled, failures end with a name, nothing is left."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from firmware_interface.keys import read_key, write_key
from firmware_interface.messages import Mode
from hil.agent_bundle import build_agent_bundle
from hil.deploy import deploy
from hil.deploy_bundle import open_bundle
from hil.errors import (
    BundleError,
    BusyError,
    ConnectError,
    DeviceFailedError,
    DeviceLostError,
    DeviceTimeoutError,
    LabError,
    MeasurementAbortedError,
    WrongBoardError,
    WrongKeyError,
)
from hil.lab_types import Lab, LabLink, LabTarget
from hil.measure import measure, random_stimuli
from hil.run import run
from hil.targets import connect_target
from tests.hil.bench_samples import (
    AgentProcess,
    Sample,
    branches,
    chain,
    frames_for,
    lab_of,
    revisited,
    skip_over_relay,
    whole_model_outputs,
    write_bundle,
)

pytestmark = pytest.mark.integration

BOARDS = ("a", "b", "c")
SAMPLES: dict[str, Callable[[], Sample]] = {
    "chain": chain,
    "chain, depth 1": lambda: chain(depth=1),
    "chain, depth 7": lambda: chain(depth=7),
    "chain whose links do not overlap": lambda: replace(chain(), attended=True),
    "skip over a relay": skip_over_relay,
    "skip over a relay, depth 1": lambda: skip_over_relay(depth=1),
    "parallel branches": branches,
    "parallel branches, depth 1": lambda: branches(depth=1),
    "board revisited": revisited,
}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three agents for all tests that leave them as they were."""
    with lab_of(tmp_path_factory.mktemp("lab"), BOARDS) as (lab, _):
        yield lab


def _states(lab: Lab) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in lab.targets:
        with connect_target(lab, name) as board:
            found[name] = board.identify().facts["state"]
    return found


def _wait_idle(lab: Lab, timeout_s: float = 8.0) -> None:
    end = time.monotonic() + timeout_s
    while set((states := _states(lab)).values()) != {"idle"}:
        assert time.monotonic() < end, states
        time.sleep(0.05)


@pytest.mark.parametrize("name", SAMPLES)
def test_run_gives_the_outputs_of_the_whole_model(bench: Lab, tmp_path: Path, name: str) -> None:
    sample = SAMPLES[name]()
    frames = frames_for(sample, 40)
    outputs = run(write_bundle(tmp_path / "bundle", sample), bench, {"x": frames}, stall_s=10.0)
    for tensor, wanted in whole_model_outputs(sample, frames).items():
        assert np.array_equal(outputs[tensor], wanted)
    _wait_idle(bench)


def test_a_single_frame_and_flat_batches_run_as_well(bench: Lab, tmp_path: Path) -> None:
    sample = revisited()
    bundle = write_bundle(tmp_path / "bundle", sample)
    frames = frames_for(sample, 5)
    wanted = whole_model_outputs(sample, frames)["y"]
    assert np.array_equal(run(bundle, bench, {"x": frames[:1]})["y"], wanted[:1])
    flat = run(bundle, bench, {"x": frames.reshape(-1, *sample.shape[1:])})["y"]
    assert np.array_equal(flat, wanted.reshape(flat.shape))
    assert run(bundle, bench, {"x": frames[:0]})["y"].shape == (0, *sample.shape)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"z": np.zeros((1, 1, 8, 16), np.float32)}, "do not fit"),
        ({"x": np.zeros((1, 1, 8, 16), np.float64)}, "float64"),
        ({"x": np.zeros((1, 1, 8, 15), np.float32)}, "wrong shape"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    bench: Lab, tmp_path: Path, inputs: dict[str, np.ndarray[tuple[int, ...], np.dtype[np.float32]]], says: str
) -> None:
    with pytest.raises(BundleError, match=says):
        run(write_bundle(tmp_path / "bundle", chain()), bench, inputs)


def test_large_tensors_cross_in_both_directions_at_once(bench: Lab, tmp_path: Path) -> None:
    sample = replace(revisited(), shape=(1, 64, 4096))
    frames = frames_for(sample, 12)
    outputs = run(write_bundle(tmp_path / "bundle", sample), bench, {"x": frames}, stall_s=20.0)
    assert np.array_equal(outputs["y"], whole_model_outputs(sample, frames)["y"])


@pytest.mark.parametrize(
    "name", ["skip over a relay", "parallel branches", "board revisited", "chain whose links do not overlap"]
)
def test_measure_gives_windows_latency_stages_and_links(bench: Lab, tmp_path: Path, name: str) -> None:
    sample = SAMPLES[name]()
    path = tmp_path / "measurement.json"
    bundle = write_bundle(tmp_path / "bundle", sample)
    found = measure(bundle, bench, windows=7, window_s=0.1, warmup_s=0.05, latency_frames=12, quick=True, output=path)
    assert (found.quick, found.partial, found.emulated, found.checksum_mismatches) == (True, False, True, 0)
    assert len(found.windows) == 7
    assert found.throughput_per_s is not None
    assert found.throughput_per_s.low > 0
    assert found.throughput_per_s.coverage > 0.95
    assert found.latency is not None
    assert found.latency.count == 12
    assert 0 < found.latency.p50_s <= found.latency.p90_s <= found.latency.p99_s < 1
    assert (found.latency.token_return_s > 0) == (sample.source != sample.sink)
    segments = {s for stage in found.stages for s in stage.segments}
    assert segments == {p.name for p in sample.parts}
    assert all(v > 0 for stage in found.stages for v in stage.segments.values())
    size = 4 * int(np.prod(sample.shape))
    crossing = {"skip over a relay": {"a->b": 2, "b->c": 3}}.get(name)
    if crossing:
        assert {k.link: round(k.bytes_per_frame / size) for k in found.links} == crossing
    saved = json.loads(path.read_text())
    assert saved["schema"] == "edgecut/measurement/1"
    assert saved["modelled"]["energy_source"] == "model"
    assert not any("energy" in key for key in saved if key not in ("modelled", "prediction"))
    assert set(saved["relative_error"]) == {"throughput_per_s", "period_s", "latency_s"}
    assert set(saved["environment"]["boards"]) == set(open_bundle(bundle).boards)
    _wait_idle(bench)


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_frames_are_alive_than_the_depth_allows(bench: Lab, tmp_path: Path, depth: int) -> None:
    """Nobody takes the outputs from c, so every board stops after as many frames as may be alive before it."""
    bundle = open_bundle(write_bundle(tmp_path / "bundle", chain(depth=depth)))
    with deploy(bundle, bench, stimuli=random_stimuli(bundle)) as deployment:
        deployment.boards["c"].start(Mode.RUN, 1000)
        for name in ("b", "a"):
            deployment.boards[name].start(Mode.MEASURE, 0)
        time.sleep(0.5)
        done = {
            segment: counters["frames"]
            for name in BOARDS
            for segment, counters in deployment.boards[name]
            .statistics("test")["processors"][f"{name}/cpu"]["segments"]
            .items()
        }
    assert done == {"s0": 3 * depth, "s1": 2 * depth, "s2": depth}
    _wait_idle(bench)


def test_killing_an_agent_ends_the_measurement_with_its_name(tmp_path: Path) -> None:
    sample = chain(work=4)
    path = tmp_path / "measurement.json"
    with lab_of(tmp_path, BOARDS) as (lab, agents):
        bundle = write_bundle(tmp_path / "bundle", sample)
        killed: list[float] = []

        def kill_after_the_second_window(text: str) -> None:
            if text.startswith("window 2"):
                agents["b"].process.kill()
                killed.append(time.monotonic())

        with pytest.raises(MeasurementAbortedError) as caught:
            measure(
                bundle,
                lab,
                window_s=0.5,
                warmup_s=0.2,
                output=path,
                progress=kill_after_the_second_window,
            )
        assert time.monotonic() - killed[0] < 5.0
        cause = caught.value.cause
        assert isinstance(cause, DeviceLostError)
        assert (cause.board, cause.phase) == ("b", "measure")
        assert "Board b, phase measure" in str(caught.value)
        saved = json.loads(path.read_text())
        assert saved["partial"] is True
        assert len(saved["windows"]) == 2
        assert "Board b" in saved["failure"]
        rest = Lab(lab.path, lab.system, lab.key, True, "none", {n: lab.targets[n] for n in ("a", "c")})
        _wait_idle(rest)
    assert all(agent.process.poll() is not None for agent in agents.values())


def test_killing_an_agent_ends_a_run_with_its_name(tmp_path: Path) -> None:
    sample = replace(chain(work=8), shape=(1, 64, 256))
    with lab_of(tmp_path, BOARDS) as (lab, agents):
        bundle = write_bundle(tmp_path / "bundle", sample)

        def kill_once_frames_flow(text: str) -> None:
            if text[0].isdigit() and not text.startswith("0 of"):
                agents["c"].process.kill()

        with pytest.raises(DeviceLostError) as caught:
            run(bundle, lab, {"x": frames_for(sample, 5_000)}, progress=kill_once_frames_flow)
        assert (caught.value.board, caught.value.phase) == ("c", "run")


def test_after_the_controller_vanishes_the_boards_are_free_again(bench: Lab, tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "bundle", skip_over_relay()))
    with contextlib.suppress(DeviceLostError), deploy(bundle, bench, stimuli=random_stimuli(bundle)) as deployment:
        deployment.start(Mode.MEASURE, 0)
        time.sleep(0.2)
        assert deployment.statistics("test")["c"]["sink"]["frames"] > 0
        for board in deployment.boards.values():
            board._open_client().connection.close()  # no goodbye: as if the host had died
    _wait_idle(bench)
    frames = frames_for(skip_over_relay(), 10)
    outputs = run(tmp_path / "bundle", bench, {"x": frames})
    assert np.array_equal(outputs["y"], whole_model_outputs(skip_over_relay(), frames)["y"])


def test_a_second_controller_is_told_that_the_board_is_busy(bench: Lab, tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "bundle", chain()))
    with deploy(bundle, bench), pytest.raises(BusyError) as caught, deploy(bundle, bench):
        pass
    assert caught.value.board in BOARDS
    _wait_idle(bench)


def test_a_second_controller_cannot_put_files_meanwhile(bench: Lab, tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.write_bytes(bytes(3_000_000))
    other.write_bytes(b"other")
    with connect_target(bench, "a") as first, connect_target(bench, "a") as second:
        sha = first.put_file(mine)
        with pytest.raises(BusyError):
            second.put_file(other)
        assert second.identify().facts["state"] == "held"  # the connection is in step after the refusal
        assert first.fetch_file(sha, 3_000_000) == mine.read_bytes()


def test_the_wrong_key_is_refused_and_says_so(bench: Lab) -> None:
    with pytest.raises(WrongKeyError, match=r"Board a, phase connect: the key is wrong"):
        connect_target(replace(bench, key=bytes(32)), "a")


def test_boards_that_do_not_share_a_key_cannot_be_linked(tmp_path: Path) -> None:
    """The host knows both keys in turn only through the lab, so an impostor board shows when links open."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with lab_of(tmp_path / "one", ["a", "b"]) as (lab, _), lab_of(tmp_path / "two", ["b"]) as (other, _agents):
        stranger = other.targets["b"]
        false = replace(lab, links={"a->b": LabLink("a->b", stranger.host, stranger.port)})
        bundle = write_bundle(tmp_path / "bundle", chain(boards=("a", "b")))
        with pytest.raises(DeviceFailedError, match=r"link a->b to b at .*key"):
            run(bundle, false, {"x": frames_for(chain(), 1)})
        _wait_idle(lab)


def test_another_board_behind_the_address_is_found_out(bench: Lab) -> None:
    swapped = replace(bench, targets={**bench.targets, "a": replace(bench.targets["b"], name="a")})
    with pytest.raises(WrongBoardError, match="this is board b, not a"):
        connect_target(swapped, "a")


def test_a_link_that_leads_to_another_board_is_found_out(bench: Lab, tmp_path: Path) -> None:
    wrong = bench.targets["c"]
    false = replace(bench, links={"a->b": LabLink("a->b", wrong.host, wrong.port)})
    with pytest.raises(DeviceFailedError, match="this is board c, not b"):
        run(write_bundle(tmp_path / "bundle", chain()), false, {"x": frames_for(chain(), 1)})
    _wait_idle(bench)


def test_nobody_at_the_address_is_said_with_the_board(bench: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    gone = replace(bench, targets={"a": LabTarget("a", "network_agent", "127.0.0.1", port)})
    with pytest.raises(ConnectError, match=r"Board a, phase connect: cannot connect to 127\.0\.0\.1"):
        connect_target(gone, "a")


def test_a_silent_board_ends_at_the_deadline(bench: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        mute = replace(bench, targets={"a": LabTarget("a", "network_agent", host, port)})
        begin = time.monotonic()
        with pytest.raises(DeviceTimeoutError):
            connect_target(mute, "a")
        assert time.monotonic() - begin < 8.0


def test_a_plan_for_boards_that_the_lab_lacks_is_refused(bench: Lab, tmp_path: Path) -> None:
    small = replace(bench, targets={"a": bench.targets["a"]})
    with pytest.raises(LabError, match="b, c"):
        measure(write_bundle(tmp_path / "bundle", chain()), small)
    with pytest.raises(LabError, match="no board z"):
        connect_target(bench, "z")


def test_a_model_that_does_not_load_is_named(bench: Lab, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with connect_target(bench, "a") as board:
        sha = board.put_file(broken)
        with pytest.raises(DeviceFailedError, match="MODEL"):
            board.time_model(sha, runs=1)
        with pytest.raises(DeviceFailedError, match="NO_SUCH_FILE"):
            board.time_model("0" * 64, runs=1)


def test_profile_times_and_probe(bench: Lab, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", chain(work=2))
    with connect_target(bench, "a") as board:
        sha = board.put_file(folder / "segments" / "s0.onnx")
        assert board.put_file(folder / "segments" / "s0.onnx") == sha
        profile = board.profile_model(sha, runs=5)
        assert (len(profile.times_ns), len(profile.profiled_ns), profile.runs) == (5, 5, 5)
        events = json.loads(profile.trace)
        assert sum(e["name"].endswith("MatMul_kernel_time") or "MatMul" in e["name"] for e in events) >= 5
        assert 0 < len(profile.optimised_model) < 20_000
        times = board.time_model(sha, runs=7, warmup=1)
        assert len(times.times_ns) == len(times.cpu_ns) == 7
        target = bench.targets["b"]
        probe = board.probe_link("a->b", "b", (target.host, target.port), sizes=(0, 10_000), repeats=4, burst_size=5000)
        assert {k: len(v) for k, v in probe.round_trip_ns.items()} == {0: 4, 10_000: 4}
        assert probe.burst_bytes == 8 * 5000
        assert min(probe.burst_receive_ns, probe.burst_send_cpu_ns, probe.burst_receive_cpu_ns) > 0


def _start_agent(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "hil.agent_cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)


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
            assert process.wait(10) == 0
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
            assert agents["b"].process.wait(10) == 0
        assert agents["b"].process.stderr is not None
        assert agents["b"].process.stderr.read() == ""


def test_an_agent_does_not_outlive_its_starter(tmp_path: Path) -> None:
    write_key(tmp_path / "key")
    starter = (
        "import subprocess, sys, time, os\n"
        "p = subprocess.Popen([sys.executable, '-m', 'hil.agent_cli', '--name', 'x', '--key-file', sys.argv[1],"
        " '--exit-with-parent', str(os.getpid())], stdout=subprocess.PIPE)\n"
        "p.stdout.readline(); print(p.pid, flush=True); time.sleep(60)\n"
    )
    command = [sys.executable, "-c", starter, str(tmp_path / "key")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        agent = int(process.stdout.readline())
        process.kill()
    end = time.monotonic() + 5.0
    while _alive(agent):
        assert time.monotonic() < end
        time.sleep(0.02)


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
            assert process.wait(10) == 0


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
