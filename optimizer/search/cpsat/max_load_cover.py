"""A bound on the max load of any placement: what k accelerators and l CPUs can hold at most, priced.

Every group has a price. If no accelerator can hold more than P worth of groups within a load of T, no CPU more than Q,
and k P + l Q is less than all groups are worth, then every plan has a device with more than T. Prices stand in
proportion to time, with one factor for each stretch of the groups; the best are found by generating columns (the
packings found so far, a linear program over the factors) and by bisection over T. What a plan must pay for its
borders is so counted stretch by stretch, where symmetric multipliers would see none of it.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from ortools.linear_solver import pywraplp

from optimizer.errors import InternalError
from optimizer.search.max_load_groups import Groups
from optimizer.search.max_load_knapsack import Floats, Knapsack, Packing

__all__ = ["cover_bound", "fluid_ms"]

_STRETCHES = 30
_STEPS = 16_384
_TOLERANCE = 1e-4
"""Of the value: bisection ends there."""
_ROUNDING = 1e-9
_LEAST_SHARE = 0.9
"""A bound below this share of the known value is not looked for."""


def cover_bound(coarse: Groups, value_ms: float, at_least_ms: float, deadline: float) -> float:
    """Milliseconds that every plan's dearest device has at least; ``at_least_ms`` where nothing better is proven.

    ``value_ms`` is the max load of a known plan.
    """
    if coarse.problem.accelerators == 0 or value_ms <= at_least_ms:
        return at_least_ms
    search = _Cover(coarse, value_ms, at_least_ms)
    while time.monotonic() < deadline and search.high - search.low > max(_TOLERANCE * search.high, 2 * search.grain):
        search.step()
    return max(at_least_ms, search.proven * (1 - _ROUNDING))


@dataclass
class _Cover:
    """``proven``: no plan has less; ``low`` and ``high``: between them is the most that can be proven so, as far as is
    known; ``target``: the load that is tried now."""

    coarse: Groups
    value_ms: float
    low: float
    proven: float = 0.0
    high: float = field(init=False)
    packings: list[tuple[float, Floats]] = field(init=False, default_factory=list)
    """Load in milliseconds, and worth by stretch at factors of 1, of what one accelerator can hold."""
    on_cpu: list[Floats] = field(init=False, default_factory=list)
    """The same for one CPU, a millisecond of its load."""
    center: Floats | None = field(init=False, default=None)
    center_score: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        groups = self.coarse.groups
        self.proven = max(self.low, fluid_ms(self.coarse))
        self.low = max(self.proven, _LEAST_SHARE * self.value_ms)
        self.high = self.value_ms
        self.target = 0.5 * (self.low + self.high)
        self.weight = np.array([g.accelerator_ms if g.supported else g.cpu_ms for g in groups])
        self.cpu_ms = np.array([g.cpu_ms for g in groups])
        middle = np.cumsum(self.weight) - self.weight / 2
        whole = float(self.weight.sum()) or 1.0
        self.stretches = min(_STRETCHES, len(groups))
        self.stretch = np.minimum((middle / whole * self.stretches).astype(np.int64), self.stretches - 1)
        self.total = self._worth(np.ones(len(groups)))
        self.knapsack = Knapsack(self.coarse, self.value_ms, _STEPS)
        self.grain = 1 / self.knapsack.per_ms
        self._start()

    def _start(self) -> None:
        """Runs of stretches that one device could hold if borders cost nothing: they only guide the first prices."""
        work = self._worth(np.ones(len(self.weight)))
        for begin in range(self.stretches):
            for end in range(begin + 1, self.stretches + 1):
                row = np.zeros(self.stretches)
                row[begin:end] = work[begin:end]
                load = float(row.sum())
                if end == begin + 1 or load <= _LEAST_SHARE * self.value_ms:
                    self.packings.append((min(load, self.low), row))
        everything = self._fill_cpu(self.weight, 1.0)
        self.on_cpu.append(self._worth(everything))

    def _worth(self, share: npt.NDArray[np.float64]) -> Floats:
        worth: Floats = np.bincount(self.stretch, self.weight * share, minlength=self.stretches).astype(np.float64)
        return worth

    def step(self) -> None:
        """One linear program and one packing; moves ``low``, ``high`` and ``target`` where they show something."""
        value, factors = self._master()
        accelerators, cpus = self.coarse.problem.accelerators, self.coarse.problem.cpus
        if value <= accelerators * (1 + _ROUNDING):
            self.high = self.target
            self._next_target()
            return
        if self.center is not None:
            factors = 0.5 * (factors + self.center)
        prices = factors[self.stretch] * self.weight
        packing = self.knapsack.pack(prices.tolist(), self.target)
        share = self._fill_cpu(prices, self.target)
        self.packings.append((packing.steps / self.knapsack.per_ms, self._worth(packing.inside.astype(np.float64))))
        self.on_cpu.append(self._worth(share) / self.target)
        self.proven = max(self.proven, self._proven(prices, packing))
        self.low = max(self.low, self.proven)
        rest = float(factors @ self.total) - cpus * float(prices @ share)
        score = rest / float(packing.curve[self._steps(self.target)])
        if self.center is None or score > self.center_score:
            self.center, self.center_score = factors, score
        if self.low >= self.target - 1.01 * self.grain:
            self._next_target()

    def _next_target(self) -> None:
        self.target = 0.5 * (self.low + self.high)
        self.center = None

    def _master(self) -> tuple[float, Floats]:
        """Factors for which all is worth the most accelerators, by the packings so far; the worth of one is 1."""
        solver = pywraplp.Solver.CreateSolver("GLOP")
        most = 1e6
        factors = [solver.NumVar(0.0, most, "") for _ in range(self.stretches)]
        one_cpu = solver.NumVar(0.0, most, "")
        for load, row in self.packings:
            if load <= self.target:
                solver.Add(_sum(row, factors) <= 1)
        for row in self.on_cpu:
            solver.Add(_sum(row * self.target, factors) <= one_cpu)
        solver.Maximize(_sum(self.total, factors) - self.coarse.problem.cpus * one_cpu)
        if solver.Solve() != pywraplp.Solver.OPTIMAL:
            raise InternalError("GLOP did not solve a program that has solutions")
        return solver.Objective().Value(), np.array([f.solution_value() for f in factors])

    def _steps(self, load_ms: float) -> int:
        return min(self.knapsack.steps, int(load_ms * self.knapsack.per_ms))

    def _proven(self, prices: Floats, packing: Packing) -> float:
        """The largest load that these prices rule out."""
        whole = float(prices.sum()) * (1 - _ROUNDING)
        low, high = self._steps(self.low), self.knapsack.steps
        if not self._rules_out(low, prices, packing, whole):
            return 0.0
        while low < high:
            middle = (low + high + 1) // 2
            if self._rules_out(middle, prices, packing, whole):
                low = middle
            else:
                high = middle - 1
        return low / self.knapsack.per_ms

    def _rules_out(self, steps: int, prices: Floats, packing: Packing, whole: float) -> bool:
        problem = self.coarse.problem
        held = problem.accelerators * float(packing.curve[steps])
        if held >= whole:
            return False
        share = self._fill_cpu(prices, (steps + 1) / self.knapsack.per_ms) if problem.cpus else np.zeros(len(prices))
        return held + problem.cpus * float(prices @ share) < whole

    def _fill_cpu(self, prices: Floats, load_ms: float) -> Floats:
        """Shares of the groups that one CPU would take if it could take parts of them."""
        order = np.argsort(-prices / np.maximum(self.cpu_ms, 1e-300), kind="stable")
        order = order[prices[order] > 0]
        before = np.concatenate(([0.0], np.cumsum(self.cpu_ms[order])[:-1]))
        share = np.zeros(len(prices))
        taken = (load_ms - before) / np.maximum(self.cpu_ms[order], 1e-300)
        share[order] = np.clip(taken, 0.0, 1.0)
        return share


def fluid_ms(coarse: Groups) -> float:
    """The least max load if transfers were free and groups divisible, each device at its own speed."""
    problem, groups = coarse.problem, coarse.groups
    high = sum(g.cpu_ms if problem.cpus else g.accelerator_ms for g in groups)
    if not problem.cpus:
        return high / problem.accelerators * (1 - _ROUNDING)
    shared = sorted((g for g in groups if g.supported), key=lambda g: g.cpu_ms / max(g.accelerator_ms, 1e-300))
    only_cpu = sum(g.cpu_ms for g in groups if not g.supported)
    low = 0.0
    for _ in range(100):
        load = 0.5 * (low + high)
        left, work = load * problem.cpus - only_cpu, 0.0
        for group in shared:
            taken = 1.0 if group.cpu_ms <= max(0.0, left) else max(0.0, left) / group.cpu_ms
            left -= taken * group.cpu_ms
            work += (1.0 - taken) * group.accelerator_ms
        if left >= -_ROUNDING * high and work <= problem.accelerators * load:
            high = load
        else:
            low = load
    return low * (1 - _ROUNDING)


def _sum(row: Floats, factors: list[pywraplp.Variable]) -> pywraplp.LinearExpr:
    return sum(float(a) * f for a, f in zip(row, factors, strict=True) if a)
