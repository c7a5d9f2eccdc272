"""What a measurement found: frozen values and their JSON form, schema "edgecut/measurement/1"."""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

__all__ = [
    "Interval",
    "LatencyFigures",
    "LinkFigures",
    "Measurement",
    "Modelled",
    "StageFigures",
    "Window",
    "latency_figures",
    "median_interval",
    "save_measurement",
]

SCHEMA = "edgecut/measurement/1"
WANTED_COVERAGE = 0.95


@dataclass(frozen=True)
class Interval:
    """A median and a distribution-free interval for it: two order statistics of the sample."""

    median: float
    low: float
    high: float
    coverage: float
    """Probability that such an interval holds the true median, whatever the distribution (binomial)."""
    count: int


@dataclass(frozen=True)
class Window:
    """One window, by the sink's clock: from the last completion before it to the last one in it."""

    duration_s: float
    frames: int
    throughput_per_s: float
    """Inferences a second: frames times batch over duration."""
    compute_s: Mapping[str, float]
    """Mean compute time of a frame by segment."""


@dataclass(frozen=True)
class LatencyFigures:
    """One frame alone, from its start at the source to its completion at the sink, by the source's clock."""

    count: int
    p50_s: float
    p90_s: float
    p99_s: float
    mean_s: float
    low_s: float
    high_s: float
    token_return_s: float
    """Taken off each sample: half the round trip of a ping along the same way."""


@dataclass(frozen=True)
class StageFigures:
    """One processor over all windows; times are means per frame."""

    processor: str
    frames: int
    compute_s: float
    send_s: float
    """Handing tensors and credits to the network, by this processor's own thread."""
    wait_s: float
    segments: Mapping[str, float]
    """Compute time by segment."""
    busy_share: float
    """Compute time over elapsed time."""


@dataclass(frozen=True)
class LinkFigures:
    """One link over all windows; times are means per frame."""

    link: str
    source: str
    target: str
    bytes_per_frame: float
    messages_per_frame: float
    send_s: float
    """In the sender's socket."""
    receive_s: float
    """At the receiver, from a tensor's header to its last byte: on a slow link, the time on the wire."""


@dataclass(frozen=True)
class Modelled:
    """What is not measured but follows from measured times and catalog figures."""

    energy_source: str
    energy_j: float | None
    """Per inference: busy time x active power + idle time x idle power, over all processors of the plan."""
    processors: Mapping[str, float]
    """Joule per inference by processor."""


@dataclass(frozen=True)
class Measurement:
    """Result of `hil.measure.measure`."""

    model: Mapping[str, Any]
    source: str
    sink: str
    emulated: bool
    shaping: str
    quick: bool
    partial: bool
    failure: str
    """Why it ended early; "" for a complete one."""
    warmup_s: float
    window_s: float
    windows: tuple[Window, ...]
    throughput_per_s: Interval | None
    latency: LatencyFigures | None
    stages: tuple[StageFigures, ...]
    links: tuple[LinkFigures, ...]
    modelled: Modelled
    prediction: Mapping[str, float]
    """What the plan promised: period_s, throughput_per_s, latency_s, energy_j."""
    relative_error: Mapping[str, float]
    """(predicted - measured) / measured, for throughput, latency and period."""
    checksum_mismatches: int
    """Outputs that differed from an earlier output for the same input; 0 when all is well."""
    environment: Mapping[str, Any] = field(default_factory=dict)
    void_windows: int = 0
    """Windows, and runs of single frames, left out: the clock of an emulated board had drifted from the wall's."""

    def to_json(self) -> dict[str, Any]:
        """The measurement as JSON values."""
        return {"schema": SCHEMA, **asdict(self)}


def median_interval(values: Sequence[float], wanted: float = WANTED_COVERAGE) -> Interval:
    """Median and the narrowest pair of symmetric order statistics that covers it with ``wanted`` probability.

    Where the sample is too small for that, the whole range with the coverage it has. Raises ValueError for an
    empty sample.
    """
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    n = len(ordered)
    best = 1
    for k in range(1, n // 2 + 1):
        if _coverage(n, k) >= wanted:
            best = k
    return Interval(float(np.median(ordered)), ordered[best - 1], ordered[n - best], _coverage(n, best), n)


def _coverage(n: int, k: int) -> float:
    """P(k-th smallest < true median < k-th largest of n)."""
    outside = 2 * sum(math.comb(n, i) for i in range(k))
    return max(0.0, 1 - outside / (1 << n))


def latency_figures(samples_ns: Sequence[int], return_ns: int) -> LatencyFigures | None:
    """Percentiles of the samples less the token's return; None without samples."""
    if not samples_ns:
        return None
    seconds = (np.asarray(samples_ns, np.float64) - return_ns) / 1e9
    p50, p90, p99 = (float(p) for p in np.percentile(seconds, (50, 90, 99)))
    return LatencyFigures(
        count=len(samples_ns),
        p50_s=p50,
        p90_s=p90,
        p99_s=p99,
        mean_s=float(seconds.mean()),
        low_s=float(seconds.min()),
        high_s=float(seconds.max()),
        token_return_s=return_ns / 1e9,
    )


def save_measurement(path: Path, measurement: Measurement) -> None:
    """Write the JSON file as a whole or not at all. Raises OSError."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(measurement.to_json(), file, indent=1, allow_nan=False)
            file.write("\n")
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
