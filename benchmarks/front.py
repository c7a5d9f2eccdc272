"""Front quality: NSGA-II with its anchors, as in `optimizer solve`, against fronts that it did not make.

    python -m benchmarks.front [--quick] [--only TEXT] [--json FILE]

With ``--json`` every case is written when it is done, and one that FILE holds already is not measured again.

The reference is the front of contiguous plans: two processors by looking at every way to cut in two, more by label-DP,
else for two objectives by epsilon-boxes. Where labels promise figures that no plan was found to keep, or boxes are left
open, the share of the volume that these might add is bounded and printed; a case with more than 0.1 % open is named and
left out. Cases named "coarse" may be cut at single tensors only (blocks are colocated), so that the graph is a chain.

Seeded: order-DP, rounds of seeds, CP-SAT's anchors (one each objective, a deterministic budget), NSGA-II. Unseeded: the
same NSGA-II from random cuts, without pruning. Both have at most 80 generations of 100, and end after 30 without
anything new; seeds that are the whole front already are not refined. Both drop a plan before it is completed where
bounds show that it cannot be on the front, so that evaluations are counted alike: plans completed and scored by
``evaluate()``. Seconds are CPU seconds of all threads and hold everything from the start on; plans looked at, dropped
ones included, stand in FILE. Volume is that of all plans scored so far over the box from the reference's best values
to its worst ones plus a tenth of their span. Medians of five seeds; ">": 99 % was not reached by most of them.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import statistics
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.front_reference import Reference, coarse_chain, reference
from optimizer.atomic import write_atomically
from optimizer.objectives import objective_values
from optimizer.plan import Plan
from optimizer.problem import Problem
from optimizer.request import SolveRequest, make_problem
from optimizer.schedule import Outline
from optimizer.search.front_seeds import seed_front
from optimizer.search.nsga2 import RefineOptions, refine
from optimizer.search.pool import Assignment, Pool, assignment_of
from optimizer.search.pruning import safe_domains
from optimizer.solve_options import SolveOptions
from optimizer.solve_stages import Run

_ENOUGH = 0.99
_SEEDS = 5
_WHOLE = 1 - 1e-6
"""Share of the volume from which on there is nothing left to refine."""
_ANCHORS_S = 3.0
"""Deterministic seconds of CP-SAT for all anchors together, and what `solve` keeps of them for later."""
_TE, _TL = ("throughput", "energy"), ("throughput", "latency")
_ALL = ("throughput", "latency", "energy")


@dataclass(frozen=True)
class Case:
    model: str
    boards: str
    objectives: tuple[str, ...]
    coarse: bool = False

    @property
    def name(self) -> str:
        kind = " coarse" if self.coarse else ""
        return f"{self.model}{kind} {self.boards} {'+'.join(o[0].upper() for o in self.objectives)}"

    def problem(self) -> Problem:
        found = make_problem(SolveRequest(f"zoo:{self.model}", f"{self.boards}-heterogeneous"))
        return coarse_chain(found) if self.coarse else found


def cases(quick: bool) -> Iterator[Case]:
    """Chains on four boards, graphs on two and four, and graphs that may be cut at single tensors only."""
    if quick:
        yield Case("vgg16", "four", _TE)
        yield Case("googlenet", "two", _ALL)
        return
    yield from (Case(m, "four", o) for m in ("vgg16", "vgg19") for o in (_TE, _TL, _ALL))
    graphs = ("googlenet", "resnet50", "efficientnet_b0", "inception_v3", "densenet121")
    yield from (Case(m, "two", o) for m in graphs for o in (_TL, _ALL))
    yield from (Case(m, "four", o) for m in ("efficientnet_b0", "resnet50", "densenet121") for o in (_TE, _TL))
    yield from (Case(m, "four", o) for m in ("googlenet", "squeezenet1_1") for o in (_TE, _TL))
    coarse = ("googlenet", "resnet50", "efficientnet_b0", "inception_v3", "densenet121")
    yield from (Case(m, "four", o, coarse=True) for m in coarse for o in (_TL, _ALL))


@dataclass(frozen=True)
class Found:
    """A feasible plan's figures, when it came, and the plans scored and looked at until then."""

    seconds: float
    scored: int
    looked_at: int
    values: tuple[float, ...]


class TracedPool(Pool):
    """Remembers what was found when."""

    def __init__(self, problem: Problem, objectives: Sequence[str]) -> None:
        super().__init__(problem, objectives)
        self.begin = time.process_time()
        self.seconds = 0.0
        """Of the whole search, once it has stopped."""
        self.looked_at = 0
        self.trace: list[Found] = []

    def resumed(self) -> TracedPool:
        """A pool of its own that goes on from here, as if no time had passed since the last plan."""
        other = copy.copy(self)
        other._plans, other.trace = dict(self._plans), list(self.trace)
        other.begin = time.process_time() - self.seconds
        other.seconds = 0.0
        return other

    def stop(self) -> None:
        self.seconds = time.process_time() - self.begin

    def outlines(self, assignments: Iterable[Assignment]) -> list[Outline | None]:
        found = super().outlines(assignments)
        self.looked_at += len(found)
        return found

    def score_outlines(self, outlines: Sequence[tuple[Assignment, Outline]]) -> list[Plan]:
        before = self.evaluations
        plans = super().score_outlines(outlines)
        now = time.process_time() - self.begin
        for number, plan in enumerate(plans, before + 1):
            self._trace_found(plan, Found(now, number, self.looked_at, objective_values(plan.score, self.objectives)))
        return plans

    def add(self, plan: Plan) -> Plan:
        kept = super().add(plan)
        now = time.process_time() - self.begin
        self._trace_found(
            kept, Found(now, self.evaluations, self.looked_at, objective_values(kept.score, self.objectives))
        )
        return kept

    def _trace_found(self, plan: Plan, found: Found) -> None:
        if not plan.score.violations:
            self.trace.append(found)


def anchored(problem: Problem, objectives: tuple[str, ...]) -> tuple[TracedPool, Run]:
    """The stages of `optimizer solve` before NSGA-II, but for the exact front and the epsilon-grid."""
    run = Run(problem, SolveOptions(objectives=objectives, time_limit_s=_ANCHORS_S, reproducible=True))
    pool = TracedPool(problem, objectives)
    run.pool = pool
    run.seed_pool()
    seed_front(pool, math.inf)
    for objective in sorted(objectives, key=lambda o: o != "latency"):
        run.prove(objective)
    pool.stop()
    return pool, run


def refined(pool: TracedPool, run: Run, seed: int) -> TracedPool:
    """NSGA-II from where the stages before it have come."""
    pool = pool.resumed()
    domains = safe_domains(pool, {o: b.value for o, b in run.bounds.items()})
    count = len(pool.problem.processors)
    starts = []
    for plan in pool.front():
        order = list(dict.fromkeys(pool.problem.processor_index[s.processor] for s in plan.segments))
        order += [q for q in range(count) if q not in order]
        starts.append((assignment_of(pool.problem, plan), order))
    refine(pool, domains, starts, RefineOptions(math.inf, seed))
    pool.stop()
    return pool


def unseeded(problem: Problem, objectives: tuple[str, ...], seed: int) -> TracedPool:
    pool = TracedPool(problem, objectives)
    refine(pool, problem.tables.allowed, [], RefineOptions(math.inf, seed))
    pool.stop()
    return pool


def reached(pool: TracedPool, truth: Reference) -> Found:
    """When 99 % of the reference was there; all figures inf where it was not."""
    values = [found.values for found in pool.trace]
    if truth.share(values) < _ENOUGH:
        return Found(math.inf, 10**9, 10**9, ())
    low, high = 1, len(values)
    while low < high:  # volume only grows
        middle = (low + high) // 2
        if truth.share(values[:middle]) >= _ENOUGH:
            high = middle
        else:
            low = middle + 1
    return pool.trace[low - 1]


def measure(case: Case, seeds: int) -> dict[str, Any]:
    problem = case.problem()
    truth = reference(problem, case.objectives)
    row: dict[str, Any] = {"case": case.name, "reference": {**asdict(replace(truth, points=())), "front": truth.size}}
    if not truth.holds:
        return row
    begun, run = anchored(problem, case.objectives)
    row["anchors"] = _summary([begun], truth)
    whole = row["anchors"]["share"] >= _WHOLE
    row["seeded"] = _summary([begun] if whole else [refined(begun, run, seed) for seed in range(seeds)], truth)
    row["unseeded"] = _summary([unseeded(problem, case.objectives, seed) for seed in range(seeds)], truth)
    return row


def _summary(pools: Sequence[TracedPool], truth: Reference) -> dict[str, float]:
    ends = [reached(pool, truth) for pool in pools]
    shares = [truth.share([found.values for found in pool.trace]) for pool in pools]
    return {
        "share": statistics.median(shares),
        "least_share": min(shares),
        "reached": sum(end.seconds < math.inf for end in ends),
        "seconds": statistics.median(end.seconds for end in ends),
        "scored": statistics.median(end.scored for end in ends),
        "looked_at": statistics.median(end.looked_at for end in ends),
        "all_seconds": statistics.median(pool.seconds for pool in pools),
        "all_scored": statistics.median(pool.evaluations for pool in pools),
        "all_looked_at": statistics.median(pool.looked_at for pool in pools),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="written case by case; cases that it holds are not measured again")
    parser.add_argument("--quick", action="store_true", help="one chain and one graph, one seed")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    given = parser.parse_args()
    known = {}
    if given.json and given.json.exists():
        known = {row["case"]: row for row in json.loads(given.json.read_text(encoding="utf-8"))}
    columns = f"{'share':>8} {'least':>7} {'s':>7} {'scored':>7}"
    print(f"{'':<32} {'reference':<36} {'seeded, to 99 %':<32}  unseeded, to 99 %")
    print(f"{'case':<32} {'points':>6} {'s':>6} {'open':>7} {'by':<14} {columns}  {columns}   fewer")
    for case in cases(given.quick):
        if given.only not in case.name:
            continue
        if case.name not in known:
            known[case.name] = measure(case, 1 if given.quick else _SEEDS)
            if given.json:
                write_atomically(given.json, json.dumps(list(known.values()), indent=1) + "\n")
        print(_line(known[case.name]), flush=True)


def _line(row: dict[str, Any]) -> str:
    truth = row["reference"]
    head = f"{row['case']:<32} {truth['front']:6d} {truth['seconds']:6.1f} {truth['open_share']:7.2%}"
    head = f"{head} {truth['method']:<14}"
    if "seeded" not in row:
        return f"{head} too much is open: left out"
    a, b = row["seeded"], row["unseeded"]
    more = ">" if math.isinf(b["seconds"]) else ""
    fewer = "" if math.isinf(a["seconds"]) else f"{more}{(b['all_scored'] if more else b['scored']) / a['scored']:.1f}"
    return f"{head} {_until(a)}  {_until(b)}  {fewer:>6}"


def _until(figures: dict[str, float]) -> str:
    shares = f"{figures['share']:8.5f} {figures['least_share']:7.4f}"
    if math.isinf(figures["seconds"]):
        seconds, scored = f">{figures['all_seconds']:.2f}", f">{figures['all_scored']:.0f}"
        return f"{shares} {seconds:>7} {scored:>7}"
    return f"{shares} {figures['seconds']:7.2f} {figures['scored']:7.0f}"


if __name__ == "__main__":
    main()
