"""Plan a network over two boards without any hardware: what the catalog's figures promise.

Usage: python examples/01_plan_offline.py [MODEL] [SYSTEM]

MODEL is a path or zoo:NAME, SYSTEM a ready system or a path of a system file.
"""

import sys

from boards.catalog import load_system
from optimizer.cost_models.roofline import roofline_costs
from optimizer.onnx_model import load_graph
from optimizer.plan import Front
from optimizer.problem import Problem
from optimizer.solve import SolveOptions, solve


def main(model: str = "zoo:mobilenet_v2", system_name: str = "two-raspberry-pis") -> None:
    graph = load_graph(model)
    system = load_system(system_name)
    problem = Problem(graph, system, roofline_costs(graph, system))

    result = solve(problem, SolveOptions(prefer="throughput", time_limit_s=20))
    if not isinstance(result, Front):
        sys.exit(result.text)

    print(f"{graph.name} on {system.name}: {len(result.plans)} plans, none better than another in everything")
    for index, plan in enumerate(result.plans):
        score = plan.score
        where = " -> ".join(f"{s.processor} ({len(s.operators)} operators)" for s in plan.segments)
        mark = "*" if index == result.chosen else " "
        print(
            f"{mark} {score.throughput_per_s:7.2f} /s  {score.latency_s * 1e3:7.1f} ms"
            f"  {score.energy_j * 1e3:7.1f} mJ  {where}"
        )
    for objective, proof in result.certificates.items():
        print(f"{objective}: {proof.status} by {proof.method}, over {proof.plan_class}")


if __name__ == "__main__":
    main(*sys.argv[1:])
