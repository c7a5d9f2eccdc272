"""Figures of a measurement: intervals, windows, latency, energy, files."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.deploy_bundle import open_bundle
from hil.measure import MIN_WINDOWS, Plan, random_stimuli
from hil.measure_figures import Snapshot, figures
from hil.measurement import latency_figures, median_interval
from tests.hil.bench_samples import chain, write_bundle

FINITE = st.floats(-1e6, 1e6)


def test_six_windows_cover_their_median_with_31_of_32() -> None:
    interval = median_interval([3.0, 1.0, 2.0, 6.0, 5.0, 4.0])
    assert (interval.median, interval.low, interval.high) == (3.5, 1.0, 6.0)
    assert interval.coverage == pytest.approx(1 - 2 / 64)


def test_the_interval_narrows_as_far_as_the_coverage_allows() -> None:
    interval = median_interval([float(n) for n in range(1, 21)])
    assert (interval.low, interval.high) == (6.0, 15.0)  # the tables' pair for n = 20 at 95 %
    assert interval.coverage == pytest.approx(0.9586, abs=1e-4)


def test_a_small_sample_says_what_it_covers() -> None:
    assert median_interval([1.0, 2.0, 3.0]).coverage == 0.75
    assert median_interval([1.0]).coverage == 0.0
    with pytest.raises(ValueError, match="no values"):
        median_interval([])


@given(st.lists(FINITE, min_size=1, max_size=60))
def test_the_median_lies_in_its_interval(values: list[float]) -> None:
    interval = median_interval(values)
    assert interval.low <= interval.median <= interval.high
    assert 0 <= interval.coverage < 1
    assert interval.count == len(values)
    if len(values) >= MIN_WINDOWS:
        assert interval.coverage >= 0.95


def test_latency_has_the_tokens_return_taken_off() -> None:
    found = latency_figures([1_000_000 + 1000 * n for n in range(101)], 100_000)
    assert found is not None
    assert (found.count, found.token_return_s) == (101, 1e-4)
    assert found.p50_s == pytest.approx(950e-6)
    assert found.p90_s == pytest.approx(990e-6)
    assert found.p99_s == pytest.approx(999e-6)
    assert latency_figures([], 0) is None


def _snapshot(frames: int, seconds: float, mismatches: int = 0) -> Snapshot:
    now = round(seconds * 1e9)

    def processor(name: str, compute_s: float) -> dict[str, Any]:
        compute = round(frames * compute_s * 1e9)
        return {"wait_ns": 0, "send_ns": frames * 1000, "segments": {name: {"frames": frames, "compute_ns": compute}}}

    link = {"messages": frames, "bytes": 512 * frames, "busy_ns": 2000 * frames}
    return Snapshot(
        frames=frames,
        last_completion_ns=now,
        mismatches=mismatches,
        time_ns={"a": now + 5_000, "b": now + 7_000_000_000},
        processors={"a/cpu": processor("s0", 0.02), "b/cpu": processor("s1", 0.05)},
        sent={"a->b": link},
        received={"a->b": link},
    )


def test_figures_follow_from_the_counters(tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "bundle", chain(boards=("a", "b"))))
    found = figures(bundle, [_snapshot(0, 1.0), _snapshot(10, 2.0), _snapshot(30, 4.0, mismatches=2)])
    assert [w.throughput_per_s for w in found.windows] == [pytest.approx(10.0), pytest.approx(10.0)]
    assert found.windows[0].compute_s == {"s0": pytest.approx(0.02), "s1": pytest.approx(0.05)}
    assert {s.processor: s.busy_share for s in found.stages} == {
        "a/cpu": pytest.approx(0.2),
        "b/cpu": pytest.approx(0.5),
    }
    assert (found.links[0].bytes_per_frame, found.links[0].messages_per_frame) == (512, 1)
    assert found.checksum_mismatches == 2
    # 4 W busy, 1 W idle, 0.1 s a frame: a is busy for 0.02 s of it, b for 0.05 s.
    assert found.modelled.processors == {
        "a/cpu": pytest.approx(0.02 * 4 + 0.08),
        "b/cpu": pytest.approx(0.05 * 4 + 0.05),
    }
    assert found.modelled.energy_source == "model"


def test_a_window_without_a_frame_counts_as_zero(tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "bundle", chain(boards=("a", "b"))))
    found = figures(bundle, [_snapshot(5, 1.0), _snapshot(5, 3.0)])
    assert found.windows[0].throughput_per_s == 0.0
    assert found.windows[0].duration_s == pytest.approx(2.0)
    assert found.modelled.energy_j is None


def test_fewer_than_six_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 6"):
        Plan.of(5, None, None, None, quick=False)


def test_quick_is_six_windows_of_two_seconds_and_says_so() -> None:
    plan = Plan.of(None, None, None, None, quick=True)
    assert (plan.windows, plan.window_s, plan.quick) == (6, 2.0, True)
    assert Plan.of(None, None, None, None, quick=False).window_s == 10.0


def test_stimuli_repeat_with_their_seed_and_fit_the_inputs(tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "bundle", chain()))
    first, second = random_stimuli(bundle), random_stimuli(bundle)
    assert first["x"].shape == (4, 1, 8, 16)
    assert np.array_equal(first["x"], second["x"])
    assert not np.array_equal(first["x"][0], first["x"][1])
    assert math.isclose(float(first["x"].std()), 1.0, rel_tol=0.1)


def test_the_saved_file_is_whole_and_says_its_schema(tmp_path: Path) -> None:
    from hil.measurement import Measurement, Modelled, save_measurement

    measurement = Measurement(
        model={}, source="a", sink="b", emulated=True, shaping="none", quick=True, partial=True,
        failure="lost", warmup_s=1.0, window_s=2.0, windows=(), throughput_per_s=None, latency=None,
        stages=(), links=(), modelled=Modelled("model", None, {}), prediction={}, relative_error={},
        checksum_mismatches=0,
    )  # fmt: skip
    save_measurement(tmp_path / "m.json", measurement)
    found = json.loads((tmp_path / "m.json").read_text())
    assert (found["schema"], found["partial"], found["failure"]) == ("edgecut/measurement/1", True, "lost")
    assert [p.name for p in tmp_path.iterdir()] == ["m.json"]
