"""Predicted against measured period, after `hil profile`, for plans on the front of six CNNs on two boards.

Run: python -m benchmarks.prediction [--models ...] [--plans N] [--window-s S] [--system S] [--json FILE [--resume]]

Two emulated boards, each on a core of its own. Each model is profiled, solved, and the plans of its front are
split, deployed and measured one after the other, on the same agents. An error is (predicted - measured) /
measured period. Whatever else runs on the machine lands in the measured column: run it on a quiet one, a few models
at a time if it is quiet for minutes only (--resume goes on with what a file holds).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from boards.board import System
from boards.catalog import load_system
from hil.emulate import emulate
from hil.lab_types import Lab
from hil.measure import measure
from hil.profile import ProfileOptions, profile
from optimizer.atomic import write_atomically
from optimizer.graph import Graph
from optimizer.onnx_model import load_graph, load_onnx
from optimizer.plan import Front, Plan
from optimizer.problem import Problem
from optimizer.solve import SolveOptions, solve
from optimizer.split import split

MODELS = ("squeezenet1_1", "googlenet", "resnet50", "regnet_x_400mf", "efficientnet_b0", "mobilenet_v2")
WINDOW_S = 1.0
RUNS = 30


@dataclass(frozen=True)
class Row:
    """One plan, predicted and measured."""

    model: str
    plan: str
    predicted_s: float
    measured_s: float
    stages: dict[str, tuple[float, float]]
    """Compute seconds a frame by processor: predicted, measured."""

    @property
    def error(self) -> float:
        return (self.predicted_s - self.measured_s) / self.measured_s


def main() -> None:
    """Print the table; write the JSON file if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--plans", type=int, default=5, help="plans of each front, spread over it")
    parser.add_argument("--system", default="demo")
    parser.add_argument("--window-s", type=float, default=WINDOW_S)
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of each model when profiling")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--resume", action="store_true", help="keep the rows of the JSON file, leave out their models")
    options = parser.parse_args()
    if options.resume and options.json is None:
        parser.error("--resume needs --json FILE, which holds what was measured before")
    system = load_system(options.system)
    rows = _saved(options.json) if options.resume else []
    saved = {row.model for row in rows}
    print(f"{'model':>16} {'plan':>28} {'predicted ms':>13} {'measured ms':>12} {'error':>7}")
    with emulate(options.system) as lab:
        for model in (m for m in options.models if m not in saved):
            for row in _model_rows(model, system, lab, options):
                rows.append(row)
                print(
                    f"{row.model:>16} {row.plan:>28} {row.predicted_s * 1e3:13.3f} "
                    f"{row.measured_s * 1e3:12.3f} {row.error:+7.1%}",
                    flush=True,
                )
            if options.json:
                _save(options.json, rows, lab)
        notes = [f"links: {lab.shaping}", *lab.notes]
    summary = _summary(rows)
    print(f"{len(rows)} plans: mean error {summary['mean_error']:.1%}, worst {summary['worst_error']:.1%}")
    print("; ".join(notes))


def _summary(rows: Sequence[Row]) -> dict[str, float]:
    errors = [abs(row.error) for row in rows]
    return {"plans": len(rows), "mean_error": statistics.mean(errors), "worst_error": max(errors)}


def _save(path: Path, rows: Sequence[Row], lab: Lab) -> None:
    """After every model: the machine may be quiet for no longer."""
    content = {
        "summary": _summary(rows),
        "notes": [f"links: {lab.shaping}", *lab.notes],
        "rows": [asdict(r) | {"error": r.error} for r in rows],
    }
    write_atomically(path, json.dumps(content, indent=1) + "\n")


def _saved(path: Path) -> list[Row]:
    if not path.exists():
        return []
    names = [f.name for f in fields(Row)]
    return [Row(**{name: row[name] for name in names}) for row in json.loads(path.read_text())["rows"]]


def _model_rows(model: str, system: System, lab: Lab, options: argparse.Namespace) -> list[Row]:
    graph = load_graph(f"zoo:{model}")
    start = time.monotonic()
    costs = profile(graph, system, lab, ProfileOptions(runs=options.runs))
    front = solve(Problem(graph, system, costs), SolveOptions(time_limit_s=20))
    if not isinstance(front, Front):
        sys.exit(f"no plan for {model}: {front}")
    print(f"{model}: profiled and solved in {time.monotonic() - start:.1f} s", file=sys.stderr)
    return [_measure(graph, model, plan, system, lab, options.window_s) for plan in _spread(front.plans, options.plans)]


def _spread(plans: Sequence[Plan], count: int) -> list[Plan]:
    """Up to ``count`` plans from the fastest to the slowest."""
    if len(plans) <= count:
        return list(plans)
    steps = max(1, count - 1)
    return [plans[round(i * (len(plans) - 1) / steps)] for i in range(count)]


def _measure(graph: Graph, model: str, plan: Plan, system: System, lab: Lab, window_s: float) -> Row:
    with tempfile.TemporaryDirectory(prefix="edgecut-bench-") as name:
        bundle = Path(name) / "bundle"
        split(graph, load_onnx(graph.source), plan, system, bundle, verify=False)
        found = measure(bundle, lab, window_s=window_s, warmup_s=1.0, latency_frames=0)
    if found.throughput_per_s is None:
        sys.exit(f"nothing was measured for {model}")
    measured = {stage.processor: stage.compute_s for stage in found.stages}
    stages = {p: (plan.score.occupancy_s.get(p, 0.0), measured.get(p, 0.0)) for p in measured}
    words = " + ".join(f"{s.processor.split('/')[0]}:{len(s.operators)}" for s in plan.segments)
    return Row(model, words, plan.score.period_s, graph.batch / found.throughput_per_s.median, stages)


if __name__ == "__main__":
    main()
