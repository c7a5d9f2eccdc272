"""Real agents as processes on loopback: plans run and are measured as scheduled."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from firmware_interface.messages import Mode
from hil.deploy import Deployment, deploy
from hil.deploy_bundle import open_bundle
from hil.errors import BundleError
from hil.lab_types import Lab
from hil.measure import measure, random_stimuli
from hil.run import run
from hil.targets import connect_target
from tests.hil.bench_agents import BOARDS, wait_idle
from tests.hil.bench_samples import (
    Sample,
    branches,
    chain,
    frames_for,
    revisited,
    skip_over_relay,
    whole_model_outputs,
    write_bundle,
)
from tests.waiting import PATIENCE_S, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.alone]

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


@pytest.mark.parametrize("name", SAMPLES)
def test_run_gives_the_outputs_of_the_whole_model(bench: Lab, tmp_path: Path, name: str) -> None:
    sample = SAMPLES[name]()
    frames = frames_for(sample, 40)
    outputs = run(write_bundle(tmp_path / "bundle", sample), bench, {"x": frames}, stall_s=PATIENCE_S)
    for tensor, wanted in whole_model_outputs(sample, frames).items():
        assert np.array_equal(outputs[tensor], wanted)
    wait_idle(bench)


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
    outputs = run(write_bundle(tmp_path / "bundle", sample), bench, {"x": frames}, stall_s=PATIENCE_S)
    assert np.array_equal(outputs["y"], whole_model_outputs(sample, frames)["y"])


def test_outputs_that_differ_for_the_same_input_are_counted_at_a_sink_far_from_the_source(
    bench: Lab, tmp_path: Path
) -> None:
    sample = chain()
    assert sample.sink != sample.source
    *parts, last = sample.parts
    bundle = write_bundle(tmp_path / "bundle", replace(sample, parts=(*parts, replace(last, noisy=True))))
    found = measure(bundle, bench, windows=6, window_s=0.2, warmup_s=0.05, latency_frames=3, quick=True)
    assert found.checksum_mismatches > 0


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
    assert 0 <= found.throughput_per_s.low <= found.throughput_per_s.median  # a busy machine has empty windows
    assert found.throughput_per_s.median > 0
    assert found.throughput_per_s.coverage > 0.95
    assert found.latency is not None
    assert found.latency.count == 12
    assert 0 < found.latency.p50_s <= found.latency.p90_s <= found.latency.p99_s
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
    wait_idle(bench)


def _frames_done(deployment: Deployment) -> dict[str, int]:
    """How many frames each segment has computed."""
    return {
        segment: counters["frames"]
        for name in BOARDS
        for segment, counters in deployment.boards[name]
        .statistics("test")["processors"][f"{name}/cpu"]["segments"]
        .items()
    }


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_frames_are_alive_than_the_depth_allows(bench: Lab, tmp_path: Path, depth: int) -> None:
    """Nobody takes the outputs from c, so every board stops after as many frames as may be alive before it."""
    bundle = open_bundle(write_bundle(tmp_path / "bundle", chain(depth=depth)))
    with deploy(bundle, bench, stimuli=random_stimuli(bundle)) as deployment:
        deployment.boards["c"].start(Mode.RUN, 1000)
        for name in ("b", "a"):
            deployment.boards[name].start(Mode.MEASURE, 0)
        allowed = {"s0": 3 * depth, "s1": 2 * depth, "s2": depth}
        wait_for(lambda: _frames_done(deployment) == allowed, lambda: _frames_done(deployment))
        time.sleep(0.2)  # in which more could be done
        assert _frames_done(deployment) == allowed
    wait_idle(bench)


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
