"""The least period of a chain over counts of identical boards with replicas: plans, and a bound over all of them."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from functools import cache

from optimizer.evaluate import evaluate
from optimizer.events import UnroutableError
from optimizer.plan import Plan, Segment
from optimizer.problem import Problem
from optimizer.replicas import frames_of_turn, replica_faults
from optimizer.replicas_schedule import complete_replicated
from optimizer.search.cpsat import Bound, Budget
from optimizer.search.many_boards_chain import Chain, Windows, is_chain
from optimizer.search.pool import Pool
from optimizer.search.replica_reach import ReplicaReach, ReplicaStage, replica_segments

__all__ = ["chain_bound", "proves_impossible", "real_plan"]

_CLOSE = 1e-5
_COARSE = 1e-3
_FOREVER_S = 1e200
_MAX_FRAMES = 60
"""Frames of a turn up to which a plan is scored: more make event graphs of many thousand activities."""
_POWERS = (1, 2, 4, 8, 16, 32, 64)
"""Boards a stage of the plans that are tried first: their turns are short."""


def chain_bound(pool: Pool, budget: Budget, low_s: float) -> Bound | None:
    """Add plans with replicas to the pool and bound the period over all plans, with replicas or without.

    ``low_s``: a bound that is known. None where the graph is no chain or the table would be too large.
    """
    problem = pool.problem
    if not is_chain(problem) or budget.left_s <= 0:
        return None
    chain = Chain(problem)
    if not ReplicaReach.applies(chain.counts):
        return None
    begin = time.monotonic()
    search = _Search(pool, chain, budget)
    few = ReplicaReach(chain.counts, chain.max_stages, _POWERS)
    search.draw_together(few, low_s, _COARSE)
    every = ReplicaReach(chain.counts, chain.max_stages)
    value, complete = search.draw_together(every, low_s, _CLOSE)
    method = "DP over counts of each type of board, with replicas"
    return Bound(min(value, pool.best_value("throughput")), complete, method, time.monotonic() - begin)


def proves_impossible(problem: Problem, period_s: float) -> bool:
    """Whether the DP shows that no contiguous plan, with replicas or without, has the period. False says nothing."""
    if not is_chain(problem):
        return False
    chain = Chain(problem)
    if not ReplicaReach.applies(chain.counts):
        return False
    memory = chain.memory_windows()
    windows = cache(lambda periods: chain.windows(periods * period_s, memory))
    return ReplicaReach(chain.counts, chain.max_stages).stages(windows) is None


class _Search:
    def __init__(self, pool: Pool, chain: Chain, budget: Budget) -> None:
        self.pool, self.chain, self.budget = pool, chain, budget
        self.memory = chain.memory_windows()

    def draw_together(self, table: ReplicaReach, low_s: float, close: float) -> tuple[float, bool]:
        """(largest period that the table rules out, whether the best it allows is that close); its plan is scored."""
        best = self.pool.best_value("throughput")
        high = best * (1 - _CLOSE) if math.isfinite(best) else _FOREVER_S
        found = self._ask(table, high)
        if found is None:
            return max(high, low_s), True
        low = low_s
        while high > low * (1 + close) and self.budget.left_s > 0:
            middle = math.sqrt(low * high) if 0 < low * 4 < high else (low + high) / 2
            stages = self._ask(table, middle)
            if stages is None:
                low = middle
            else:
                high, found = middle, stages
        self._score(found)
        return low, high <= low * (1 + close)

    def _ask(self, table: ReplicaReach, period_s: float) -> list[ReplicaStage] | None:
        known: dict[int, Windows] = {}

        def windows_of(periods: int) -> Windows:
            if periods not in known:
                known[periods] = self.chain.windows(periods * period_s, self.memory)
            return known[periods]

        return table.stages(windows_of)

    def _score(self, stages: Sequence[ReplicaStage]) -> None:
        plan = real_plan(self.pool.problem, replica_segments(self.chain, stages))
        if plan is not None and math.isfinite(plan.score.period_s):
            self.pool.add(plan)


def real_plan(problem: Problem, segments: Sequence[Segment]) -> Plan | None:
    """The complete plan of segments with replicas; None where no route joins them, where the boards are not identical
    after all, or where a turn has too many frames."""
    if frames_of_turn(segments) > _MAX_FRAMES or any(replica_faults(problem, segments)):
        return None
    try:
        schedule = complete_replicated(problem, segments)
    except UnroutableError:
        return None
    return Plan(schedule.segments, schedule.transfers, schedule.orders, evaluate(problem, schedule))
