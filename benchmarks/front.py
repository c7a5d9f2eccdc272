"""Front quality: NSGA-II alone, begun as in `optimizer solve` but without CP-SAT, against fronts it did not make.

    python -m benchmarks.front [--quick] [--json FILE]

The reference is the whole front of contiguous plans, proven: two processors by looking at every way to cut in two,
more by label-DP, or for two objectives by epsilon-boxes that leave at most 0.1 % of the area open. A case whose front
is not proven in time is named and left out. Hypervolume is that of all plans scored so far, by ``evaluate()``'s
figures, over the box from the reference's best values to its worst ones plus a tenth of their span. Two counts, the
same for both searches: plans looked at (every assignment outlined, however soon it was dropped) and schedules scored
(completed and evaluated). CPU seconds and counts to 99 % of the reference include the seeds (order-DP, a narrow
label-DP: anchors and what lies between). Beside it the same NSGA-II without seeds and pruning, with twice the
generations. ">": 99 % was not reached. Medians over the seeds.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizer.objectives import objective_values
from optimizer.plan import Plan
from optimizer.problem import Problem
from optimizer.request import SolveRequest, make_problem
from optimizer.schedule import Outline
from optimizer.search.cpsat import Budget
from optimizer.search.epsilon_boxes import epsilon_boxes
from optimizer.search.exact_front import enumerate_front
from optimizer.search.label_dp import label_front, label_seeds
from optimizer.search.nsga2 import RefineOptions, refine
from optimizer.search.order_dp import order_dp_candidates
from optimizer.search.pool import Assignment, Pool, assignment_of
from optimizer.search.pruning import safe_domains, simple_bound

Floats = npt.NDArray[np.float64]
_ENOUGH = 0.99
_SEEDS = 5
_REFERENCE_S = 60.0
_MOST_OPEN = 1e-3
"""Of the area between the best values that a reference by epsilon-boxes may leave open."""
_SEARCH_S = 60.0
_PAIRS = (("throughput", "energy"), ("throughput", "latency"))
_ALL = ("throughput", "latency", "energy")


@dataclass(frozen=True)
class Case:
    model: str
    system: str
    objectives: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.model} {self.system.split('-')[0]} {'+'.join(o[0].upper() for o in self.objectives)}"


def cases(quick: bool) -> Iterator[Case]:
    """Two-board cases with fronts of any size, four-board ones where label-DP proves the front."""
    sets = (*_PAIRS, _ALL)
    chains = ("vgg16",) if quick else ("vgg16", "vgg19")
    yield from (Case(m, "four-heterogeneous", o) for m in chains for o in sets)
    if quick:
        yield Case("googlenet", "two-heterogeneous", _ALL)
        return
    yield Case("resnet50", "four-heterogeneous", _PAIRS[0])
    yield Case("efficientnet_b0", "four-heterogeneous", _PAIRS[0])
    yield from (Case(m, "four-heterogeneous", _PAIRS[1]) for m in ("resnet50", "googlenet"))
    graphs = ("googlenet", "resnet50", "efficientnet_b0", "inception_v3", "densenet121")
    yield from (Case(m, "two-heterogeneous", o) for m in graphs for o in (_PAIRS[1], _ALL))


class TracedPool(Pool):
    """Remembers when each feasible plan came: seconds, plans looked at and schedules scored until then."""

    def __init__(self, problem: Problem, objectives: Sequence[str]) -> None:
        super().__init__(problem, objectives)
        self.begin = time.process_time()
        self.looked_at = 0
        self.trace: list[tuple[float, int, int, tuple[float, ...]]] = []

    def outline(self, assignment: Assignment) -> Outline | None:
        self.looked_at += 1
        return super().outline(assignment)

    def score_outlines(self, outlines: Sequence[tuple[Assignment, Outline]]) -> list[Plan]:
        plans = super().score_outlines(outlines)
        now = time.process_time() - self.begin
        for plan in plans:
            if not plan.score.violations:
                values = objective_values(plan.score, self.objectives)
                self.trace.append((now, self.looked_at, self.evaluations, values))
        return plans


@dataclass(frozen=True)
class Reference:
    """A proven front; ``scaled`` maps figures to the box in which volume is measured."""

    points: Floats
    seconds: float
    open_share: float = 0.0

    def scaled(self, values: Sequence[Sequence[float]]) -> Floats:
        low, high = self.points.min(axis=0), self.points.max(axis=0)
        span = np.where(high > low, 1.1 * (high - low), 0.1 * np.abs(high))
        rows = np.asarray(values, dtype=np.float64).reshape(-1, self.points.shape[1])
        return np.asarray((rows - low) / span)

    def share(self, values: Sequence[Sequence[float]]) -> float:
        return hypervolume(self.scaled(values)) / hypervolume(self.scaled(self.points.tolist()))


def hypervolume(points: Floats) -> float:
    """Volume that the points (m, 2 or 3; minimised) dominate below the corner (1, ..., 1)."""
    points = points[(points < 1).all(axis=1)]
    if points.shape[1] == 2:
        return _area(points)
    volume = 0.0
    points = points[np.argsort(points[:, 2], kind="stable")]
    heights = [*points[:, 2].tolist(), 1.0]
    flat = np.zeros((0, 2))
    for row, low, high in zip(points, heights[:-1], heights[1:], strict=True):
        if not (flat <= row[:2]).all(axis=1).any():
            flat = np.vstack([flat[~(flat >= row[:2]).all(axis=1)], row[:2]])
        if high > low:
            volume += _area(flat) * (high - low)
    return volume


def _area(points: Floats) -> float:
    area, height = 0.0, 1.0
    for x, y in points[np.lexsort((points[:, 1], points[:, 0]))].tolist():
        if y < height:
            area += (1.0 - x) * (height - y)
            height = y
    return area


def reference(problem: Problem, objectives: tuple[str, ...]) -> Reference | float | None:
    """The proven front; where it is not proven in time the share that boxes leave open, None without boxes."""
    begin = time.monotonic()
    pool = Pool(problem, objectives)
    for assignment in order_dp_candidates(problem, objectives):
        pool.score(assignment)
    deadline = begin + _REFERENCE_S
    open_share = 0.0
    if enumerate_front(pool, deadline) is None and label_front(pool, deadline, budget=_budget(deadline)) is None:
        boxes = None
        if len(objectives) == 2:
            boxes = epsilon_boxes(pool, _budget(time.monotonic() + _REFERENCE_S), tolerance=_MOST_OPEN / 10)
        if boxes is None or boxes.open_share > _MOST_OPEN:
            return boxes.open_share if boxes is not None else None
        open_share = boxes.open_share
    points = np.array([objective_values(p.score, objectives) for p in pool.front()])
    return Reference(points, time.monotonic() - begin, open_share)


def _budget(deadline: float) -> Budget:
    return Budget(deadline, workers=2, seed=0)


def seeded(problem: Problem, objectives: tuple[str, ...], seed: int) -> TracedPool:
    pool = TracedPool(problem, objectives)
    for assignment in order_dp_candidates(problem, objectives):
        pool.score(assignment)
    for assignment in label_seeds(pool, time.monotonic() + _SEARCH_S):
        pool.score(assignment)
    domains = safe_domains(pool, {o: simple_bound(problem, o) for o in objectives})
    count = len(problem.processors)
    starts = []
    for plan in pool.front():
        order = list(dict.fromkeys(problem.processor_index[s.processor] for s in plan.segments))
        order += [q for q in range(count) if q not in order]
        starts.append((assignment_of(problem, plan), order))
    refine(pool, domains, starts, RefineOptions(time.monotonic() + _SEARCH_S, seed))
    return pool


def unseeded(problem: Problem, objectives: tuple[str, ...], seed: int) -> TracedPool:
    pool = TracedPool(problem, objectives)
    options = RefineOptions(time.monotonic() + _SEARCH_S, seed, generations=160)
    refine(pool, problem.tables.allowed, [], options)
    return pool


def reached(pool: TracedPool, truth: Reference) -> tuple[float, float, float]:
    """Seconds, plans looked at and schedules scored to 99 % of the reference; inf where that was not reached."""
    values = [v for *_, v in pool.trace]
    if truth.share(values) < _ENOUGH:
        return math.inf, math.inf, math.inf
    low, high = 1, len(values)
    while low < high:  # volume only grows
        middle = (low + high) // 2
        if truth.share(values[:middle]) >= _ENOUGH:
            high = middle
        else:
            low = middle + 1
    seconds, looked_at, scored, _ = pool.trace[low - 1]
    return seconds, looked_at, scored


def measure(case: Case, seeds: int) -> dict[str, Any]:
    problem = make_problem(SolveRequest(f"zoo:{case.model}", case.system))
    truth = reference(problem, case.objectives)
    if not isinstance(truth, Reference):
        return {"case": case.name, "front": None, "open_share": truth}
    row: dict[str, Any] = {"case": case.name, "front": len(truth.points), "reference_s": truth.seconds}
    row["open_share"] = truth.open_share
    for name, search in (("seeded", seeded), ("unseeded", unseeded)):
        pools = [search(problem, case.objectives, seed) for seed in range(seeds)]
        ends = [reached(pool, truth) for pool in pools]
        row[name] = {
            "share": statistics.median(truth.share([v for *_, v in pool.trace]) for pool in pools),
            "least_share": min(truth.share([v for *_, v in pool.trace]) for pool in pools),
            "seconds": statistics.median(s for s, _, _ in ends),
            "looked_at": statistics.median(n for _, n, _ in ends),
            "scored": statistics.median(n for _, _, n in ends),
            "all_looked_at": statistics.median(pool.looked_at for pool in pools),
            "all_scored": statistics.median(pool.evaluations for pool in pools),
            "all_seconds": statistics.median(pool.trace[-1][0] for pool in pools if pool.trace),
        }
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--quick", action="store_true", help="one chain and one graph, one seed")
    parser.add_argument("--only", default="", help="cases whose name holds this")
    given = parser.parse_args()
    rows = []
    print(f"{'':<32} {'':>6} {'proof':>8}  {'seeded':>13} {'':>7} {'':>7} {'':>7} {'':>7}  {'unseeded':>15}")
    figures = f"{'s':>7} {'looked':>7} {'scored':>7}"
    print(f"{'case':<32} {'front':>6} {'s':>8}  {'share':>13} {'least':>7} {figures}  {'share':>15} {figures}")
    for case in cases(given.quick):
        if given.only in case.name:
            row = measure(case, 1 if given.quick else _SEEDS)
            rows.append(row)
            print(_line(row), flush=True)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _line(row: dict[str, Any]) -> str:
    if row["front"] is None:
        share = "" if row["open_share"] is None else f", {row['open_share']:.2%} open after as long by boxes"
        return f"{row['case']:<32} front not proven in {_REFERENCE_S:.0f} s{share}: left out"
    a, b = row["seeded"], row["unseeded"]
    head = f"{row['case']:<32} {row['front']:6d} {row['reference_s']:8.2f}  {a['share']:13.5f} {a['least_share']:7.4f}"
    return f"{head} {_until(a)}  {b['share']:15.5f} {_until(b)}"


def _until(figures: dict[str, float]) -> str:
    if math.isinf(figures["seconds"]):
        ends = (
            format(figures["all_seconds"], ".2f"),
            str(int(figures["all_looked_at"])),
            str(int(figures["all_scored"])),
        )
        return " ".join(f"{'>' + end:>7}" for end in ends)
    return f"{figures['seconds']:7.2f} {int(figures['looked_at']):7d} {int(figures['scored']):7d}"


if __name__ == "__main__":
    main()
