"""Solving again from an earlier plan: after a change of costs by up to 10 %, and after a board is lost.

    python -m benchmarks.warm_start [--json FILE] [--time-limit 30] [--case NAME]

Each case is solved once; then its problem is changed and solved twice, afresh and from the first front. A search from a
start ends early where its proofs do, else it takes its time like any other. So two ratios of the first solve's time are
printed: of the whole search, and until a plan was there that is as good as the best that solving afresh has found
(``to_value``). Beside them the value over that of solving afresh, and both gaps.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.many_boards import Case, random_chain
from boards.board import System
from optimizer.costs import CostTable
from optimizer.plan import Front
from optimizer.plan_io import LoadedPlan
from optimizer.problem import Problem
from optimizer.request import SolveRequest, make_problem
from optimizer.search.certify import PROVEN_GAP
from optimizer.solve import SolveOptions, solve
from optimizer.start import start_of

_SHARE = 0.1
_SEED = 1


@dataclass(frozen=True)
class _Subject:
    """A problem, and what its front is spanned by."""

    name: str
    make: Callable[[], Problem]
    objectives: tuple[str, ...] = ("throughput", "latency", "energy")


SUBJECTS = (
    _Subject(
        "googlenet, 4 boards",
        lambda: make_problem(SolveRequest("zoo:googlenet", "four-heterogeneous")),
        ("throughput",),
    ),
    _Subject(
        "mobilenet_v2, 4 boards, front", lambda: make_problem(SolveRequest("zoo:mobilenet_v2", "four-heterogeneous"))
    ),
    _Subject("resnet152, 4 boards, front", lambda: make_problem(SolveRequest("zoo:resnet152", "four-heterogeneous"))),
    _Subject("chain of 1000, 32 boards", lambda: random_chain(Case(1000, 32, 8, 30.0), seed=0), ("throughput",)),
)


def changed_costs(problem: Problem) -> Problem:
    """Every operator's time and energy on every processor by its own factor."""
    rng = random.Random(_SEED)
    rows = {}
    for key, cost in problem.costs.operators.items():
        factor = rng.uniform(1 - _SHARE, 1 + _SHARE)
        rows[key] = replace(cost, time_s=cost.time_s * factor, energy_j=cost.energy_j * factor)
    return replace(problem, costs=replace(problem.costs, operators=rows))


def lost_board(problem: Problem) -> Problem:
    """Without the board that is declared in the middle of those that are neither source nor sink."""
    system = problem.system
    others = [b.name for b in system.boards if b.name not in (system.source, system.sink)]
    name = others[len(others) // 2]
    left = System(
        system.name,
        tuple(b for b in system.boards if b.name != name),
        tuple(x for x in system.links if name not in (x.source, x.target)),
        system.source,
        system.sink,
        system.switches,
    )
    keep = {ref.key for ref in left.processors}
    costs = CostTable(
        {key: cost for key, cost in problem.costs.operators.items() if key[1] in keep},
        {key: cost for key, cost in problem.costs.boundaries.items() if key in keep},
        {x.name: problem.costs.links[x.name] for x in left.links if x.name in problem.costs.links},
        problem.costs.model_sha256,
    )
    return replace(problem, system=left, costs=costs)


def timed(problem: Problem, options: SolveOptions) -> tuple[float, Front]:
    begin = time.monotonic()
    front = solve(problem, options)
    if not isinstance(front, Front):
        raise SystemExit(front.text)
    return time.monotonic() - begin, front


def rows(subject: _Subject, time_limit_s: float) -> Iterator[dict[str, Any]]:
    problem = subject.make()
    options = SolveOptions(objectives=subject.objectives, time_limit_s=time_limit_s)
    first_s, first = timed(problem, options)
    yield {"case": subject.name, "change": "first solve", "seconds": first_s, "gap": _gap(first)}
    claimed = LoadedPlan(Path("plan.json"), problem, first.plans[first.chosen], first.certificates, first.prefer, 0)
    for name, change in (("costs +-10 %", changed_costs), ("a board lost", lost_board)):
        now = change(problem)
        afresh_s, afresh = timed(now, options)
        warm_s, warm = timed(now, replace(options, start=start_of(claimed, first.plans, now)))
        goal = _period(afresh) * (1 + PROVEN_GAP)
        reached_s = next((seconds for seconds, value in warm.progress["throughput"] if value <= goal), None)
        yield {
            "case": subject.name,
            "change": name,
            "seconds": warm_s,
            "of_first": warm_s / first_s,
            "of_afresh": warm_s / afresh_s,
            "to_value": None if reached_s is None else reached_s / first_s,
            "value_over_afresh": _period(warm) / _period(afresh),
            "gap": _gap(warm),
            "gap_afresh": _gap(afresh),
        }


def _period(front: Front) -> float:
    return front.certificates["throughput"].value


def _gap(front: Front) -> float | None:
    return front.certificates["throughput"].gap


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--time-limit", type=float, default=30.0)
    parser.add_argument("--case", help="only cases whose names hold this")
    given = parser.parse_args()
    found = []
    for subject in SUBJECTS:
        if given.case and given.case not in subject.name:
            continue
        for row in rows(subject, given.time_limit):
            found.append(row)
            print(
                "  ".join(
                    f"{key} {value:.3g}" if isinstance(value, float) else f"{value}" for key, value in row.items()
                ),
                flush=True,
            )
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
