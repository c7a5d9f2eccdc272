"""Anchors and bounds: the least period, latency and energy over all contiguous plans, by CP-SAT.

One stage model an order of processors. A model is asked for something better than the best plan known; "no" is a
proof, and what comes back is scored by ``evaluate()``. Plans that the model likes and ``evaluate()`` refuses are
cut off one by one, so that neither the bound nor a claim of infeasibility rests on what the model leaves out.
"""

from __future__ import annotations

import itertools
import math
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from ortools.sat.python import cp_model

from optimizer.errors import InternalError
from optimizer.memory_plan import peaks_are_settled
from optimizer.problem import Problem
from optimizer.search.cpsat.balance import balance_many
from optimizer.search.cpsat.free_model import FreeModel, RevisitModel
from optimizer.search.cpsat.memory import add_memory
from optimizer.search.cpsat.objectives import GOALS, add_limits
from optimizer.search.cpsat.plan_model import PlanModel
from optimizer.search.cpsat.scale import Scale
from optimizer.search.cpsat.stage_model import StageModel
from optimizer.search.pool import Pool, assignment_of
from optimizer.search.revisit import balance_two

__all__ = ["MAX_PERMUTED", "Bound", "Budget", "Clock", "prove"]

MAX_PERMUTED = 4
"""Orders of processors are enumerated up to this many processors."""
_CUTOFF = 2e-5
"""A plan must be better by this share to count as better; far below the 1e-4 that prints as gap 0."""
_MAX_REFUSED = 200
_BALANCE_SHARE = 0.4
"""Share of the time for the balance of more than two processors."""


@dataclass
class Clock:
    """What one search has used so far, shared by all its budgets.

    ``deterministic``: budgets count CP-SAT's deterministic seconds instead of wall time. ``keeps``: Ctrl-C ends a
    proof like a time-out and is noted in ``interrupted``, instead of being raised.
    """

    deterministic: bool = False
    keeps: bool = False
    used_s: float = 0.0
    interrupted: bool = False

    def now(self) -> float:
        return self.used_s if self.deterministic else time.monotonic()


@dataclass(frozen=True)
class Budget:
    """Deadline by the clock, threads and seed of a search; ``gap``: how far from the best is good enough.

    The clock is time.monotonic unless one is given. With a gap of 1 the search ends at the first feasible plan, or
    with the proof that there is none.
    """

    deadline: float
    workers: int
    seed: int
    gap: float = 0.0
    clock: Clock = field(default_factory=Clock)

    @property
    def left_s(self) -> float:
        return 0.0 if self.clock.interrupted else self.deadline - self.clock.now()


@dataclass(frozen=True)
class Bound:
    """A proven lower bound on the minimised quantity, inf where no plan exists. ``complete``: no time-out."""

    value: float
    complete: bool
    method: str
    seconds: float
    deterministic_s: float = 0.0


def prove(pool: Pool, objective: str, budget: Budget, known_bound: float = 0.0) -> Bound:
    """Improve the pool's best plan for one objective until no order of processors can beat it, or time is up.

    The bound holds for all plans of the problem's class (contiguous, unless a processor may be revisited) in any
    order of processors, within all limits.
    """
    problem = pool.problem
    begin = time.monotonic()
    scale = Scale.of(problem)
    if problem.non_contiguous:
        return _prove_revisit(pool, objective, budget, known_bound)
    if len(problem.processors) > MAX_PERMUTED:
        free = FreeModel(problem, range(len(problem.processors)), scale)
        value, closed = _prove_model(pool, objective, free, max(0.05, budget.left_s), budget)
        method = "CP-SAT, one model for every order of processors"
        value = min(max(value, known_bound), pool.best_value(objective))
        return Bound(value, closed, method, time.monotonic() - begin)
    orders = list(processor_orders(problem))
    bounds = []
    complete = True
    for number, order in enumerate(orders):
        share = max(0.05, budget.left_s / (len(orders) - number))
        if budget.left_s <= 0:
            complete = False
            bounds.append(known_bound)
            continue
        stage = StageModel(problem, order, scale)
        value, closed = _prove_model(pool, objective, stage, share, budget)
        complete = complete and closed
        bounds.append(max(value, known_bound))
    best = pool.best_value(objective)
    return Bound(
        value=min([*bounds, best]) if bounds else 0.0,
        complete=complete,
        method="CP-SAT, every order of processors" if len(orders) > 1 else "CP-SAT",
        seconds=time.monotonic() - begin,
    )


def _prove_revisit(pool: Pool, objective: str, budget: Budget, known_bound: float) -> Bound:
    """One model for all plans; for throughput the best balance of the processors first, which often is all."""
    begin = time.monotonic()
    problem = pool.problem
    balance = None
    if objective == "throughput":
        balance = balance_two(problem, pool.best_value(objective))
        if len(problem.processors) > 2 and not budget.clock.deterministic:  # it counts wall time
            balance = balance_many(problem, max(0.05, _BALANCE_SHARE * budget.left_s), budget.seed)
    if balance is not None:
        known_bound = max(known_bound, balance.bound_s)
        pool.score(balance.assignment)
        best = pool.best_value(objective)
        if best * (1 - _CUTOFF) <= known_bound:
            return Bound(min(known_bound, best), True, "balance of the processors", time.monotonic() - begin)
    model = RevisitModel(problem, Scale.of(problem), _interchangeable(problem))
    if objective == "throughput":
        model.model.add(model.period >= model.scale.seconds(known_bound))
    plan = pool.best(objective)
    if plan is not None:
        model.start_from(assignment_of(problem, plan))
    value, closed = _prove_model(pool, objective, model, max(0.05, budget.left_s), budget)
    value = min(max(value, known_bound), pool.best_value(objective))
    return Bound(value, closed, "CP-SAT, any number of segments", time.monotonic() - begin)


def processor_orders(problem: Problem) -> Iterator[tuple[int, ...]]:
    """Orders of processors, one of each set that differs only by exchanging identical boards."""
    seen = set()
    kinds = _interchangeable(problem)
    for order in itertools.permutations(range(len(problem.processors))):
        signature = tuple(kinds[q] for q in order)
        if signature not in seen:
            seen.add(signature)
            yield order


def _interchangeable(problem: Problem) -> list[int]:
    """Class of each processor: equal only where swapping the two boards leaves the problem as it is."""
    count = len(problem.processors)
    kinds = list(range(count))
    for a in range(count):
        for b in range(a + 1, count):
            if kinds[b] == b and _swappable(problem, a, b):
                kinds[b] = kinds[a]
    return kinds


def _swappable(problem: Problem, a: int, b: int) -> bool:
    tables, system = problem.tables, problem.system
    one, two = problem.processors[a].board, problem.processors[b].board
    if len(one.processors) > 1 or len(two.processors) > 1 or one.name == two.name:
        return False
    if {one.name, two.name} & {system.source, system.sink}:
        return False
    same = (
        np.array_equal(tables.time_s[:, a], tables.time_s[:, b])
        and np.array_equal(tables.energy_j[:, a], tables.energy_j[:, b])
        and np.array_equal(tables.allowed[:, a], tables.allowed[:, b])
        and np.array_equal(tables.initializer_bytes[:, a], tables.initializer_bytes[:, b])
        and np.array_equal(tables.tensor_bytes[:, a], tables.tensor_bytes[:, b])
        and tables.boundary_s_per_byte[a] == tables.boundary_s_per_byte[b]
        and tables.segment_s[a] == tables.segment_s[b]
        and _facts(problem, one.name) == _facts(problem, two.name)
    )
    return bool(same) and _links_symmetric(problem, one.name, two.name)


def _facts(problem: Problem, name: str) -> tuple[object, ...]:
    board = problem.system.board(name)
    b = problem.board_index[name]
    power = (board.processors[0].active_power_w, board.processors[0].idle_power_w)
    return (
        int(problem.tables.ram_limit[b]),
        problem.tables.flash_limit[b],
        board.weights_in,
        board.in_place,
        board.runtime_ram_bytes,
        board.removable,
        power,
    )


def _links_symmetric(problem: Problem, one: str, two: str) -> bool:
    """Whether exchanging the two boards maps the links, media included, onto themselves."""
    swap = {one: two, two: one}

    def shape(a: str, b: str) -> list[tuple[object, ...]]:
        return sorted(
            (
                link.bandwidth_bytes_per_s,
                link.setup_s,
                link.latency_s,
                link.mtu_bytes or 0,
                link.header_bytes,
                link.min_payload_bytes,
                link.energy_j_per_byte,
                link.overlap,
                link.send_s_per_byte,
                link.receive_s_per_byte,
            )
            for link in problem.links
            if link.source == a and link.target == b
        )

    media = [link.medium for link in problem.links]
    if any(media.count(m) > 1 for m in media):
        return False
    nodes = [*problem.board_index, *problem.system.switches]
    return all(shape(a, b) == shape(swap.get(a, a), swap.get(b, b)) for a in nodes for b in nodes if a != b)


def _prove_model(pool: Pool, objective: str, stage: PlanModel, seconds: float, budget: Budget) -> tuple[float, bool]:
    """Bound for the plans of one model, and whether the proof was completed."""
    add_memory(stage)
    wanted = GOALS[objective](stage)
    goal, per_unit = wanted.expression, wanted.per_unit
    add_limits(stage, objective, wanted)
    stage.model.minimize(goal)
    deadline = budget.clock.now() + seconds
    open_bound = math.inf  # of plans that were cut off though they may fit the memory after all
    for _ in range(_MAX_REFUSED):
        target = pool.best_value(objective) * (1 - max(_CUTOFF, budget.gap))
        if math.isfinite(target):
            stage.model.add(goal <= math.floor(target * per_unit))
        solver = _solver(budget, max(0.02, deadline - budget.clock.now()))
        status = _run(solver, stage.model, _Watcher(stage, pool), budget.clock)
        settled = math.isinf(open_bound)
        if status == cp_model.INFEASIBLE:
            return min(target if math.isfinite(target) else math.inf, open_bound), settled
        bound = min(solver.best_objective_bound / per_unit, open_bound)
        if status != cp_model.OPTIMAL:
            return max(0.0, bound), False
        plan = pool.score(stage.assignment(solver))
        refused = plan is None or bool(plan.score.violations)
        if not refused or budget.clock.now() > deadline:
            return bound, settled and not refused
        if plan is not None and not peaks_are_settled(pool.problem, plan):
            open_bound = bound
        _cut_off(stage, solver)
    return bound, False


def _solver(budget: Budget, seconds: float) -> cp_model.CpSolver:
    solver = cp_model.CpSolver()
    if budget.clock.deterministic:
        solver.parameters.max_deterministic_time = seconds
    else:
        solver.parameters.max_time_in_seconds = seconds
    solver.parameters.num_workers = 1 if budget.clock.deterministic else budget.workers
    solver.parameters.random_seed = budget.seed
    solver.parameters.catch_sigint_signal = False
    # OR-Tools 9.15 loses optima in this step of presolve: it then claims to have proven what is not true.
    solver.parameters.presolve_inclusion_work_limit = 0
    solver.parameters.relative_gap_limit = budget.gap
    return solver


def _run(
    solver: cp_model.CpSolver, model: cp_model.CpModel, watcher: cp_model.CpSolverSolutionCallback, clock: Clock
) -> int:
    """Solve in a thread, so that Ctrl-C reaches us at once and stops the solver instead of being swallowed."""
    result: list[int] = []
    done = threading.Event()  # not Thread.join: an interrupted join takes the thread for ended

    def work() -> None:
        try:
            result.append(int(solver.solve(model, watcher)))
        finally:
            done.set()

    threading.Thread(target=work, daemon=True).start()
    try:
        while not done.wait(0.2):
            pass
    except KeyboardInterrupt:
        solver.stop_search()
        done.wait()
        if not clock.keeps:
            raise
        clock.interrupted = True
    if not result:
        raise InternalError("CP-SAT ended without a status")
    clock.used_s += round(float(solver.response_proto.deterministic_time), 6)  # its last digits vary
    return result[0]


def _cut_off(stage: PlanModel, solver: cp_model.CpSolver) -> None:
    """No-good: at least one operator moves."""
    changed = [~var if solver.boolean_value(var) else var for var in stage.literals()]
    stage.model.add_bool_or(changed)


class _Watcher(cp_model.CpSolverSolutionCallback):
    """Scores every incumbent as it comes, so that nothing found is lost at a time-out."""

    def __init__(self, stage: PlanModel, pool: Pool) -> None:
        super().__init__()
        self.stage, self.pool = stage, pool

    def on_solution_callback(self) -> None:
        self.pool.score(self.stage.assignment(self))
