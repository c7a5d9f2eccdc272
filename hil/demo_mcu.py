"""`hil demo-mcu`: networks over three emulated microcontroller boards, from profile to measurement.

Like hil.demo it calls the planner, which nothing else of the bench may.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from boards.catalog import load_system
from hil.cli_output import console, progress
from hil.demo import Case, Steps, Tell, demo_row, method_text, prefixed
from hil.emulate import emulate
from hil.errors import HilError
from hil.lab_types import Lab
from hil.measure import measure
from hil.measurement import Measurement
from hil.profile import ProfileOptions, profile
from optimizer.costs_io import save_costs
from optimizer.graph import Graph
from optimizer.memory_plan import with_arenas
from optimizer.onnx_file import load_onnx
from optimizer.onnx_model import load_graph
from optimizer.plan import Front
from optimizer.report_data import DemoRow, Measured
from optimizer.report_terminal import demo_table
from optimizer.request import SolveRequest, SolveResult, solve_request, write_results
from optimizer.search.pool import Pool
from optimizer.split import split

__all__ = ["MODELS", "run_demo_mcu"]

MODELS = ("zoo:tiny_resnet8_int8", "zoo:tiny_mobilenet_v2_035_int8")
"""One that every board holds alone, and one that none does."""
SYSTEM = "mcu-emulated"
LATENCY_FRAMES = 8


def run_demo_mcu(output: Path, *, quick: bool = True, models: tuple[str, ...] = MODELS) -> None:
    """Emulate, and for each model profile, solve, split, compile, flash, run, measure; a table each.

    All results go into a folder of ``output`` for each model. Raises HilError, the planner's errors.
    """
    begin = time.monotonic()
    graphs = {model: load_graph(model) for model in models}  # before the boards: a wrong name is told at once
    with progress("starting the boards") as tell:
        step = Steps(tell, begin)
        with emulate(SYSTEM, progress=step) as lab:
            tables = [
                _demonstrate(model, graph, lab, output / model.removeprefix("zoo:"), quick, step)
                for model, graph in graphs.items()
            ]
    for lines in tables:
        for line in lines:
            console().print(line, highlight=False)


def _demonstrate(model: str, graph: Graph, lab: Lab, output: Path, quick: bool, step: Tell) -> list[object]:
    output.mkdir(parents=True, exist_ok=True)
    system = load_system(SYSTEM)
    step(f"profiling {graph.name}")
    costs = output / "costs.json"
    save_costs(profile(graph, system, lab, ProfileOptions(), progress=step), costs)
    step("solving")
    result = solve_request(SolveRequest(model, system, costs))
    if not isinstance(result.outcome, Front):
        raise HilError(f"the demo found no plan: {result.outcome.text}")
    rows: list[DemoRow] = []
    measurements: list[Measurement] = []
    for case in _cases(result, output):
        step(f"{case.label}: splitting")
        problem = result.problem
        split(problem.graph, load_onnx(graph.source), case.plan, problem.system, case.folder, verify=case.chosen)
        found = measure(
            case.folder, lab, quick=quick, latency_frames=LATENCY_FRAMES, progress=prefixed(step, case.label),
            output=output / "measurement.json" if case.chosen else case.folder / "measurement.json",
        )  # fmt: skip
        rows.append(demo_row(case, found, note=_voided(found)))
        measurements.append(found)
    measured = Measured(tuple(rows), lab.emulated, quick, method_text(measurements[-1]))
    files = write_results(result, output, measured)
    caption = (
        f"{method_text(measurements[-1])}; times by the boards' own clocks, which in QEMU count instructions, not "
        "cycles. Energy is modelled, never measured."
    )
    table = demo_table(rows, title=f"{graph.name} on {system.name}", caption=caption)
    return [table, f"{'report':<12} {files.report}", f"{'plan':<12} {files.plan}", f"{'costs':<12} {costs}"]


def _cases(result: SolveResult, output: Path) -> Iterator[Case]:
    """One board alone, where it fits; then the plan."""
    problem = result.problem
    alone = Pool(problem).score(np.zeros(len(problem.graph.operators), dtype=np.int64))
    if alone is not None and not alone.score.violations:
        label = f"{problem.processors[0].board.name} alone"
        yield Case(label, with_arenas(problem, alone), output / "alone", chosen=False)
    front = result.outcome
    if isinstance(front, Front):
        yield Case("plan", front.plans[front.chosen], output / "bundle", chosen=True)


def _voided(found: Measurement) -> str:
    if not found.void_windows:
        return ""
    return f"{found.void_windows} of {found.void_windows + len(found.windows)} windows void: this machine was busy"
