"""Anchors and bounds: the least period, latency and energy over all contiguous plans, by CP-SAT.

One stage model an order of processors where they are few, else one model for all orders; see ``model_proof`` for how
one model is worked off. Neither a bound nor a claim of infeasibility rests on what the models leave out.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from optimizer.search.board_sets import TimeUpError
from optimizer.search.cpsat.balance import balance_many
from optimizer.search.cpsat.free_model import FreeModel, RevisitModel
from optimizer.search.cpsat.model_proof import CUTOFF, ModelProof
from optimizer.search.cpsat.plan_model import PlanModel
from optimizer.search.cpsat.scale import Scale
from optimizer.search.cpsat.solver import Budget
from optimizer.search.cpsat.stage_model import StageModel
from optimizer.search.energy_bound import energy_bound
from optimizer.search.energy_reach import energy_by_downsets
from optimizer.search.latency_bound import latency_bound
from optimizer.search.pool import Pool, assignment_of
from optimizer.search.revisit import balance_two
from optimizer.search.symmetry import interchangeable, processor_orders

__all__ = ["MAX_PERMUTED", "Bound", "prove"]

MAX_PERMUTED = 4
"""Orders of processors are enumerated up to this many processors."""
_FIRST_PASS = 0.5
"""Share of the time for the first look at every order of processors."""
_LEAST_S = 0.05
_ROUGH_SHARE, _SETS_SHARE = 0.2, 0.7
"""Shares of the time for the energy of every set of boards, along the trunk and by all downsets."""
_ROUNDING = 1e-9
_BALANCE_SHARE = 0.6
"""Share of the time for the balance of more than two processors."""


@dataclass(frozen=True)
class Bound:
    """A proven lower bound on the minimised quantity, inf where no plan exists. ``complete``: no time-out."""

    value: float
    complete: bool
    method: str
    seconds: float
    deterministic_s: float = 0.0


def prove(pool: Pool, objective: str, budget: Budget, known_bound: float = 0.0, period_s: float | None = None) -> Bound:
    """Improve the pool's best plan for one objective until no order of processors can beat it, or time is up.

    The bound holds for all plans of the problem's class (contiguous, unless a processor may be revisited) in any
    order of processors, within all limits. ``period_s``: no plan has a shorter period; with it the energy of every
    set of boards is bounded first.
    """
    begin = time.monotonic()
    quick, first = known_bound, ""
    if objective == "latency":
        quick, first = _along_the_trunk(pool), "paths along the trunk"
    elif objective == "energy" and period_s is not None:
        quick, first = _by_sets_of_boards(pool, budget, period_s)
    if first and quick >= known_bound:
        known_bound, best = quick, pool.best_value(objective)
        if best * (1 - max(CUTOFF, budget.gap)) * (1 - 2 * _ROUNDING) <= known_bound:
            return Bound(min(known_bound, best), True, first, time.monotonic() - begin)
    found = _searched(pool, objective, budget, known_bound)
    stands = first and quick >= known_bound > 0 and found.value <= quick * (1 + _ROUNDING)
    method = f"{first}; {found.method}" if stands else found.method
    return replace(found, method=method, seconds=time.monotonic() - begin)


def _by_sets_of_boards(pool: Pool, budget: Budget, period_s: float) -> tuple[float, str]:
    """Bound on the energy and its method; plans that are met go into the pool."""
    seconds = math.inf if budget.clock.deterministic else time.monotonic() + _ROUGH_SHARE * max(0.0, budget.left_s)
    found = energy_bound(pool.problem, period_s, pool.best_value("energy"), seconds)
    rough = 0.0 if found is None else found.bound_j
    for assignment in () if found is None else found.assignments:
        pool.score(assignment)
    until = replace(budget, deadline=budget.clock.now() + _SETS_SHARE * max(0.0, budget.left_s))

    def spend(seconds: float) -> None:
        budget.clock.used_s += seconds
        if until.left_s <= 0:
            raise TimeUpError

    exact = 0.0
    if rough < pool.best_value("energy") * (1 - max(CUTOFF, budget.gap)):
        exact = energy_by_downsets(pool, period_s, spend, budget.gap) or 0.0
    if exact > rough:
        return exact, "least energy by downsets and sets of boards"
    return rough, "least energy of every set of boards"


def _searched(pool: Pool, objective: str, budget: Budget, known_bound: float) -> Bound:
    """By CP-SAT, beginning with a bound that is known."""
    begin = time.monotonic()
    if pool.problem.non_contiguous:
        return _prove_revisit(pool, objective, budget, known_bound)
    problem, scale = pool.problem, Scale.of(pool.problem)
    if len(problem.processors) > MAX_PERMUTED:
        models: list[Callable[[], PlanModel]] = [partial(FreeModel, problem, range(len(problem.processors)), scale)]
        method = "CP-SAT, one model for every order of processors"
    else:
        models = [partial(StageModel, problem, order, scale) for order in processor_orders(problem)]
        method = "CP-SAT, every order of processors" if len(models) > 1 else "CP-SAT"
    proofs = [ModelProof(pool, objective, model, known_bound) for model in models]
    _run_all(proofs, budget)
    value = min((max(proof.bound, known_bound) for proof in proofs), default=0.0)
    value = min(value, pool.best_value(objective))
    return Bound(value, all(proof.closed for proof in proofs), method, time.monotonic() - begin)


def _along_the_trunk(pool: Pool) -> float:
    """Bound on the latency; plans near it go into the pool."""
    found = latency_bound(pool.problem)
    if found is None:
        return 0.0
    for assignment in found.assignments:
        pool.score(assignment)
    return found.bound_s


def _run_all(proofs: list[ModelProof], budget: Budget) -> None:
    """Each order gets its share of half the time, then those still open share what is left, least bound first."""
    share = _FIRST_PASS if len(proofs) > 1 else 1.0
    while True:
        still = sorted((p for p in proofs if not p.closed), key=lambda p: p.bound)
        for number, proof in enumerate(still):
            if budget.left_s <= 0:
                return
            proof.run(budget, max(_LEAST_S, share * budget.left_s / (len(still) - number)))
        if not still or share == 1.0:
            return
        share = 1.0


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
        if best * (1 - CUTOFF) <= known_bound:
            return Bound(min(known_bound, best), True, "balance of the processors", time.monotonic() - begin)
    model = RevisitModel(problem, Scale.of(problem), interchangeable(problem))
    plan = pool.best(objective)
    if plan is not None:
        model.start_from(assignment_of(problem, plan))
    proof = ModelProof(pool, objective, lambda: model, known_bound)
    proof.run(budget, max(_LEAST_S, budget.left_s))
    value = min(max(proof.bound, known_bound), pool.best_value(objective))
    return Bound(value, proof.closed, "CP-SAT, any number of segments", time.monotonic() - begin)
