"""What a report is made of: `solve` and `hil measure` fill these, report.py and report_terminal.py draw."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from boards.board import System
from optimizer.graph import Graph
from optimizer.plan import Front, Plan

__all__ = ["Baseline", "DemoRow", "GanttBar", "Measured", "ReportData"]


@dataclass(frozen=True)
class GanttBar:
    """One activity on one resource in one period of the steady state.

    The window is [0, period_s). A bar starts in it; ``end_s`` may exceed the period, then the bar goes on at
    the start of the next window, and the chart shows that part at its left edge. An activity that occupies
    several resources (a rendezvous) has one bar on each.
    """

    resource: str
    """Processor key or link medium."""
    activity: str
    """As in plan.Slot: "segment:NAME", "hop:TENSOR@LINK" and so on."""
    label: str
    """Short text for the bar, such as the segment or tensor name."""
    start_s: float
    end_s: float
    stage: int
    """The bar that starts in this window serves frame n - stage, n being the (first) frame that enters in it."""
    frames: int = 1
    """Frames that enter in one window: more than one with replicas."""
    messages_s: float = 0.0
    """The last part of it, in which the processor only sends and receives: what comes next does not wait for that."""


@dataclass(frozen=True)
class Baseline:
    """The whole model on one processor. Figures are None where it cannot run there; ``reason`` says why."""

    label: str
    throughput_per_s: float | None
    latency_s: float | None
    energy_j: float | None
    feasible: bool
    reason: str = ""


@dataclass(frozen=True)
class DemoRow:
    """One configuration (a single board or a plan), predicted and measured by one method.

    Energy is never measured here: ``energy_predicted_j`` comes from the cost table, ``energy_modelled_j`` is
    measured busy time x catalog power. None where there is no figure.
    """

    label: str
    throughput_predicted_per_s: float
    throughput_measured_per_s: float | None
    latency_predicted_s: float
    latency_measured_s: float | None
    energy_predicted_j: float
    energy_modelled_j: float | None
    chosen: bool = False
    note: str = ""
    throughput_interval_per_s: tuple[float, float] | None = None
    """Distribution-free interval of the median over the windows."""


@dataclass(frozen=True)
class Measured:
    """Predicted against measured, for the report's last section."""

    rows: tuple[DemoRow, ...]
    emulated: bool
    quick: bool
    method: str
    """In words: "6 windows of 2 s after warm-up, median"."""


@dataclass(frozen=True)
class ReportData:
    """Everything that a report shows. ``front.plans`` is not empty."""

    graph: Graph
    system: System
    front: Front
    timeline: tuple[GanttBar, ...] = ()
    """Of the chosen plan; empty leaves the chart out."""
    baselines: tuple[Baseline, ...] = ()
    limits_text: tuple[str, ...] = ()
    """Each limit given, in words: "latency at most 50 ms"."""
    uncertainty_text: tuple[str, ...] = ()
    """What costs that are not quite as given do to the plan, a sentence each."""
    versions: Mapping[str, str] = field(default_factory=dict)
    """Package name -> version; "edgecut" among them."""
    created: str = ""
    """Local date and time, as it shall be shown."""
    measured: Measured | None = None
    warnings: tuple[str, ...] = ()

    @property
    def plan(self) -> Plan:
        """The chosen plan."""
        return self.front.plans[self.front.chosen]
