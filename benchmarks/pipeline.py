"""Pipelined throughput of two agents against the slowest stage's own rate, measured alone in the same run.

Run: python -m benchmarks.pipeline [--json FILE] [MODEL ...]

Each model is cut in two where its multiply-adds come closest to halves; the agents have a core each, the link is
loopback, unshaped. A stage alone: the rate of its sub-model on its board while the other idles, before and after the
pipeline. Both rates are runs by seconds, pauses of the machine included on either side, in many short rounds, for a
shared machine's own speed changes from second to second; the round with the median ratio is shown. Wanted: pipeline /
slowest stage alone at least 0.95. The last column compares with both stages timed at the same time without a link: what
is lost there the machine's shared memory and its other programs take, not the agents.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.agents import pinned_lab
from boards.catalog import load_system
from hil.lab_types import Lab
from hil.measure import measure
from hil.targets import connect_target
from optimizer.cost_models.roofline import roofline_costs
from optimizer.evaluate import Schedule, evaluate
from optimizer.graph import Graph, cut_points
from optimizer.onnx_file import load_onnx
from optimizer.onnx_model import load_graph
from optimizer.plan import Plan, Segment
from optimizer.problem import Problem
from optimizer.schedule import complete
from optimizer.split import split
from optimizer.split_manifest import Bundle, BundleSegment

MODELS = ("mobilenet_v2", "resnet50")
WANTED = 0.95
ALONE_S = 0.6
"""Seconds for which a stage is timed alone, about; at least 10 runs."""
ROUNDS = 9
WINDOW_S = 0.4
SYSTEM = "demo-unshaped"


def main() -> None:
    """Print the table; write the JSON file if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="stages alone, pipeline, stages alone")
    parser.add_argument("--window", type=float, default=WINDOW_S, help="seconds a window (6 windows a round)")
    options = parser.parse_args()
    rows = [_row(model, options.rounds, options.window) for model in options.models]
    print(
        f"{'model':>14} {'stages alone ms':>16} {'slowest/s':>10} {'pipeline/s':>11} {'ratio':>6} {'wanted':>8} "
        f"{'to both at once':>16}"
    )
    for r in rows:
        stages = " + ".join(f"{s * 1e3:.2f}" for s in r["stages_s"])
        print(
            f"{r['model']:>14} {stages:>16} {r['slowest_per_s']:10.2f} {r['pipeline_per_s']:11.2f} "
            f"{r['ratio']:6.3f} {'>= ' + str(WANTED):>8} {r['ratio_together']:16.3f}"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def _row(model: str, rounds: int, window_s: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="edgecut-bench-") as name:
        folder = Path(name)
        bundle = _halves(f"zoo:{model}", folder / "bundle")
        with pinned_lab(folder, ["left", "right"]) as lab:
            found = [_round(bundle, lab, window_s) for _ in range(rounds)]
    ratios = [r["ratio"] for r in found]
    middle = found[ratios.index(statistics.median_low(ratios))]
    return {"model": model, **middle, "wanted": WANTED, "rounds": found}


def _round(bundle: Bundle, lab: Lab, window_s: float) -> dict[str, Any]:
    before = _alone_s(bundle, lab)
    result = measure(bundle.directory, lab, window_s=window_s, warmup_s=0.3, latency_frames=0)
    after = _alone_s(bundle, lab)
    together = _together_s(bundle, lab)
    if result.throughput_per_s is None:
        raise RuntimeError("no throughput was measured")
    rate = result.throughput_per_s
    stages = [statistics.mean(pair) for pair in zip(before, after, strict=True)]
    return {
        "stages_s": stages,
        "stages_before_s": before,
        "stages_after_s": after,
        "stages_together_s": together,
        "stages_in_pipeline_s": {s.processor: s.compute_s for s in result.stages},
        "send_s": {s.processor: s.send_s for s in result.stages},
        "link_bytes": sum(k.bytes_per_frame for k in result.links),
        "slowest_per_s": 1 / max(stages),
        "pipeline_per_s": rate.median,
        "interval": [rate.low, rate.high],
        "ratio": rate.median * max(stages),
        "ratio_together": rate.median * max(together),
    }


def _alone_s(bundle: Bundle, lab: Lab) -> list[float]:
    """Mean time of each segment's sub-model on its own board while the other idles, seconds: one over its rate."""
    return [_timed_s(bundle, segment, lab) for segment in bundle.segments]


def _together_s(bundle: Bundle, lab: Lab) -> list[float]:
    """The same with both boards computing at the same time, nothing between them."""
    with ThreadPoolExecutor(len(bundle.segments)) as pool:
        return list(pool.map(lambda segment: _timed_s(bundle, segment, lab), bundle.segments))


def _timed_s(bundle: Bundle, segment: BundleSegment, lab: Lab) -> float:
    with connect_target(lab, segment.board) as board:
        sha = board.put_file(bundle.directory / segment.file)
        once = min(board.time_model(sha, runs=3).times_ns) / 1e9
        return statistics.mean(board.time_model(sha, runs=max(10, round(ALONE_S / once))).times_ns) / 1e9


def _halves(model: str, folder: Path) -> Bundle:
    """The model's bundle for the two boards, cut nearest to half its multiply-adds."""
    graph = load_graph(model)
    system = load_system(SYSTEM)
    problem = Problem(graph, system, roofline_costs(graph, system))
    cut = min(cut_points(graph), key=lambda c: abs(2 * c.macs_before - graph.macs)).operators_before
    left, right = (p.key for p in problem.processors)
    segments = [
        Segment("s0", left, problem.precisions[0], _operators(graph, 0, cut)),
        Segment("s1", right, problem.precisions[1], _operators(graph, cut, len(graph.operators))),
    ]
    schedule: Schedule = complete(problem, segments)
    plan = Plan(schedule.segments, schedule.transfers, schedule.orders, evaluate(problem, schedule))
    return split(graph, load_onnx(model), plan, system, folder, verify=False)


def _operators(graph: Graph, start: int, end: int) -> tuple[int, ...]:
    return tuple(op.index for op in graph.operators[start:end])


if __name__ == "__main__":
    main()
