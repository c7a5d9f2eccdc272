"""A bench of your own (02_custom_system.yaml) with limits, and what the planner says of impossible ones.

Usage: python examples/02_custom_system.py
"""

from pathlib import Path

from boards.catalog import load_system
from optimizer.cost_models.roofline import roofline_costs
from optimizer.onnx_model import load_graph
from optimizer.plan import Front
from optimizer.problem import Limits, Problem
from optimizer.solve import SolveOptions, solve

MEBI = 1 << 20


def main() -> None:
    graph = load_graph("zoo:squeezenet1_1")
    system = load_system(Path(__file__).with_suffix(".yaml"))
    costs = roofline_costs(graph, system)
    for limits in (
        Limits(),
        Limits(max_latency_s=0.050, max_ram_bytes={"camera": 100 * MEBI}),
        Limits(max_latency_s=0.001),
    ):
        result = solve(Problem(graph, system, costs, limits), SolveOptions(prefer="latency", time_limit_s=20))
        if not isinstance(result, Front):
            print(f"{limits.max_latency_s} s: {result.text}")
            continue
        best = result.plans[result.chosen]
        ram = {board: f"{use.ram_bytes / MEBI:.0f} MiB" for board, use in best.score.memory_bytes.items()}
        print(f"{best.score.latency_s * 1e3:.1f} ms on {[s.processor for s in best.segments]}, RAM {ram}")


if __name__ == "__main__":
    main()
