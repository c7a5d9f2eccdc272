"""The ancestor's own costs: what is proven of the throughput, contiguous and with processors revisited.

    python -m benchmarks.ancestor [--skip-nsga] [--time-limit 5] [--workers 2] [--case NAME] [--json FILE]

Costs are CNNParted's layer tables (benchmarks/data/cnnparted); operators without a row cost nothing, as there. Links
are as in its runs: Gigabit Ethernet over 5 m of cable (46 bytes of payload at least, 26 bytes beside every 1,500, 6 ns
a metre) or UCIe-like on-package wires (16 x 4 Gbit/s, 2 ns, 0.5 pJ/bit); tensors cross at 8 bits; the input comes
and the output goes for free. Every pair of platforms has a link each way.

Seconds are those of the search, from a problem in memory to a bound; reading the model and costs stands beside it.
NSGA-II alone is our own (pymoo) over the same class of plans, begun from random cuts, with ten times those seconds;
the gain is over the median of five seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from boards.board import Board, Link, Processor, System
from optimizer.cost_models.imported import import_costs
from optimizer.costs import CostTable, merge_costs
from optimizer.graph import Graph
from optimizer.onnx_model import load_graph
from optimizer.problem import Problem
from optimizer.search.certify import PROVEN_GAP, plan_class
from optimizer.search.cpsat import Budget, prove
from optimizer.search.many_boards import prove_period
from optimizer.search.order_dp import order_dp_candidates
from optimizer.search.pool import Pool
from optimizer.search.pruning import simple_bound
from optimizer.zoo import load_zoo_model

DATA = Path(__file__).parent / "data" / "cnnparted"
HOST = "host"
ETHERNET: Mapping[str, Any] = {
    "bandwidth_bytes_per_s": 125e6,
    "latency_s": 5 * 6e-9,
    "mtu_bytes": 1500,
    "header_bytes": 26,
    "min_payload_bytes": 46,
    "energy_j_per_byte": 0.6 / 125e6,
}
UCIE: Mapping[str, Any] = {"bandwidth_bytes_per_s": 8e9, "latency_s": 2e-9, "energy_j_per_byte": 8 * 0.5e-12}
SEEDS = range(5)
NSGA_BUDGET = 10.0
"""Times our seconds that NSGA-II alone may take."""


@dataclass(frozen=True)
class Case:
    """One table row pair. ``targets``: inferences/s known for contiguous and for all plans (None: not known)."""

    name: str
    model: str
    platforms: tuple[str, ...]
    link: Mapping[str, Any]
    targets: tuple[float, float | None]
    pixels: int | None = None


_ACCELERATORS = ("eyeriss_like", "simba_like")
CASES = (
    Case("SqueezeNet1.1 227 px", "squeezenet1_1", _ACCELERATORS, ETHERNET, (199.83, 214.63), 227),
    Case("ResNet-50", "resnet50", tuple(f"eyeriss_like{i}" for i in range(1, 5)), UCIE, (31.686, None)),
    Case("GoogLeNet", "googlenet", _ACCELERATORS, ETHERNET, (52.996, 55.14)),
)


@dataclass(frozen=True)
class Row:
    """What one search found; rates in inferences/s, ``bound`` from above."""

    case: str
    plans: str
    value: float
    bound: float
    gap: float
    status: str
    seconds: float
    method: str
    segments: int
    target: float | None
    single_board: float
    nsga: tuple[float, ...] = ()

    @property
    def gain_over_board(self) -> float:
        return self.value / self.single_board - 1

    @property
    def gain_over_nsga(self) -> float | None:
        typical = statistics.median(self.nsga) if self.nsga else 0.0
        return self.value / typical - 1 if typical > 0 else None


def make_system(platforms: Sequence[str], link: Mapping[str, Any]) -> System:
    """The platforms, each with a link to every other, and a host without a processor that costs nothing."""
    unit = Processor("npu", "npu", {"int8": 1e9}, 1e9, 0.0, 0.0, 0.0)
    boards = [_board(name, (unit,)) for name in platforms]
    links = [Link(f"{a}->{b}", a, b, f"{a}->{b}", **link) for a in platforms for b in platforms if a != b]
    for name in platforms:
        for a, b in ((HOST, name), (name, HOST)):
            links.append(Link(f"{a}->{b}", a, b, f"{a}->{b}", bandwidth_bytes_per_s=math.inf))
    return System("ancestor", (*boards, _board(HOST, ())), tuple(links), HOST, HOST)


def _board(name: str, processors: tuple[Processor, ...]) -> Board:
    return Board(
        name=name,
        model="inline",
        processors=processors,
        ram_bytes=1 << 40,
        flash_bytes=None,
        weights_in="ram",
        in_place=True,
        runtime="accelerator",
        runtime_ram_bytes=0,
        removable=True,
    )


def load_case_graph(model: str, pixels: int | None) -> Graph:
    """The zoo's network, at another input size where ``pixels`` says so."""
    if pixels is None:
        return load_graph(f"zoo:{model}")
    network = load_zoo_model(model)
    for dimension in network.graph.input[0].type.tensor_type.shape.dim[2:]:
        dimension.dim_value = pixels
    del network.graph.value_info[:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{model}_{pixels}.onnx"
        onnx.save(network, path)
        return load_graph(path)


def make_case_problem(case: Case) -> Problem:
    graph, system = load_case_graph(case.model, case.pixels), make_system(case.platforms, case.link)
    costs = CostTable({})
    for platform in case.platforms:
        layers = DATA / f"{case.model}_{platform}_tl_layers.csv"
        costs = merge_costs(costs, import_costs(layers, graph, system, processor=f"{platform}/npu"))
    return Problem(graph, system, costs)


def search(case: Case, problem: Problem, time_limit_s: float, workers: int) -> Row:
    """The throughput of one class of plans as `optimizer solve` finds it: cuts along the graph, then the proofs."""
    begin = time.monotonic()
    pool = Pool(problem, ("throughput",))
    for assignment in order_dp_candidates(problem):
        pool.score(assignment)
    budget = Budget(begin + time_limit_s, workers, 0)
    bound = prove_period(pool, budget)
    if bound is None or not bound.complete or pool.best_value("throughput") * (1 - PROVEN_GAP) > bound.value:
        known = simple_bound(problem, "throughput") if bound is None else bound.value
        bound = prove(pool, "throughput", budget, known)
    seconds = time.monotonic() - begin
    best = pool.best("throughput")
    if best is None:
        raise SystemExit(f"{case.name}: no plan found in {time_limit_s} s")
    period = best.score.period_s
    gap = (period - min(bound.value, period)) / period
    return Row(
        case=case.name,
        plans=plan_class(problem),
        value=1 / period,
        bound=1 / min(bound.value, period),
        gap=gap,
        status="proven" if bound.complete and gap <= PROVEN_GAP else "bounded",
        seconds=seconds,
        method=bound.method,
        segments=len(best.segments),
        target=case.targets[problem.non_contiguous],
        single_board=best_single_board(problem),
    )


def best_single_board(problem: Problem) -> float:
    return 1 / float(problem.tables.time_s.sum(axis=0).min())


def nsga_alone(problem: Problem, seconds: float, seed: int) -> float:
    """The best rate that NSGA-II finds from random cuts; nothing of ours helps it."""
    from optimizer.search.nsga2 import RefineOptions, refine

    pool = Pool(problem, ("throughput",))
    everywhere = np.ones_like(problem.tables.allowed)
    refine(pool, everywhere, [], RefineOptions(time.monotonic() + seconds, seed, generations=10**6))
    return 1 / pool.best_value("throughput")


def rows(cases: Sequence[Case], time_limit_s: float, workers: int, skip_nsga: bool) -> Iterator[Row]:
    for case in cases:
        begin = time.monotonic()
        problem = make_case_problem(case)
        print(f"{case.name}: model and costs read in {time.monotonic() - begin:.2f} s")
        for non_contiguous in (False, True):
            chosen = replace(problem, non_contiguous=non_contiguous)
            row = search(case, chosen, time_limit_s, workers)
            if not skip_nsga:
                found = [nsga_alone(chosen, NSGA_BUDGET * row.seconds, seed) for seed in SEEDS]
                row = replace(row, nsga=tuple(found))
            yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--time-limit", type=float, default=5.0, help="seconds a search")
    parser.add_argument("--workers", type=int, default=2, help="threads of CP-SAT")
    parser.add_argument("--skip-nsga", action="store_true", help="without NSGA-II alone, which takes 50 x our time")
    parser.add_argument("--case", help="only cases whose names hold this")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    found = []
    print(
        f"{'case':<21} {'plans':<15} {'1/s':>9} {'bound':>9} {'gap':>8} {'status':>8} {'seconds':>8} {'segments':>8} "
        f"{'target':>8} {'over board':>10} {'over NSGA-II':>12}"
    )
    cases = [case for case in CASES if given.case is None or given.case in case.name]
    for row in rows(cases, given.time_limit, given.workers, given.skip_nsga):
        found.append({**asdict(row), "gain_over_board": row.gain_over_board, "gain_over_nsga": row.gain_over_nsga})
        print(_line(row), flush=True)
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _line(row: Row) -> str:
    over = "skipped" if row.gain_over_nsga is None else f"{row.gain_over_nsga:+.1%}"
    target = "none" if row.target is None else f"{row.target:g}"
    gap = "0" if row.gap <= PROVEN_GAP else f"{row.gap:.3%}"
    return (
        f"{row.case:<21} {row.plans.partition(' ')[0]:<15} {row.value:9.4f} {row.bound:9.4f} {gap:>8} {row.status:>8} "
        f"{row.seconds:8.2f} {row.segments:8} {target:>8} {row.gain_over_board:>+10.1%} {over:>12}"
    )


if __name__ == "__main__":
    main()
