"""Max-load placement by CP-SAT: one model with assignment Booleans, and stage order for contiguous plans.

The model relaxes: costs are floored and limits ceiled, in one place (``_Units``). A net that an accelerator cuts is
one Boolean a net and device. Identical devices: the group of the lowest number on device d + 1 comes after one on
device d (value precedence) in non-contiguous plans; in contiguous plans the stages are in order, and the number of
CPUs among them is an equality (a CPU may stay empty).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from ortools.sat.python import cp_model

from optimizer.max_load import MEMORY_TOLERANCE
from optimizer.search.cpsat.scale import Expression
from optimizer.search.cpsat.solver import Budget
from optimizer.search.max_load_groups import Groups

__all__ = ["Search", "search"]


_UNITS = 1e8
"""Integer units of the best known plan's value: rounding costs at most (groups + nets) / 1e8 of it."""
_CAP = 10**12


@dataclass(frozen=True)
class Search:
    """What one run proved. ``bound_ms`` is inf where no plan better than the known one exists and none was known."""

    bound_ms: float
    status: Literal["optimal", "stopped", "infeasible"]


@dataclass(frozen=True)
class _Units:
    per_ms: float

    def down(self, ms: float) -> int:
        return min(_CAP, math.floor(ms * self.per_ms))

    def up(self, ms: float) -> int:
        return math.ceil(ms * self.per_ms)


def search(
    coarse: Groups,
    contiguous: bool,
    known: tuple[float, Sequence[int]] | None,
    accept: Callable[[list[int]], bool],
    budget: Budget,
    at_least_ms: float = 0.0,
) -> Search:
    """Look for better plans than the known one (value in ms, device by group) until there is none.

    ``at_least_ms`` is a bound that is known already. ``accept`` gets each plan, keeps the best, and says whether it
    may be used; one that may not is cut off.
    """
    whole = sum(max(g.accelerator_ms, g.cpu_ms) for g in coarse.groups) + sum(n.ms for n in coarse.nets)
    scale = known[0] if known else whole
    units = _Units(_UNITS / scale if scale > 0 else 1.0)
    model = _StageModel(coarse, units) if contiguous else _FreeModel(coarse, units)
    if known:
        model.model.add(model.goal <= units.up(known[0]))
        model.hint(known[1])
    if math.isfinite(at_least_ms):
        # the model's plans are cheaper than the true ones by what flooring takes, at most one unit an item
        model.model.add(model.goal >= units.down(at_least_ms) - len(coarse.groups) - len(coarse.nets))
    model.model.minimize(model.goal)
    while True:
        solver = cp_model.CpSolver()
        solver.parameters.max_time_in_seconds = max(0.01, budget.left_s)
        solver.parameters.num_workers = budget.workers
        solver.parameters.presolve_inclusion_work_limit = 0  # see prove.py: that step loses optima
        solver.parameters.random_seed = budget.seed
        status = solver.solve(model.model, _Watcher(model, accept))
        if status == cp_model.INFEASIBLE:
            return Search(math.inf, "infeasible")
        bound = max(0.0, solver.best_objective_bound) / units.per_ms
        if status != cp_model.OPTIMAL:
            return Search(bound, "stopped")
        if accept(model.devices(solver.boolean_value)):
            return Search(bound, "optimal")
        model.cut_off(solver.boolean_value)


class _Watcher(cp_model.CpSolverSolutionCallback):
    """Hands on every plan as it comes, so that nothing found is lost at a time-out."""

    def __init__(self, model: _Model, accept: Callable[[list[int]], bool]) -> None:
        super().__init__()
        self._model, self._accept = model, accept

    def on_solution_callback(self) -> None:
        self._accept(self._model.devices(self.boolean_value))


class _Model(ABC):
    """What both models share: ``on[g][s]``, group g on place s; loads, memory, cut nets."""

    def __init__(self, coarse: Groups, units: _Units) -> None:
        self.coarse, self.units = coarse, units
        self.model = cp_model.CpModel()
        self.places = coarse.problem.devices
        self.goal = self.model.new_int_var(0, 2**50, "max load")
        self.on = [
            [self.model.new_bool_var(f"on {g} {s}") for s in range(self.places)] for g in range(len(coarse.groups))
        ]
        for row in self.on:
            self.model.add_exactly_one(row)

    @abstractmethod
    def devices(self, value: Callable[[cp_model.IntVar], bool]) -> list[int]: ...

    def place(self, row: Sequence[cp_model.IntVar], value: Callable[[cp_model.IntVar], bool]) -> int:
        return next(s for s, var in enumerate(row) if value(var))

    def cut_off(self, value: Callable[[cp_model.IntVar], bool]) -> None:
        self.model.add_bool_or([~row[self.place(row, value)] for row in self.on])

    @abstractmethod
    def hint(self, devices: Sequence[int]) -> None: ...

    def _accelerator_load(self, place: int) -> Expression:
        groups, nets, down = self.coarse.groups, self.coarse.nets, self.units.down
        load = sum(down(g.accelerator_ms) * self.on[i][place] for i, g in enumerate(groups) if g.supported)
        return load + sum(down(net.ms) * self._cut(net.ends, place) for net in nets)

    def _cut(self, ends: Sequence[int], place: int) -> cp_model.IntVar:
        cut = self.model.new_bool_var("")
        producer = self.on[ends[0]][place]
        for user in ends[1:]:
            self.model.add_bool_or(cut, ~producer, self.on[user][place])
            self.model.add_bool_or(cut, producer, ~self.on[user][place])
        return cut

    def _cpu_load(self, place: int) -> Expression:
        return sum(self.units.down(g.cpu_ms) * self.on[i][place] for i, g in enumerate(self.coarse.groups))

    def _size(self, place: int) -> tuple[Expression, int] | None:
        """Floored sizes on the place, and the ceiled limit; None where everything fits."""
        sizes = [math.floor(g.size_bytes) for g in self.coarse.groups]
        memory = self.coarse.problem.memory_bytes * (1 + MEMORY_TOLERANCE)
        if sum(sizes) <= memory:
            return None
        room = math.ceil(memory)
        unit = max(1, sum(sizes) // 2**40)
        return sum(s // unit * self.on[i][place] for i, s in enumerate(sizes)), -(-room // unit)


class _FreeModel(_Model):
    """Any placement; place s is device s."""

    def __init__(self, coarse: Groups, units: _Units) -> None:
        super().__init__(coarse, units)
        accelerators = coarse.problem.accelerators
        for s in range(accelerators):
            self.model.add(self._accelerator_load(s) <= self.goal)
            fit = self._size(s)
            if fit:
                self.model.add(fit[0] <= fit[1])
            for i, group in enumerate(coarse.groups):
                if not group.supported:
                    self.model.add(self.on[i][s] == 0)
        for s in range(accelerators, self.places):
            self.model.add(self._cpu_load(s) <= self.goal)
        self._order(range(accelerators))
        self._order(range(accelerators, self.places))

    def _order(self, same: Sequence[int]) -> None:
        """Value precedence, dearest group first: one may open device s + 1 only if one before it is on device s."""
        groups = self.coarse.groups
        dearest = sorted(range(len(groups)), key=lambda i: -groups[i].accelerator_ms)
        rows = [self.on[i] for i in dearest]
        for s, following in pairwise(same):
            used: cp_model.IntVar | None = None
            for row in rows:
                if used is None:
                    self.model.add(row[following] == 0)
                else:
                    self.model.add_implication(row[following], used)
                now = self.model.new_bool_var("")
                self.model.add_implication(now, row[s]) if used is None else self.model.add_bool_or(~now, used, row[s])
                used = now

    def devices(self, value: Callable[[cp_model.IntVar], bool]) -> list[int]:
        return [self.place(row, value) for row in self.on]

    def hint(self, devices: Sequence[int]) -> None:
        new: dict[int, int] = {}
        split = self.coarse.problem.accelerators
        groups = self.coarse.groups
        for i in sorted(range(len(groups)), key=lambda i: -groups[i].accelerator_ms):
            device = devices[i]
            if device not in new:
                kind = sum(1 for d in new if (d < split) == (device < split))
                new[device] = kind if device < split else split + kind
        for row, device in zip(self.on, devices, strict=True):
            for s, var in enumerate(row):
                self.model.add_hint(var, s == new[device])


class _StageModel(_Model):
    """Contiguous plans: place s is the s-th stage; each stage is an accelerator or a CPU."""

    def __init__(self, coarse: Groups, units: _Units) -> None:
        super().__init__(coarse, units)
        self.cpu = [self.model.new_bool_var(f"cpu {s}") for s in range(self.places)]
        self.model.add(sum(self.cpu) == coarse.problem.cpus)
        self.upto = [[self.model.new_bool_var("") for _ in range(self.places - 1)] for _ in coarse.groups]
        for row, on in zip(self.upto, self.on, strict=True):
            for s in range(self.places):
                now: Expression = row[s] if s < self.places - 1 else 1
                self.model.add(on[s] == now - (row[s - 1] if s else 0))
        for u, v in coarse.precedences:
            for early, late in zip(self.upto[u], self.upto[v], strict=True):
                self.model.add_implication(late, early)
        for s, cpu in enumerate(self.cpu):
            self.model.add(self._accelerator_load(s) <= self.goal).only_enforce_if(~cpu)
            self.model.add(self._cpu_load(s) <= self.goal).only_enforce_if(cpu)
            fit = self._size(s)
            if fit:
                self.model.add(fit[0] <= fit[1]).only_enforce_if(~cpu)
            for i, group in enumerate(coarse.groups):
                if not group.supported:
                    self.model.add_implication(self.on[i][s], cpu)

    def devices(self, value: Callable[[cp_model.IntVar], bool]) -> list[int]:
        return [self._numbers([value(c) for c in self.cpu])[self.place(row, value)] for row in self.on]

    def _numbers(self, cpu: Sequence[bool]) -> list[int]:
        """Device by stage."""
        accelerators = self.coarse.problem.accelerators
        return [accelerators + sum(cpu[:s]) if is_cpu else s - sum(cpu[:s]) for s, is_cpu in enumerate(cpu)]

    def hint(self, devices: Sequence[int]) -> None:
        accelerators = self.coarse.problem.accelerators
        order = self._stage_order(devices)
        for s, device in enumerate(order):
            self.model.add_hint(self.cpu[s], device >= accelerators)
        for row, upto, device in zip(self.on, self.upto, devices, strict=True):
            for s, var in enumerate(row):
                self.model.add_hint(var, order[s] == device)
            for s, var in enumerate(upto):
                self.model.add_hint(var, order.index(device) <= s)

    def _stage_order(self, devices: Sequence[int]) -> list[int]:
        """All devices, those in use in an order that the precedences allow."""
        after: dict[int, set[int]] = {d: set() for d in range(self.places)}
        for u, v in self.coarse.precedences:
            if devices[u] != devices[v]:
                after[devices[v]].add(devices[u])
        order: list[int] = []
        while len(order) < self.places:
            order.append(next(d for d in after if d not in order and after[d] <= set(order)))
        return order
