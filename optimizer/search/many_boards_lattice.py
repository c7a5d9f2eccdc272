"""The least period of any graph over boards in any order, by bisection with reach-DP over its downsets.

First along a few topological orders, which finds good plans in little time; then over all downsets, which proves.
"""

from __future__ import annotations

import math

import numpy as np

from optimizer.graph import predecessors
from optimizer.problem import Problem
from optimizer.search.board_sets import BoardSets, TimeUpError
from optimizer.search.corridor import NARROW, Corridor
from optimizer.search.cpsat import Budget
from optimizer.search.cpsat.prove import MAX_PERMUTED
from optimizer.search.downsets import Lattice, all_downsets, along_orders
from optimizer.search.lattice_prices import LatticePrices
from optimizer.search.many_boards_beam import OrderBeam
from optimizer.search.pool import Assignment, Pool
from optimizer.search.segment_loads import SegmentLoads
from optimizer.search.subset_reach import Segments, SubsetReach
from optimizer.search.visit_labels import TooManyLabelsError, VisitLabels

__all__ = ["METHOD", "PRICED", "LatticeSearch"]

METHOD = "DP over downsets and sets of boards"
PRICED = "prices of boards over downsets"
_MAX_DOWNSETS = 20_000
_MAX_PAIRS, _MAX_NARROW_PAIRS = 2e7, 1e8
"""Kept at some tens of bytes each; where sets of boards are small, only those in the corridor are."""
_RULED_OUT = (0.003, 0.01, 0.03, 0.1)
"""Shares below the best plan at which the work of the processors alone is asked."""
_MAX_PRICED = 5e7
"""Pairs times boards that prices are asked for, round by round."""
_FOREVER_S = 1e30
"""Longer than the period of any plan."""
_MAX_SET = 4096
"""Words of a set of sets of boards: 18 boards that all differ."""
_PASSES_S, _ORDER_S = 8e-7, 1e-3
"""Measured: seconds a pair and board of all passes of a proof; of CP-SAT an order of the boards and operator."""
_MAX_WORDS = 5e7
"""Words of all sets of sets together: 0.4 GB."""
_CLOSE = 4e-5
_ROUGH = 1e-3
"""How close the plans along a few orders are drawn to their best."""
_NEXT, _FIRST_STEP = 0.9 * _CLOSE, 2e-3
"""How far below the best plan is asked first, which mostly is all, and then with growing steps."""
_MEMORY_SHARES = (0.9, 0.75, 0.6)
_PATIENCE = (1.0, 1.02, 1.1)


_Source = SubsetReach | OrderBeam


class LatticeSearch:
    """Best plan and largest period proven impossible. ``low_s``: a bound that is known."""

    def __init__(self, pool: Pool, budget: Budget, low_s: float) -> None:
        self.pool, self.budget, self.low_s = pool, budget, low_s
        self.problem = pool.problem
        self.method = METHOD
        self.work = pool.problem.tables.time_s.min(axis=1)

    def run(self) -> tuple[float, bool] | None:
        """The bound, and whether nothing better than it is left to be looked for; None where there are too many
        downsets, pairs of them, or sets of boards.
        """
        problem = self.problem
        lattice = all_downsets(problem.graph, self.work, problem.together, _MAX_DOWNSETS)
        orders = [list(range(len(self.work))), _depth_first(problem)]
        some = along_orders(problem.graph, orders, self.work, problem.together)
        try:
            if lattice is None or len(some.member) < len(lattice.member):
                self._plans(some)
            if lattice is None or self._left_to_cp_sat(lattice):
                return self.low_s, False
            return self._proof(lattice)
        except TimeUpError:
            return self.low_s, False

    def proves_impossible(self, period_s: float) -> bool:
        """Whether one pass shows that no plan has the period; False also where the graph is too large."""
        lattice = all_downsets(self.problem.graph, self.work, self.problem.together, _MAX_DOWNSETS)
        try:
            reach = None if lattice is None else self._reach(lattice, period_s)
            return reach is not None and not self._ask(reach, period_s)
        except TimeUpError:
            return False

    def _left_to_cp_sat(self, lattice: Lattice) -> bool:
        """For few boards and many ways to cut, CP-SAT with an order of the boards at a time is quicker."""
        count = len(self.problem.processors)
        passes_s = _PASSES_S * lattice.pairs(self._high_s()) * count
        return count <= MAX_PERMUTED and passes_s > _ORDER_S * math.factorial(count) * len(self.work)

    def _spend(self, seconds: float) -> None:
        self.budget.clock.used_s += seconds
        if self.budget.left_s <= 0:
            raise TimeUpError

    def _reach(self, lattice: Lattice, longest_s: float, memory_share: float = 1.0) -> SubsetReach | None:
        """None where it would be too large."""
        loads = SegmentLoads(self.problem, lattice)
        if not self._fits(lattice, loads, longest_s):
            return None
        return SubsetReach(lattice, loads, self._max_stages(), longest_s, self._spend, memory_share)

    def _fits(self, lattice: Lattice, loads: SegmentLoads, longest_s: float) -> bool:
        """Whether time and memory are enough."""
        words = BoardSets.size(loads.counts)
        most = _MAX_PAIRS if words > NARROW else _MAX_NARROW_PAIRS
        return words <= _MAX_SET and words * len(lattice.member) <= _MAX_WORDS and lattice.pairs(longest_s) <= most

    def _ask(self, source: _Source, period_s: float) -> bool:
        """Whether there may be a plan with the period, as far as anything is counted; what is found is scored."""
        found = source.segments(period_s, self._spend)
        if found is None:
            return False
        if self._score(source, found) <= period_s or not isinstance(source, SubsetReach):
            return True
        if VisitLabels.applies(source):
            try:
                found = VisitLabels(source, period_s, self._spend).segments()
            except TooManyLabelsError:
                return True
            if found is not None:
                self._score(source, found)
        return found is not None

    def _max_stages(self) -> int:
        """Stages that a cap on boards leaves room for."""
        count, cap = len(self.problem.processors), self.problem.limits.max_boards
        if cap is None:
            return count
        return min(count, cap * max(len(b.processors) for b in self.problem.system.boards))

    def _high_s(self) -> float:
        """A period that some plan has, or longer than that of any."""
        return min(self.pool.best_value("throughput"), _FOREVER_S)

    def _plans(self, lattice: Lattice) -> None:
        """Good plans whose segments end where the orders pass."""
        low, high = self.low_s, self._high_s()
        source: _Source | None = self._reach(lattice, high)
        if source is None:
            source = OrderBeam(self.problem, self.work, high, self._max_stages())
        if high == _FOREVER_S:
            if not self._ask(source, high):
                return
            high = self._high_s()
        while high > low * (1 + _ROUGH):
            middle = math.sqrt(low * high) if low * 4 < high and low > 0 else (low + high) / 2
            if self._ask(source, middle):
                high = min(middle, max(low, self._high_s()))
            else:
                low = middle

    def _proof(self, lattice: Lattice) -> tuple[float, bool] | None:
        high, step = self._high_s(), _NEXT
        self._rule_out(lattice, high)
        reach = self._reach(lattice, high)
        if reach is None:
            return self._priced(lattice, high)
        if high == _FOREVER_S:
            if not self._ask(reach, high):
                return math.inf, True
            high = min(high, self._high_s())
        close = max(_CLOSE, 0.9 * self.budget.gap)
        while high > self.low_s * (1 + close):
            middle = max((self.low_s + high) / 2, high * (1 - max(step, 0.9 * close)))
            if not self._ask(reach, middle):
                self.low_s, step = middle, 1.0
                continue
            high, best = middle, self._high_s()
            step = _NEXT if best < middle and step == 1.0 else max(3 * step, _FIRST_STEP)
            high = min(high, max(best, self.low_s))
        self._leave_room(lattice, reach)
        return self.low_s, True

    def _rule_out(self, lattice: Lattice, high_s: float) -> None:
        """Raise the bound by the work of the processors alone, in case that time runs out."""
        loads = SegmentLoads(self.problem, lattice)
        for share in _RULED_OUT if high_s < _FOREVER_S and self._fits(lattice, loads, high_s) else ():
            period_s = high_s * (1 - share)
            if period_s <= self.low_s:
                return
            if Corridor(loads, self._max_stages(), period_s, self._spend).is_empty:
                self.low_s = period_s
                return

    def _priced(self, lattice: Lattice, high_s: float) -> tuple[float, bool] | None:
        """A higher bound where sets of boards are too many; never the last word."""
        if high_s == _FOREVER_S or lattice.pairs(high_s) * len(self.problem.processors) > _MAX_PRICED:
            return None
        self.method = PRICED
        prices = LatticePrices(lattice, SegmentLoads(self.problem, lattice), high_s)
        while high_s > self.low_s * (1 + _ROUGH):
            middle = (self.low_s + high_s) / 2
            if prices.prove_impossible(middle, self._spend):
                self.low_s = middle
            else:
                high_s = middle
        return self.low_s, False

    def _score(self, source: _Source, found: Segments) -> float:
        """The period of the segments; inf where they make no plan."""
        plan = self.pool.score(self._assignment(source, found))
        return math.inf if plan is None or plan.score.violations else plan.score.period_s

    def _assignment(self, reach: _Source, found: Segments) -> Assignment:
        """The processors of each type in declared order."""
        left = [list(m) for m in reach.loads.members]
        chosen = np.zeros(len(self.work), dtype=np.int64)
        member = reach.lattice.member
        for kind, start, end in found:
            chosen[member[end] & ~member[start]] = left[kind].pop(0)
        return chosen

    def _leave_room(self, lattice: Lattice, reach: SubsetReach) -> None:
        """Where arenas and buffers are in the way of the best plans, look for some that leave them room."""
        for share in _MEMORY_SHARES:
            roomy: SubsetReach | None = None
            for factor in _PATIENCE:
                longest = min(self.low_s * factor * (1 + _CLOSE), reach.longest_s)
                if self.pool.best_value("throughput") <= longest * (1 + _CLOSE) or not reach.loads.memory_binds:
                    return
                roomy = roomy or self._reach(lattice, reach.longest_s, share)
                if roomy is not None:
                    self._ask(roomy, longest)


def _depth_first(problem: Problem) -> list[int]:
    """A topological order that finishes a branch before it begins the next."""
    before = predecessors(problem.graph)
    order: list[int] = []
    done: set[int] = set()
    stack = [(v, False) for v in range(len(before))][::-1]
    while stack:
        v, ready = stack.pop()
        if v in done:
            continue
        if ready:
            done.add(v)
            order.append(v)
        else:
            stack.append((v, True))
            stack.extend((u, False) for u in before[v] if u not in done)
    return order
