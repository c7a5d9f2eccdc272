"""Predicted against measured period and latency over rows of emulated microcontroller boards.

    python -m benchmarks.mcu_prediction [--folder DIR] [--models a,b] [--boards 2,3,4] [--seconds N]

Each network is profiled on the bench and cut over 2, 3 and 4 boards where it is fastest with all of them used. The
plan's figures come from that profile alone. Times are the boards' own, in instructions; windows in which a clock has
drifted are void. Profiles and rows are written to DIR as soon as they are there: started again, it goes on where it was
ended. With ``--seconds`` no case begins later than that.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from boards.catalog import load_system
from hil.emulate import emulate
from hil.measure import measure
from hil.profile import profile
from optimizer.atomic import write_atomically
from optimizer.costs_io import save_costs
from optimizer.graph import cut_points
from optimizer.memory_plan import with_arenas
from optimizer.onnx_file import load_onnx
from optimizer.onnx_model import load_graph
from optimizer.plan import Plan
from optimizer.problem import Problem
from optimizer.request import SolveRequest, make_problem
from optimizer.search.pool import Pool
from optimizer.split import split
from optimizer.zoo import tiny_names

MOST_BOARDS = 4
CANDIDATES = 10  # smallest cuts that are tried
WANTED_MEAN_ERROR = 0.02
FOLDER = Path("build/mcu_prediction")
# Boards like those of mcu-emulated; float32 networks are four times as large.
MEMORY = {"int8": ("192KiB", "512KiB"), "float32": ("1MiB", "1088KiB")}
WINDOWS, WINDOW_S, WARM_UP_S, LATENCY_FRAMES = 6, 3.0, 2.0, 6


@dataclass(frozen=True)
class Row:
    """One network over one number of boards; errors are (predicted - measured) / measured.

    None: of a network that finds no plan, or figures without a valid window.
    """

    model: str
    boards: int
    period_s: float | None = None
    period_error: float | None = None
    latency_s: float | None = None
    latency_error: float | None = None
    void_windows: int = 0
    drift: float = 0.0
    """Largest of a board's clock against the wall's, in all windows."""


def system_text(boards: int, memory: tuple[str, str]) -> str:
    """A row of boards with so much RAM and flash."""
    names = [f"b{i}" for i in range(boards)]
    board = f"{{use: mps2-an386, ram: {memory[0]}, flash: {memory[1]}}}"
    links = "".join(f"  - {{between: [{a}, {b}], medium: uart-38400}}\n" for a, b in itertools.pairwise(names))
    return (
        f"schema: edgecut/system/1\nname: row-of-{boards}\ndescription: Emulated boards in a row.\nboards:\n"
        + "".join(f"  {name}: {board}\n" for name in names)
        + f"links:\n{links}source: b0\nsink: {names[-1]}\n"
    )


def system_file(model: str, boards: int, folder: Path) -> Path:
    """The row's system file, in ``folder``."""
    kind = "int8" if model.endswith("_int8") else "float32"
    path = folder / f"row{boards}-{kind}.yaml"
    path.write_text(system_text(boards, MEMORY[kind]), encoding="utf-8")
    return path


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


def profiled(model: str, folder: Path) -> Path:
    """The network's costs on the longest row, whose boards are those of the shorter ones; measured once."""
    path = folder / f"{model}.costs.json"
    if not path.exists():
        system = system_file(model, MOST_BOARDS, folder)
        with emulate(system) as lab:
            save_costs(profile(load_graph(f"zoo:{model}"), load_system(system), lab), path)
    return path


def row_of(model: str, boards: int, folder: Path) -> Row:
    """Cut and measure on a bench of so many boards."""
    path = system_file(model, boards, folder)
    problem = make_problem(SolveRequest(f"zoo:{model}", load_system(path), profiled(model, folder)))
    plan = fastest(problem)
    if plan is None:
        return Row(model, boards)
    with tempfile.TemporaryDirectory() as scratch, emulate(path) as lab:
        bundle = Path(scratch)
        split(problem.graph, load_onnx(problem.graph.source), plan, problem.system, bundle, verify=False)
        found = measure(
            bundle, lab, windows=WINDOWS, window_s=WINDOW_S, warmup_s=WARM_UP_S, latency_frames=LATENCY_FRAMES,
            output=folder / f"{model}.{boards}.measurement.json",
        )  # fmt: skip
    errors = found.relative_error
    return Row(
        model, boards, plan.score.period_s, errors.get("period_s"), plan.score.latency_s, errors.get("latency_s"),
        found.void_windows, max(found.environment["largest_drift"].values(), default=0.0),
    )  # fmt: skip


def read_rows(path: Path) -> dict[str, Row]:
    """What earlier runs have found, by case; empty where there is no such file."""
    if not path.exists():
        return {}
    return {case: Row(**fields) for case, fields in json.loads(path.read_text(encoding="utf-8")).items()}


def write_rows(path: Path, rows: Mapping[str, Row]) -> None:
    """Rows by case."""
    write_atomically(path, json.dumps({case: asdict(row) for case, row in rows.items()}, indent=1) + "\n")


def line(row: Row) -> str:
    """One row of the table."""
    return (
        f"{row.model:28} {row.boards:6} {milliseconds(row.period_s)} {share(row.period_error)} "
        f"{milliseconds(row.latency_s)} {share(row.latency_error)} {row.void_windows:5} {row.drift:7.2%}"
    )


def milliseconds(seconds: float | None) -> str:
    """In a column of ten."""
    return f"{'no plan':>10}" if seconds is None else f"{seconds * 1e3:7.1f} ms"


def share(error: float | None) -> str:
    """In a column of eight; nothing where no window was valid."""
    return f"{'-' if error is None else format(error, '+.1%'):>8}"


def summary(rows: Sequence[Row], figure: str) -> str:
    """Mean and largest error of a figure."""
    errors = [abs(e) for row in rows if (e := getattr(row, f"{figure}_error")) is not None]
    if not errors:
        return f"{figure}: nothing measured"
    mean = math.fsum(errors) / len(errors)
    return (
        f"{figure}: mean error {mean:.2%} of {len(errors)} (wanted {WANTED_MEAN_ERROR:.0%}), largest {max(errors):.2%}"
    )


def main() -> None:
    """Print a line a row, then the mean errors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--models", default=",".join(tiny_names()))
    parser.add_argument("--boards", default="2,3,4")
    parser.add_argument("--seconds", type=float, default=math.inf)
    given = parser.parse_args()
    begin = time.monotonic()
    given.folder.mkdir(parents=True, exist_ok=True)
    path = given.folder / "rows.json"
    rows = read_rows(path)
    wanted = list(itertools.product(given.models.split(","), map(int, given.boards.split(","))))
    print(
        f"{'network':28} {'boards':>6} {'period':>10} {'error':>8} {'latency':>10} {'error':>8} "
        f"{'void':>5} {'drift':>7}"
    )
    for model, boards in wanted:
        case = f"{model} over {boards}"
        if case not in rows:
            if time.monotonic() - begin > given.seconds:
                break
            rows[case] = row_of(model, boards, given.folder)
            write_rows(path, rows)
        print(line(rows[case]), flush=True)
    done = [rows[case] for model, boards in wanted if (case := f"{model} over {boards}") in rows]
    print(f"{len(done)} of {len(wanted)} cases; {summary(done, 'period')}; {summary(done, 'latency')}")


if __name__ == "__main__":
    main()
