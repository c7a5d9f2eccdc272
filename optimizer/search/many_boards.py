"""The least period for many boards in any order, with its proof: `prove_period`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from optimizer.problem import Problem
from optimizer.search.certify import PROVEN_GAP
from optimizer.search.cpsat import Bound, Budget
from optimizer.search.fluid import METHOD as FLUID
from optimizer.search.fluid import fluid_bound_s
from optimizer.search.many_boards_chain import Chain, Stage, is_chain
from optimizer.search.many_boards_lattice import LatticeSearch
from optimizer.search.many_boards_prices import Prices
from optimizer.search.pool import Pool
from optimizer.search.type_dp import TypeReach

__all__ = ["fits_cpsat", "is_proven_bound", "prove_period"]

_CLOSE = 1e-5
"""Bisection ends when the best plan is within this share of the largest period proven impossible."""
_ROUNDS = 150
_BEAM = 60
_BEAM_SHARE = 0.4
"""Share of the time for plans; the rest is for the bound."""
_FOREVER_S = 1e200
"""Longer than the period of any plan."""
_MEMORY_SHARES = (1.0, 0.9, 0.75, 0.6, 0.5)


_MAX_CLAUSES = 500_000
_TOLERANCE = 1e-6
"""By how much a bound must exceed a limit on the period to mean that there is no plan."""


def fits_cpsat(problem: Problem) -> bool:
    """Whether CP-SAT's models of the problem can be built in seconds."""
    edges = len(problem.tables.consumer_tensor)
    boards = len(problem.processors)
    return edges * boards**2 + boards**3 <= _MAX_CLAUSES


def prove_period(pool: Pool, budget: Budget, known: Bound | None = None) -> Bound | None:
    """Improve the pool's best period and bound it from below, over all contiguous plans in any order of processors.

    ``known``: a bound that holds already; the search begins above it.
    None for plans that may come back to a processor, and for a single processor.
    """
    problem = pool.problem
    if problem.non_contiguous or len(problem.processors) < 2 or budget.left_s <= 0:
        return None
    begin = time.monotonic()
    value, complete, method = fluid_bound_s(problem), False, FLUID
    if known is not None and known.value > value:
        value, method = known.value, known.method
    if is_chain(problem):
        value, complete, method = _Bisection(pool, Chain(problem), budget, value).run()
    if not complete or pool.best_value("throughput") > value * (1 + PROVEN_GAP):
        search = LatticeSearch(pool, budget, value)
        found = search.run()
        if found is not None and (found[0] > value or found[1]):
            (value, complete), method = found, search.method
    limit = problem.limits.max_period_s
    if limit is not None and value > limit * (1 + _TOLERANCE):
        value, complete = math.inf, True
    return Bound(min(value, pool.best_value("throughput")), complete, method, time.monotonic() - begin)


def is_proven_bound(problem: Problem, bound_s: float, budget: Budget) -> bool:
    """Whether the DPs prove anew that no contiguous plan has a shorter period. False says nothing."""
    if problem.non_contiguous or budget.left_s <= 0:
        return False
    if bound_s <= fluid_bound_s(problem):
        return True
    if is_chain(problem):
        chain = Chain(problem)
        if TypeReach.applies(chain.counts):
            table = TypeReach(chain.counts, chain.max_stages)
            if table.stages(chain.windows(bound_s, chain.memory_windows())) is None:
                return True
    return LatticeSearch(Pool(problem, ("throughput",)), budget, 0.0).proves_impossible(bound_s)


Ask = Callable[[float], tuple[bool, list[Stage] | None]]
"""Period -> whether it is proven impossible, and stages that meet it as far as the windows say."""


class _Bisection:
    """Largest period proven impossible and best plan found, drawn together."""

    def __init__(self, pool: Pool, chain: Chain, budget: Budget, low_s: float) -> None:
        self.pool, self.chain, self.budget = pool, chain, budget
        self.exact = TypeReach.applies(chain.counts)
        self.memory = chain.memory_windows()
        self.low = low_s
        self.table = TypeReach(chain.counts, chain.max_stages) if self.exact else None
        self.prices = Prices(self.chain.n / self.chain.time[:, -1].clip(min=1e-12), chain.counts)

    def run(self) -> tuple[float, bool, str]:
        method = "DP over counts of each type of board" if self.exact else "prices of boards, plans by beam search"
        ask = self._ask_table if self.exact else self._ask_prices
        if not self.exact:
            self._beam_down()
        high = self._first_high()
        impossible, stages = ask(high)
        if impossible:
            # Nothing at or below the period at hand, or nothing at all, whatever the period.
            return (high if math.isfinite(self.pool.best_value("throughput")) else math.inf), True, method
        while high > self.low * (1 + _CLOSE) and self.budget.left_s > 0:
            middle = math.sqrt(self.low * high) if self.low * 4 < high and self.low > 0 else (self.low + high) / 2
            impossible, found = ask(middle)
            if impossible:
                self.low = middle
            else:
                high = middle
                if found is not None:
                    stages = found
                    high = min(high, max(self.chain.period_s(found), self.low))
        self._score(stages, high)
        met = self.pool.best_value("throughput") <= self.low * (1 + 2 * _CLOSE)
        return self.low, met or (self.exact and high <= self.low * (1 + _CLOSE)), method

    def _first_high(self) -> float:
        """A period that is known, or longer than that of any plan."""
        best = self.pool.best_value("throughput")
        if math.isfinite(best):
            return best * (1 - _CLOSE)
        return _FOREVER_S

    def _ask_table(self, period_s: float) -> tuple[bool, list[Stage] | None]:
        if self.table is None:
            return False, None
        stages = self.table.stages(self.chain.windows(period_s, self.memory))
        return stages is None, stages

    def _ask_prices(self, period_s: float) -> tuple[bool, list[Stage] | None]:
        """Impossible by prices, or not known to be: then nothing is claimed."""
        windows = self.chain.windows(period_s, self.memory)
        deadline = self._until(1.0)
        return self.prices.proves_infeasible(windows, _ROUNDS, deadline), None

    def _beam_down(self) -> None:
        """Shorter and shorter periods by beam search."""
        low, high = self.low, self._first_high()
        best: list[Stage] | None = None
        until = self._until(_BEAM_SHARE)
        while high > low * (1 + 1e-3) and time.monotonic() < until:
            middle = math.sqrt(low * high) if low * 4 < high and low > 0 else (low + high) / 2
            windows = self.chain.windows(middle, self.memory)
            if self.prices.proves_infeasible(windows, 20, until):
                self.low = low = middle
                continue
            found = self.prices.beam(windows, _BEAM, self.chain.max_stages)
            if found is None:
                low = middle
            else:
                best, high = found, min(middle, max(self.chain.period_s(found), low))
        self._score(best, high)

    def _until(self, share: float) -> float:
        """When a share of the time is up; never where the same call must give the same plans."""
        return math.inf if self.budget.clock.deterministic else time.monotonic() + share * self.budget.left_s

    def _score(self, stages: list[Stage] | None, period_s: float) -> None:
        """Score the stages; where memory refuses them, look for some that leave it room."""
        if stages is None:
            return
        plan = self.pool.score(self.chain.assignment(stages))
        if plan is None or not plan.score.violations or self.table is None:
            return
        for share in _MEMORY_SHARES[1:]:
            memory = self.chain.memory_windows(share)
            for factor in (1.0, 1.05, 1.2, 1.5, 2.0, 4.0):
                found = self.table.stages(self.chain.windows(period_s * factor, memory))
                if found is None or self.budget.left_s <= 0:
                    continue
                plan = self.pool.score(self.chain.assignment(found))
                if plan is not None and not plan.score.violations:
                    return
