"""Why nothing is feasible: a minimal set of limits that clash, and how far each must be loosened.

Every answer comes from solving again: the set by leaving limits out one after the other, the relaxations by
minimising the limited quantity (or bisecting a board's memory) with all other limits held.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from dataclasses import replace

from boards.units import format_bytes, format_energy, format_rate, format_time
from optimizer.errors import InputError
from optimizer.infeasible import Clash
from optimizer.objectives import OBJECTIVES
from optimizer.plan import MemoryUse, Plan
from optimizer.problem import Problem
from optimizer.search.cpsat import Budget, prove
from optimizer.search.order_dp import order_dp_candidates
from optimizer.search.pool import Assignment, Pool, assignment_of
from optimizer.search.relax import Item, limit_items, with_memory, without

__all__ = ["find_clashes", "helpful_precisions"]

_SETTLED_GAP = 1e-4
_MEMORY_STEP_BYTES = 102
"""Memory is settled to 0.1 KiB."""
_MAX_KNOWN = 150
_MAX_CALL_S = 15.0
_OBJECTIVES = {
    "--max-latency": "latency",
    "--min-throughput": "throughput",
    "--rate": "throughput",
    "--max-energy": "energy",
    "--max-link-bytes": "link-bytes",
    "--max-accuracy-loss": "accuracy-loss",
}


def find_clashes(
    problem: Problem, pool: Pool, time_limit_s: float, seed: int, workers: int = 2
) -> tuple[tuple[Clash, ...], bool]:
    """Limits that no plan meets together, and whether the set is proven to be minimal.

    ``pool``: plans seen by the search that proved the problem infeasible.
    """
    solver = _Solver([assignment_of(problem, p) for p in pool.seen()], time.monotonic() + time_limit_s, seed, workers)
    everything = tuple(limit_items(problem))
    if solver.possible(without(problem, everything)) is False:
        return (_no_plan_at_all(problem),), True
    items, minimal = _minimal(problem, everything, solver)
    return tuple(_relaxed(problem, item, solver, len(items) - i) for i, item in enumerate(items)), minimal


def helpful_precisions(
    problem: Problem, pool: Pool, time_limit_s: float, seed: int, workers: int = 2
) -> tuple[str, ...]:
    """Precisions that no processor's choice allows now and each of which alone makes a plan possible.

    Each as "int8 on back/cpu", found by solving again with that processor at that precision and all limits held. Where
    a sensitivity table or the costs say nothing of a precision, it is passed over.
    """
    solver = _Solver([assignment_of(problem, p) for p in pool.seen()], time.monotonic() + time_limit_s, seed, workers)
    found = []
    for ref, allowed in zip(problem.processors, problem.precision_choices, strict=True):
        for precision in ref.processor.macs_per_s:
            if precision in allowed or solver.left_s <= 0:
                continue
            try:
                other = replace(problem, precisions_allowed={**problem.precisions_allowed, ref.key: (precision,)})
                possible = solver.possible(other)
            except InputError:
                continue
            if possible:
                found.append(f"{precision} on {ref.key}")
    return tuple(found)


class _Solver:
    """Answers whether a problem has a plan, within the time that is left."""

    def __init__(self, known: list[Assignment], deadline: float, seed: int, workers: int) -> None:
        self.known = known[:_MAX_KNOWN]
        self.deadline, self.seed, self.workers = deadline, seed, workers

    @property
    def left_s(self) -> float:
        return self.deadline - time.monotonic()

    def seeded(self, problem: Problem, *, until_feasible: bool) -> Pool:
        """A pool with the plans known to be good elsewhere and the cuts along the graph's order."""
        pool = Pool(problem)
        for source in (self.known, order_dp_candidates(problem)):
            for assignment in source:
                plan = pool.score(assignment)
                if until_feasible and plan is not None and not plan.score.violations:
                    return pool
        return pool

    def look(self, problem: Problem) -> tuple[bool | None, Pool]:
        """Whether there is a plan (None: not settled in time), and the pool that shows it."""
        pool = self.seeded(problem, until_feasible=True)
        if pool.feasible():
            return True, pool
        if self.left_s <= 0:
            return None, pool
        limit = min(self.deadline, time.monotonic() + _MAX_CALL_S)
        bound = prove(pool, "throughput", Budget(limit, self.workers, self.seed, gap=1.0))
        found = pool.best("throughput")
        if found is not None:
            self.known.insert(0, assignment_of(problem, found))
            return True, pool
        return (False if bound.complete and math.isinf(bound.value) else None), pool

    def possible(self, problem: Problem) -> bool | None:
        return self.look(problem)[0]


def _minimal(problem: Problem, items: tuple[Item, ...], solver: _Solver) -> tuple[list[Item], bool]:
    """Deletion filter: what can be left out while the rest still clashes is left out. Memory goes as one first."""

    def clash(kept: Iterable[Item]) -> bool | None:
        kept = set(kept)
        found = solver.possible(without(problem, [i for i in items if i not in kept]))
        return None if found is None else not found

    kept = list(items)
    for group in ([i for i in kept if i.is_memory], [i for i in kept if not i.is_memory]):
        rest = [i for i in kept if i not in group]
        if group and rest and clash(rest):
            kept = rest
    settled = True
    for item in list(kept):
        if len(kept) == 1:
            break
        rest = [i for i in kept if i != item]
        verdict = clash(rest)
        if verdict:
            kept = rest
        settled = settled and verdict is not None
    return kept, settled


def _no_plan_at_all(problem: Problem) -> Clash:
    system = problem.system
    return Clash(
        limit="the links of the system",
        demand=None,
        bound=None,
        unit="",
        text=f"No plan exists even without limits: no route leads from {system.source} over boards that can run the "
        f"model to {system.sink}.",
        help="Add the missing links, or choose another source or sink.",
    )


def _relaxed(problem: Problem, item: Item, solver: _Solver, still: int) -> Clash:
    """One limit of the set with the smallest relaxation of it alone, all other limits held."""
    if item.kind == "--rate" and problem.limits.max_energy_j is not None:
        return _relaxed_by_dropping(problem, item, solver)  # another rate changes the energy, too
    if item.kind in _OBJECTIVES:
        return _relaxed_quantity(problem, item, solver, still)
    if item.is_memory:
        return _relaxed_memory(problem, item, solver, still)
    if item.kind == "--boards":
        return _relaxed_boards(problem, solver)
    return _relaxed_by_dropping(problem, item, solver)


def _alone(item: Item, problem: Problem, found: bool | None, demand: float | None, unit: str, asked: str) -> Clash:
    """A limit whose relaxation alone does not help, or could not be settled."""
    name = item.name
    if found is None:
        help_text = "Whether loosening it alone is enough could not be settled in the time given."
    else:
        help_text = "Loosening it alone does not help, however far: other limits clash as well."
    return Clash(name, demand, None, unit, asked, help_text)


def _relaxed_quantity(problem: Problem, item: Item, solver: _Solver, still: int) -> Clash:
    objective = _OBJECTIVES[item.kind]
    limits = problem.limits
    limit = {
        "latency": limits.max_latency_s,
        "throughput": _period(limits.rate_per_s if item.kind == "--rate" else limits.min_throughput_per_s),
        "energy": limits.max_energy_j,
        "link-bytes": limits.max_link_bytes,
        "accuracy-loss": limits.max_accuracy_loss,
    }[objective]
    demand = math.inf if limit is None else float(limit)
    unit = OBJECTIVES[objective].unit
    free = without(problem, [item])
    pool = solver.seeded(free, until_feasible=False)
    seconds = max(0.5, solver.left_s / still)
    bound = prove(pool, objective, Budget(time.monotonic() + seconds, solver.workers, solver.seed))
    best = pool.best_value(objective)
    least = "at least" if objective == "throughput" else "at most"
    asked = f"{item.kind} asks for {least} {_quantity(objective, demand)}"
    if math.isinf(best):
        return _alone(item, problem, False if bound.complete else None, demand, unit, asked + ".")
    gap = max(0.0, (best - bound.value) / best) if best > 0 else 0.0
    cannot = "do more than" if objective == "throughput" else "go below"
    text = f"{asked}; with all other limits held no plan can {cannot} {_quantity(objective, bound.value)}."
    lever = f"{item.kind} {_quantity(objective, best, loosened=True)}"
    help_text = (
        f"The best plan found has {_quantity(objective, best)} (gap {100 * gap:.2g} %)."
        if gap > _SETTLED_GAP
        else f"{_quantity(objective, best)} can be reached."
    )
    return Clash(item.kind, demand, bound.value, unit, text, help_text, best, gap, lever)


def _period(rate_per_s: float | None) -> float | None:
    return None if rate_per_s is None else 1.0 / rate_per_s


def _quantity(objective: str, value: float, *, loosened: bool = False) -> str:
    """In the unit of the option; ``loosened``: rounded so that giving it as the limit admits the plan."""
    if objective == "throughput":
        return format_rate(_rounded(1 / value, down=True) if loosened else 1 / value)
    if objective == "link-bytes":
        return f"{math.ceil(value)}B"
    value = _rounded(value, down=False) if loosened else value
    if objective == "accuracy-loss":
        return f"{value:.6g}"
    return format_time(value) if objective == "latency" else format_energy(value)


def _rounded(value: float, *, down: bool) -> float:
    """Four significant digits, towards the loose side."""
    step = 10.0 ** (math.floor(math.log10(value)) - 3) if value > 0 else 1.0
    return (math.floor(value / step) if down else math.ceil(value / step)) * step


def _relaxed_memory(problem: Problem, item: Item, solver: _Solver, still: int) -> Clash:
    """Bisection over the bytes of one board: below is proven not to be enough, above a plan is known."""
    name = item.name
    until = time.monotonic() + max(0.5, solver.left_s / still)
    available = _available(problem, item)
    found, pool = solver.look(without(problem, [item]))
    asked = f"Board {item.subject} is too small: {_exact(available)} of {item.kind} available."
    if not found:
        return _alone(item, problem, found, float(available), "B", asked)
    low, high = available, _least_use(pool, item)
    while high - low > _MEMORY_STEP_BYTES and time.monotonic() < until:
        middle = (low + high) // 2
        found, pool = solver.look(with_memory(problem, item, middle))
        if found is None:
            break
        if found:
            high = min(middle, _least_use(pool, item))
        else:
            low = middle
    gap = (high - low - 1) / high
    more = f"{_exact(high - available)} more {item.kind}"
    text = f"Board {item.subject} is too small: it needs {more} ({_exact(high)} in all, {_exact(available)} available)."
    if high - low > _MEMORY_STEP_BYTES:
        text += f" Proven is only that it needs at least {_exact(low + 1 - available)} more."
    return Clash(name, float(available), float(low + 1), "B", text, "", float(high), gap, f"{more} on {item.subject}")


def _available(problem: Problem, item: Item) -> int:
    b = problem.board_index[item.subject]
    flash = problem.tables.flash_limit[b]
    return int(problem.tables.ram_limit[b]) if item.kind == "RAM" or flash is None else flash


def _least_use(pool: Pool, item: Item) -> int:
    def need(plan: Plan) -> int:
        use: MemoryUse = plan.score.memory_bytes[item.subject]
        return use.ram_bytes if item.kind == "RAM" else use.flash_bytes

    return min(need(p) for p in pool.feasible())


def _exact(size_bytes: int) -> str:
    """Bytes below 1 KiB, else KiB to 0.1 (rounded up, so that it is enough) and large sizes beside it."""
    if size_bytes < 1024:
        return f"{size_bytes} B"
    kib = f"{math.ceil(size_bytes / 102.4) / 10:.1f} KiB"
    return kib if size_bytes < 10 * 2**20 else f"{kib} ({format_bytes(size_bytes)})"


def _relaxed_boards(problem: Problem, solver: _Solver) -> Clash:
    limit = problem.limits.max_boards or 0
    asked = f"--boards allows {limit} (source and sink count as used boards)."
    item = Item("--boards")
    verdict: bool | None = False
    for count in range(limit + 1, len(problem.system.boards) + 1):
        verdict = solver.possible(replace(problem, limits=replace(problem.limits, max_boards=count)))
        if verdict is None:
            break
        if verdict:
            text = f"{asked} With all other limits held every plan uses at least {count}."
            lever = f"--boards {count}"
            return Clash("--boards", float(limit), float(count), "boards", text, "", float(count), 0.0, lever)
    return _alone(item, problem, verdict, float(limit), "boards", asked)


def _relaxed_by_dropping(problem: Problem, item: Item, solver: _Solver) -> Clash:
    name = item.name
    found = solver.possible(without(problem, [item]))
    if not found:
        return _alone(item, problem, found, None, "", f"{name} is asked for.")
    return Clash(name, None, None, "", f"{name} is asked for.", "", lever=f"leave out {name}")
