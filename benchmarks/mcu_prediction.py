"""Predicted against measured period and latency over rows of emulated microcontroller boards.

Each network is profiled on the bench and cut over 2, 3 and 4 boards where it is fastest with all of them used. The
plan's figures come from that profile alone. Times are the boards' own, in instructions; windows in which a clock has
drifted are void.
"""

from __future__ import annotations

import argparse
import itertools
import math
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from boards.catalog import load_system
from hil.emulate import emulate
from hil.lab_types import Lab
from hil.measure import measure
from hil.profile import profile
from optimizer.costs import CostTable
from optimizer.graph import cut_points
from optimizer.memory_plan import with_arenas
from optimizer.onnx_file import load_onnx
from optimizer.onnx_model import load_graph
from optimizer.plan import Plan
from optimizer.problem import Problem
from optimizer.request import SolveRequest, make_problem
from optimizer.search.pool import Pool
from optimizer.split import split

MODELS = (
    "tiny_digits_int8", "tiny_resnet8_int8", "tiny_dscnn_int8", "tiny_mobilenet_v1_025_int8", "tiny_autoencoder_int8",
    "tiny_mobilenet_v2_035_int8",
)  # fmt: skip
CANDIDATES = 10  # smallest cuts that are tried
WANTED_MEAN_ERROR = 0.02


@dataclass(frozen=True)
class Row:
    """One network over one number of boards; errors are (predicted - measured) / measured."""

    model: str
    boards: int
    period_s: float
    period_error: float | None
    latency_s: float
    latency_error: float | None
    void_windows: int


def system_text(boards: int) -> str:
    """A row of boards like those of mcu-emulated."""
    names = [f"b{i}" for i in range(boards)]
    board = "{use: mps2-an386, ram: 192KiB, flash: 512KiB}"
    links = "".join(f"  - {{between: [{a}, {b}], medium: uart-38400}}\n" for a, b in itertools.pairwise(names))
    return (
        f"schema: edgecut/system/1\nname: row-of-{boards}\ndescription: Emulated boards in a row.\nboards:\n"
        + "".join(f"  {name}: {board}\n" for name in names)
        + f"links:\n{links}source: b0\nsink: {names[-1]}\n"
    )


def fastest(problem: Problem) -> Plan | None:
    """The plan with the least period that uses every board once, cut at small tensors; None where none fits."""
    graph, pool = problem.graph, Pool(problem)
    cuts = sorted(cut_points(graph), key=lambda cut: cut.size_bytes)[:CANDIDATES]
    ends = sorted({cut.operators_before for cut in cuts})
    best: Plan | None = None
    for chosen in itertools.combinations(ends, len(problem.processors) - 1):
        where = np.searchsorted(np.array(chosen), np.arange(len(graph.operators)), side="right")
        plan = pool.score(where.astype(np.int64))
        if plan is None or plan.score.violations:
            continue
        if best is None or plan.score.period_s < best.score.period_s:
            best = plan
    return None if best is None else with_arenas(problem, best)


def rows_of(model: str, boards: int, windows_s: float, folder: Path) -> Iterator[Row]:
    """Profile, cut, measure on a bench of so many boards."""
    path = folder / f"row{boards}.yaml"
    path.write_text(system_text(boards))
    with emulate(path) as lab:
        system, graph = load_system(path), load_graph(f"zoo:{model}")
        costs: CostTable = profile(graph, system, lab)
        problem = make_problem(SolveRequest(f"zoo:{model}", system, costs))
        plan = fastest(problem)
        if plan is not None:
            yield measured(model, boards, problem, plan, lab, windows_s, folder)


def measured(model: str, boards: int, problem: Problem, plan: Plan, lab: Lab, windows_s: float, folder: Path) -> Row:
    """One row."""
    bundle = folder / "bundle"
    split(problem.graph, load_onnx(problem.graph.source), plan, problem.system, bundle, verify=False)
    found = measure(bundle, lab, windows=6, window_s=windows_s, warmup_s=2.0, latency_frames=6)
    errors = found.relative_error
    return Row(
        model, boards, plan.score.period_s, errors.get("period_s"), plan.score.latency_s, errors.get("latency_s"),
        found.void_windows,
    )  # fmt: skip


def main() -> None:
    """Print a line a row, then the mean errors."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--boards", nargs="*", type=int, default=[2, 3, 4])
    parser.add_argument("--window-s", type=float, default=6.0)
    given = parser.parse_args()
    rows: list[Row] = []
    print(f"{'network':28} {'boards':>6} {'period':>10} {'error':>8} {'latency':>10} {'error':>8} {'void':>5}")
    with tempfile.TemporaryDirectory() as folder:
        for model, boards in itertools.product(given.models, given.boards):
            for row in rows_of(model, boards, given.window_s, Path(folder)):
                rows.append(row)
                print(
                    f"{row.model:28} {row.boards:6} {row.period_s * 1e3:7.1f} ms {text(row.period_error):>8} "
                    f"{row.latency_s * 1e3:7.1f} ms {text(row.latency_error):>8} {row.void_windows:5}",
                    flush=True,
                )
    for name in ("period_error", "latency_error"):
        errors = [abs(e) for row in rows if (e := getattr(row, name)) is not None]
        mean = math.fsum(errors) / len(errors) if errors else math.nan
        print(f"mean {name.replace('_', ' ')}: {mean:.1%} of {len(errors)} (wanted {WANTED_MEAN_ERROR:.0%})")


def text(error: float | None) -> str:
    """A share, or nothing where no window was valid."""
    return "void" if error is None else f"{error:+.1%}"


if __name__ == "__main__":
    main()
