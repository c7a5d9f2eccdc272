"""Which bench for this network? Every Linux board of the catalog alone, and every pair on gigabit Ethernet.

Usage: python examples/03_compare_boards.py [MODEL]

The figures come from the catalog, not from a measurement: good for a shortlist.
"""

import sys
from dataclasses import replace
from itertools import combinations, pairwise

from boards.board import Board, Link, System
from boards.catalog import load_board, load_medium
from optimizer.cost_models.roofline import roofline_costs
from optimizer.graph import Graph
from optimizer.onnx_model import load_graph
from optimizer.plan import Front
from optimizer.problem import Problem
from optimizer.solve import SolveOptions, solve

BOARDS = ("raspberry-pi-4", "raspberry-pi-5", "jetson-nano", "jetson-orin-nano")


def bench(*boards: Board) -> System:
    """Boards in a row, each joined to the next by a cable; frames enter and leave at the first."""
    medium = load_medium("ethernet-1g")
    links: list[Link] = []
    for left, right in pairwise(boards):
        for source, target in ((left.name, right.name), (right.name, left.name)):
            name = f"{source}->{target}"
            links.append(medium.link(name, source, target, resource=name))
    name = " + ".join(board.name for board in boards)
    return System(name, boards, tuple(links), source=boards[0].name, sink=boards[0].name)


def best_throughput(graph: Graph, system: System) -> str:
    problem = Problem(graph, system, roofline_costs(graph, system))
    options = SolveOptions(objectives=("throughput",), time_limit_s=10)
    result = solve(problem, options)
    if not isinstance(result, Front):
        return "does not fit"
    plan = result.plans[result.chosen]
    return f"{plan.score.throughput_per_s:7.1f} /s with {len(plan.segments)} segments, {plan.status}"


def main(model: str = "zoo:mobilenet_v2") -> None:
    graph = load_graph(model)
    boards = [replace(load_board(name), removable=True) for name in BOARDS]
    for size in (1, 2):
        for some in combinations(boards, size):
            system = bench(*some)
            print(f"{system.name:32} {best_throughput(graph, system)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
