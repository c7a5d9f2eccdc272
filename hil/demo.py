"""`hil demo`: from a model to a measured split over two emulated boards, beside each board alone.

The only module of the bench that calls the planner (with hil.loop): it does in one go what the commands do.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from boards.catalog import load_system
from hil.cli_output import console, progress
from hil.emulate import emulate
from hil.errors import HilError
from hil.lab_types import Lab
from hil.measure import measure
from hil.measurement import Measurement
from hil.profile import ProfileOptions, profile
from optimizer.costs_io import save_costs
from optimizer.onnx_file import load_onnx
from optimizer.onnx_model import load_graph
from optimizer.plan import Front, Plan
from optimizer.problem import Problem
from optimizer.report_data import DemoRow, Measured
from optimizer.report_terminal import demo_table
from optimizer.request import SolveRequest, SolveResult, solve_request, write_results
from optimizer.search.pool import Pool
from optimizer.split import split

__all__ = ["Case", "Steps", "Tell", "demo_row", "method_text", "prefixed", "run_demo"]

Tell = Callable[[str], None]
_PROFILE_RUNS = 15


@dataclass(frozen=True)
class Case:
    """One configuration to measure: a board alone, or the plan."""

    label: str
    plan: Plan
    folder: Path
    chosen: bool


def run_demo(
    output: Path, *, quick: bool = True, model: str = "zoo:efficientnet_b0", system_name: str = "demo"
) -> None:
    """Emulate, profile, solve, split, deploy, measure; prints one table and writes all results into ``output``."""
    output.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    with progress("starting the boards") as tell:
        step = Steps(tell, begin)
        system = load_system(system_name)
        graph = load_graph(model)
        with emulate(system, progress=step) as lab:
            costs_path = output / "costs.json"
            step(f"profiling {graph.name} on {len(system.boards)} boards")
            save_costs(profile(graph, system, lab, ProfileOptions(runs=_PROFILE_RUNS), progress=step), costs_path)
            step("solving")
            result = solve_request(SolveRequest(model, system, costs_path))
            if not isinstance(result.outcome, Front):
                raise HilError(f"the demo found no plan: {result.outcome.text}")
            rows, measurements = _measure_all(result, lab, output, quick, step)
        step("writing the report")
        measured = Measured(tuple(rows), lab.emulated, quick, method_text(measurements[-1]))
        files = write_results(result, output, measured)
    screen = console()
    shaping = {"tc": "shaped by the kernel", "relay": "paced by a relay", "none": "not shaped"}[lab.shaping]
    caption = (
        f"{method_text(measurements[-1])}. Emulated boards, link {shaping}. Energy is modelled, never measured: "
        "catalog power x predicted time, and x measured busy time."
    )
    screen.print(demo_table(rows, title=f"{graph.name} on {system.name}", caption=caption))
    for name, path in (
        ("report", files.report),
        ("plan", files.plan),
        ("front", files.front),
        ("costs", costs_path),
        ("measurement", output / "measurement.json"),
    ):
        screen.print(f"{name:<12} {path}", highlight=False)


class Steps:
    """Progress lines with the seconds since the start."""

    def __init__(self, tell: Tell, begin: float) -> None:
        self.tell, self.begin = tell, begin

    def __call__(self, text: str) -> None:
        self.tell(f"[{time.monotonic() - self.begin:5.1f} s] {text}")


def _measure_all(
    result: SolveResult, lab: Lab, output: Path, quick: bool, step: Tell
) -> tuple[list[DemoRow], list[Measurement]]:
    """Each board alone, then the plan, by one and the same method."""
    graph = result.problem.graph
    onnx_model = load_onnx(graph.source)
    rows, measurements = [], []
    for case in _cases(result, output):
        step(f"{case.label}: splitting")
        split(graph, onnx_model, case.plan, result.problem.system, case.folder, verify=case.chosen)
        saved = output / "measurement.json" if case.chosen else case.folder / "measurement.json"
        found = measure(case.folder, lab, quick=quick, output=saved, progress=prefixed(step, case.label))
        rows.append(demo_row(case, found))
        measurements.append(found)
    return rows, measurements


def prefixed(step: Tell, label: str) -> Tell:
    """Steps of one configuration."""
    return lambda text: step(f"{label}: {text}")


def _cases(result: SolveResult, output: Path) -> Iterator[Case]:
    problem: Problem = result.problem
    pool = Pool(replace(problem))
    for q, ref in enumerate(problem.processors):
        plan = pool.score(np.full(len(problem.graph.operators), q, dtype=np.int64))
        if plan is not None and not plan.score.violations:
            yield Case(f"{ref.board.name} alone", plan, output / f"baseline-{ref.board.name}", chosen=False)
    front = result.outcome
    if isinstance(front, Front):
        yield Case("plan", front.plans[front.chosen], output / "bundle", chosen=True)


def demo_row(case: Case, found: Measurement, note: str = "") -> DemoRow:
    """Predicted and measured figures of one configuration."""
    score = case.plan.score
    rate = found.throughput_per_s
    boards = " -> ".join(s.processor.split("/")[0] for s in case.plan.segments)
    return DemoRow(
        label=f"plan: {boards}" if case.chosen else case.label,
        throughput_predicted_per_s=score.throughput_per_s,
        throughput_measured_per_s=None if rate is None else rate.median,
        latency_predicted_s=score.latency_s,
        latency_measured_s=None if found.latency is None else found.latency.p50_s,
        energy_predicted_j=score.energy_j,
        energy_modelled_j=found.modelled.energy_j,
        chosen=case.chosen,
        note=note,
        throughput_interval_per_s=None if rate is None else (rate.low, rate.high),
    )


def method_text(found: Measurement) -> str:
    """How the figures of a measurement came about."""
    kind = "quick: " if found.quick else ""
    singles = 0 if found.latency is None else found.latency.count
    return (
        f"{kind}{len(found.windows)} windows of {found.window_s:g} s after {found.warmup_s:g} s of warm-up, median; "
        f"latency the median of {singles} single frames"
    )
