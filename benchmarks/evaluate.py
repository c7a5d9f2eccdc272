"""Microseconds that an evaluation takes in populations of 1, 64 and 256, alone and as a step of the search.

    python -m benchmarks.evaluate [--models a,b] [--systems a,b] [--json FILE]

A population holds neighbours of good plans, as NSGA-II makes them, all different. `evaluate` scores complete schedules
with everything that the planner remembers of segments forgotten (cold) or kept (warm); `step` is what the search does
with a population of genomes: decoding, screening, completing the plans that may be on the front, and scoring them,
nothing known but the plans it starts from. `one by one` completes and scores the same genomes each by itself. Times
are CPU seconds of this process, medians of several runs.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from optimizer.evaluate import Schedule, evaluate_batch
from optimizer.problem import Problem
from optimizer.request import SolveRequest, make_problem
from optimizer.search.nsga2 import Codec
from optimizer.search.order_dp import order_dp_candidates
from optimizer.search.pool import Assignment, Pool, assignment_of, key_of
from optimizer.search.screen import Screen

POPULATIONS = (1, 64, 256)
_RUNS = 5
_MUTATIONS = 3


class Case:
    """One model on one system, with genomes and their complete schedules."""

    def __init__(self, model: str, system: str) -> None:
        self.problem = make_problem(SolveRequest(model=f"zoo:{model}", system=system))
        pool = self._seeded(self.problem)
        self.seeds = [assignment_of(self.problem, p) for p in pool.front()]
        self.genomes = self._neighbours(pool, max(POPULATIONS))
        codec = Codec(pool, self.problem.tables.allowed)
        plans = [pool.score(a) for a in codec.decode(self.genomes)]
        self.schedules = [Schedule.of(p) for p in plans if p is not None]

    @staticmethod
    def _seeded(problem: Problem) -> Pool:
        pool = Pool(problem)
        for assignment in order_dp_candidates(problem):
            pool.score(assignment)
        return pool

    def _neighbours(self, pool: Pool, count: int) -> npt.NDArray[np.float64]:
        """Genomes of different assignments that plans can be made of."""
        codec, rng = Codec(pool, self.problem.tables.allowed), np.random.default_rng(0)
        known = range(len(self.problem.processors))
        found: dict[bytes, npt.NDArray[np.float64]] = {}
        while len(found) < count:
            base = self.seeds[int(rng.integers(len(self.seeds)))]
            genome = codec.encode(base, rng.permutation(known).tolist() if rng.random() < 0.2 else _order(base, known))
            for _ in range(_MUTATIONS):
                genome = codec.moves.apply(genome, rng)
            (assignment,) = codec.decode(genome[None])
            if pool.outline(assignment) is not None:
                found.setdefault(key_of(assignment), genome)
        return np.array(list(found.values()))

    def forgetful(self) -> Problem:
        """The problem with nothing remembered of segments; its tables made."""
        fresh = replace(self.problem)
        fresh.segment_table.prepare([])
        return fresh

    def evaluations(self, size: int, *, cold: bool) -> float:
        """Microseconds an evaluation."""
        groups = [self.schedules[i : i + size] for i in range(0, len(self.schedules) - size + 1, size)]

        def run(problem: Problem) -> None:
            for group in groups:
                evaluate_batch(problem, group)

        return _median_s(run, self.forgetful if cold else lambda: self.problem) / (size * len(groups)) * 1e6

    def steps(self, size: int) -> float:
        """Microseconds a genome of a search's step."""
        groups = [self.genomes[i : i + size] for i in range(0, len(self.genomes) - size + 1, size)]

        def run(pool: Pool) -> None:
            screen, codec = Screen(pool), Codec(pool, self.problem.tables.allowed)
            for group in groups:
                screen.scores(codec.decode(group))

        return _median_s(run, self._pool) / (size * len(groups)) * 1e6

    def one_by_one(self) -> float:
        """Microseconds a genome where each is decoded, completed and scored by itself."""

        def run(pool: Pool) -> None:
            codec = Codec(pool, self.problem.tables.allowed)
            for genome in self.genomes:
                pool.score(codec.decode(genome[None])[0])

        return _median_s(run, self._pool) / len(self.genomes) * 1e6

    def _pool(self) -> Pool:
        """A pool that knows the plans the search starts from."""
        pool = Pool(self.forgetful())
        for assignment in self.seeds:
            pool.score(assignment)
        return pool


def _order(assignment: Assignment, processors: Sequence[int]) -> list[int]:
    used = list(dict.fromkeys(assignment.tolist()))
    return used + [q for q in processors if q not in used]


def _median_s(run: Callable[[Any], None], fresh: Callable[[], Any]) -> float:
    seconds = []
    for _ in range(_RUNS):
        given = fresh()
        begin = time.process_time()
        run(given)
        seconds.append(time.process_time() - begin)
    return statistics.median(seconds)


def measure(model: str, system: str) -> dict[str, Any]:
    case = Case(model, system)
    transfers = statistics.mean(len(s.transfers) for s in case.schedules)
    row: dict[str, Any] = {
        "model": model,
        "system": system,
        "operators": len(case.problem.graph.operators),
        "transfers": transfers,
    }
    for size in POPULATIONS:
        row[f"cold_{size}_us"] = case.evaluations(size, cold=True)
        row[f"warm_{size}_us"] = case.evaluations(size, cold=False)
        row[f"step_{size}_us"] = case.steps(size)
    row["one_by_one_us"] = case.one_by_one()
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default="inception_v3,efficientnet_b0,densenet121")
    parser.add_argument("--systems", default="two-heterogeneous,four-heterogeneous")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    sizes = "".join(f"{size:>7}" for size in POPULATIONS)
    print(f"{'':<54}{'evaluate, cold, us':<23}{'warm, us':<23}{'step of the search, us':<24}{'one by one':>10}")
    print(f"{'system':<20} {'model':<16} {'ops':>4} {'transfers':>9} {sizes}  {sizes}  {sizes} {'us':>12} {'ratio':>6}")
    rows = []
    for system in given.systems.split(","):
        for model in given.models.split(","):
            row = measure(model, system)
            rows.append(row)
            columns = [
                "".join(f"{row[f'{kind}_{size}_us']:7.0f}" for size in POPULATIONS) for kind in ("cold", "warm", "step")
            ]
            ratio = row["one_by_one_us"] / row[f"step_{POPULATIONS[-1]}_us"]
            print(
                f"{system:<20} {model:<16} {row['operators']:>4} {row['transfers']:9.1f} {'  '.join(columns)} "
                f"{row['one_by_one_us']:12.0f} {ratio:6.1f}",
                flush=True,
            )
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
