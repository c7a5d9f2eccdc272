"""How CP-SAT is run: budgets, one set of parameters, and Ctrl-C."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from ortools.sat.python import cp_model

from optimizer.errors import InternalError

__all__ = ["Budget", "Clock", "make_solver", "run"]


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


def make_solver(budget: Budget, seconds: float) -> cp_model.CpSolver:
    """A solver for a proof, with so many seconds by the budget's clock."""
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


def run(
    solver: cp_model.CpSolver,
    model: cp_model.CpModel,
    clock: Clock,
    watcher: cp_model.CpSolverSolutionCallback | None = None,
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
