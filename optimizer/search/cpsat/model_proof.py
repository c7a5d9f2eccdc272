"""One bounding model and the plans of an objective: asked for something better than the best known until there is none.

"No" is a proof, and what comes back is scored by ``evaluate()``. A plan that the model likes and ``evaluate()``
refuses, or likes less, is looked at closely: a better schedule of the same assignment is kept, and the assignment is
cut off. Where it is not proven that no schedule of it will do, the bound stays below what the model says of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

from ortools.sat.python import cp_model

from optimizer.objectives import objective_values
from optimizer.plan import Plan
from optimizer.search.cpsat.memory import add_memory
from optimizer.search.cpsat.objectives import GOALS, add_limits
from optimizer.search.cpsat.plan_model import PlanModel
from optimizer.search.cpsat.scale import Expression
from optimizer.search.cpsat.settle import Settler
from optimizer.search.cpsat.solver import Budget, make_solver, run
from optimizer.search.pool import Pool

__all__ = ["CUTOFF", "ModelProof"]

CUTOFF = 2e-5
"""A plan must be better by this share to count as better; far below the 1e-4 that prints as gap 0."""
_MAX_ROUNDS = 1000


class ModelProof:
    """The proof of one objective over the plans of one model. ``run`` may be called again with more time.

    ``make`` builds the model, which takes a while, when it is first needed. ``bound`` holds for all plans of the
    model; ``closed``: there is nothing more to find out. ``known_bound``: proven of all plans elsewhere.
    """

    def __init__(self, pool: Pool, objective: str, make: Callable[[], PlanModel], known_bound: float = 0.0) -> None:
        self.pool, self.objective, self._make, self._known_bound = pool, objective, make, known_bound
        self.bound, self.closed = 0.0, False
        self._open_bound = math.inf
        """Of assignments that were cut off though some schedule of them may do after all."""
        self._settler = Settler(pool.problem)

    @cached_property
    def model(self) -> PlanModel:
        model = self._make()
        add_memory(model)
        return model

    @cached_property
    def _goal(self) -> tuple[Expression, float]:
        """What is minimised, and its integer units a unit of the objective."""
        goal = GOALS[self.objective](self.model)
        add_limits(self.model, self.objective, goal)
        if self.objective in ("throughput", "latency"):  # variables of their own: every plan's real value is one
            self.model.model.add(goal.expression >= self.model.scale.seconds(self._known_bound))
        self.model.model.minimize(goal.expression)
        return goal.expression, goal.per_unit

    def run(self, budget: Budget, seconds: float) -> None:
        """Go on for so many seconds by the budget's clock."""
        budget = replace(budget, deadline=min(budget.deadline, budget.clock.now() + seconds))
        gap = max(CUTOFF, budget.gap)
        goal, per_unit = self._goal
        for _ in range(_MAX_ROUNDS):
            best = self.pool.best_value(self.objective)
            target = best * (1 - gap) if math.isfinite(best) else math.inf
            if math.isfinite(target):
                self.model.model.add(goal <= math.floor(target * per_unit))
            solver = make_solver(budget, max(0.02, budget.left_s))
            status = run(solver, self.model.model, budget.clock, _Watcher(self.model, self.pool))
            if status == cp_model.INFEASIBLE:
                self._raise(target)
                self.closed = math.isinf(self._open_bound)
                return
            self._raise(solver.best_objective_bound / per_unit)
            if status != cp_model.OPTIMAL:
                return
            plan = self.pool.score(self.model.assignment(solver))
            if self.pool.best_value(self.objective) * (1 - gap) <= self.bound:
                self.closed = math.isinf(self._open_bound)
                return
            if budget.left_s <= 0:
                return
            if plan is None or self._exhausted(plan, budget):
                self._cut_off(solver)
            if self._open_bound <= self.bound and self.pool.feasible():
                return  # the bound cannot rise any more

    def _raise(self, bound: float) -> None:
        self.bound = max(self.bound, min(bound, self._open_bound))

    def _exhausted(self, plan: Plan, budget: Budget) -> bool:
        """Whether the assignment can be cut off: the best of its schedules is in the pool, or it is left open.

        Without any plan in the pool the first schedule will do, and the assignment stays.
        """
        gap = max(CUTOFF, budget.gap)
        if math.isinf(self.pool.best_value(self.objective)):
            settled = self._settler.settle(plan, self.objective, math.inf, budget)
            if settled.plan is not None:
                self.pool.add(settled.plan)
                return False
            if not settled.impossible:
                self._open_bound = min(self._open_bound, self.bound)
            return True
        low, target = self.bound, self.bound * (1 + CUTOFF / 2)
        while True:
            high = self.pool.best_value(self.objective)
            target = min(target, high * (1 - gap))
            settled = self._settler.settle(plan, self.objective, target, budget)
            if settled.plan is not None:
                self.pool.add(settled.plan)
                if objective_values(settled.plan.score, [self.objective])[0] * (1 - gap) <= low:
                    return False  # as good as the model says: the next round closes
            elif settled.impossible:
                if target >= high * (1 - gap):
                    return True
                low = target
            else:
                self._open_bound = min(self._open_bound, low)
                return True
            target = max((low + self.pool.best_value(self.objective)) / 2, low * (1 + CUTOFF / 2))

    def _cut_off(self, solver: cp_model.CpSolver) -> None:
        """No-good: at least one operator moves."""
        literals = self.model.literals()
        self.model.model.add_bool_or([~var if solver.boolean_value(var) else var for var in literals])


class _Watcher(cp_model.CpSolverSolutionCallback):
    """Scores every incumbent as it comes, so that nothing found is lost at a time-out."""

    def __init__(self, stage: PlanModel, pool: Pool) -> None:
        super().__init__()
        self.stage, self.pool = stage, pool

    def on_solution_callback(self) -> None:
        self.pool.score(self.stage.assignment(self))
