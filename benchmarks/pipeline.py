"""Pipelined throughput of two agents against the slowest stage's own rate, measured alone in the same run.

Run: python -m benchmarks.pipeline [--json FILE] [MODEL ...]

Each model is profiled on the agents and solved; of the plans within 3 % of the most throughput, which is less than a
profile can tell apart, the one that sends least is measured. The agents have a core each, the link is loopback,
unshaped. A stage alone: its sub-model runs again and again on its board while the other idles,
before and after the pipeline; it computes and does nothing else, neither receives nor sends. Both rates are runs by
seconds, pauses of the machine included on either side, in many short rounds, for a shared machine's own speed changes
from second to second; the round with the median ratio is shown. Wanted: pipeline / slowest stage alone at least 0.95.
The last column compares with both stages timed at the same time without a link: what is lost there the machine's shared
memory and its other programs take, not the agents.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from boards.catalog import load_system
from hil.emulate import emulate
from hil.lab_types import Lab
from hil.measure import measure
from hil.profile import profile
from hil.targets import connect_agent
from optimizer.onnx_file import load_onnx
from optimizer.onnx_model import load_graph
from optimizer.plan import Front, Plan
from optimizer.request import SolveRequest, solve_request
from optimizer.split import split
from optimizer.split_manifest import Bundle, BundleSegment

MODELS = ("mobilenet_v2", "resnet50")
WANTED = 0.95
ALONE_S = 0.6
"""Seconds for which a stage is timed alone, about; at least 10 runs."""
ROUNDS = 9
WINDOW_S = 0.4
PREFER = "throughput:3%>link-bytes"
SOLVE_LIMIT_S = 20.0
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
        f"{'model':>14} {'operators':>10} {'sent kB':>8} {'stages alone ms':>16} {'slowest/s':>10} {'pipeline/s':>11} "
        f"{'ratio':>6} {'wanted':>8} {'to both at once':>16}"
    )
    for r in rows:
        stages = " + ".join(f"{s * 1e3:.2f}" for s in r["stages_s"])
        sent = f"{r['link_bytes'] / 1e3:.1f}"
        print(
            f"{r['model']:>14} {r['operators']:>10} {sent:>8} {stages:>16} "
            f"{r['slowest_per_s']:10.2f} {r['pipeline_per_s']:11.2f} "
            f"{r['ratio']:6.3f} {'>= ' + str(WANTED):>8} {r['ratio_together']:16.3f}"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def _row(model: str, rounds: int, window_s: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="edgecut-bench-") as name, emulate(SYSTEM, shaping="none") as lab:
        plan = _solved(f"zoo:{model}", lab)
        graph = load_graph(f"zoo:{model}")
        bundle = split(graph, load_onnx(graph.source), plan, load_system(SYSTEM), Path(name) / "bundle", verify=False)
        found = [_round(bundle, lab, window_s) for _ in range(rounds)]
    ratios = [r["ratio"] for r in found]
    middle = found[ratios.index(statistics.median_low(ratios))]
    return {
        "model": model,
        "operators": " + ".join(str(len(s.operators)) for s in plan.segments),
        "predicted_per_s": plan.score.throughput_per_s,
        "wanted": WANTED,
        **middle,
        "rounds": found,
    }


def _solved(model: str, lab: Lab) -> Plan:
    """The preferred plan by what the boards of the lab take for the model."""
    graph, system = load_graph(model), load_system(SYSTEM)
    request = SolveRequest(
        model,
        system,
        profile(graph, system, lab),
        objectives=("throughput", "link-bytes"),
        prefer=PREFER,
        time_limit_s=SOLVE_LIMIT_S,
    )
    result = solve_request(request)
    if not isinstance(result.outcome, Front):
        raise RuntimeError(f"no plan: {result.outcome}")
    return result.outcome.plans[result.outcome.chosen]


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
        "processors": [segment.processor for segment in bundle.segments],
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
    with connect_agent(lab, segment.board) as board:
        sha = board.put_file(bundle.directory / segment.file)
        once = min(board.time_model(sha, runs=3).times_ns) / 1e9
        return statistics.mean(board.time_model(sha, runs=max(10, round(ALONE_S / once))).times_ns) / 1e9


if __name__ == "__main__":
    main()
