"""Bounds of a plan file, proven anew where no solver is needed for it.

For two processors by looking at every cut; else what every plan needs, the DPs of the period, of the latency and of the
energy, and for plans that come back to one of two processors their balance. What none of these reaches stays the
solver's word.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property

from optimizer.objectives import OBJECTIVES
from optimizer.plan import Certificate
from optimizer.problem import Problem
from optimizer.search.board_sets import TimeUpError
from optimizer.search.certify import EITHER_CLASS, PLAN_CLASS, PROVEN_GAP, REPLICA_CLASS, REVISIT_CLASS
from optimizer.search.cpsat import Budget
from optimizer.search.energy_bound import energy_bound
from optimizer.search.energy_reach import is_proven_energy
from optimizer.search.exact_front import enumerate_front
from optimizer.search.fluid import fluid_bound_s
from optimizer.search.latency_bound import latency_bound
from optimizer.search.many_boards import is_proven_bound
from optimizer.search.pool import Pool
from optimizer.search.pruning import simple_bound
from optimizer.search.replication import proves_sets_impossible
from optimizer.search.replication_chain import proves_impossible
from optimizer.search.revisit import balance_two
from optimizer.verify_check import Check

__all__ = ["bound_checks"]

_TOLERANCE = 1e-9
_CLASSES = (PLAN_CLASS, REVISIT_CLASS, REPLICA_CLASS, EITHER_CLASS)


def bound_checks(problem: Problem, certificates: Mapping[str, Certificate], seconds: float) -> Iterator[Check]:
    """A check a bound; ``seconds``: for each of them."""
    claimed = {o: c for o, c in certificates.items() if o in OBJECTIVES and c.bound is not None}
    same_class = {o: c for o, c in claimed.items() if c.plan_class == PLAN_CLASS}
    pool = Pool(problem, tuple(same_class)) if same_class else None
    looked_at = None if pool is None else enumerate_front(pool, time.monotonic() + seconds)
    again = _Again(problem, claimed, seconds)
    for objective, c in claimed.items():
        if pool is not None and looked_at is not None and objective in same_class:
            yield _against_all(objective, c, pool.best_value(objective), looked_at)
            continue
        how = again.proven_by(objective)
        if how is None:
            yield Check(f"bound of {objective}", None, f"bound not re-checked ({c.method})")
        else:
            least = f"{c.bound} {OBJECTIVES[objective].certificate_unit}"
            yield Check(f"bound of {objective}", True, f"no plan is below {least}, proven anew by {how}")


def _against_all(objective: str, c: Certificate, best: float, looked_at: int) -> Check:
    """The claim against the optimum."""
    bound = c.bound if c.bound is not None else 0.0
    fine = bound <= best * (1 + _TOLERANCE) and c.value >= best * (1 - _TOLERANCE)
    if c.status == "proven":
        fine = fine and c.value <= best * (1 + PROVEN_GAP)
    return Check(
        f"bound of {objective}",
        fine,
        f"the optimum is {best:.9g}, found by looking at all {looked_at} ways to cut in two; "
        f"the file says value {c.value:.9g}, bound {bound:.9g}",
    )


class _Again:
    """Proofs anew of what certificates claim."""

    def __init__(self, problem: Problem, claimed: Mapping[str, Certificate], seconds: float) -> None:
        self.problem, self.claimed, self.seconds = problem, claimed, seconds

    def proven_by(self, objective: str) -> str | None:
        """How the bound was proven anew; None where it was not, which says nothing against it."""
        c = self.claimed[objective]
        if c.bound is None or c.plan_class not in _CLASSES:
            return None
        if c.bound <= simple_bound(self.problem, objective) * (1 + _TOLERANCE):
            return "what every plan needs"
        if objective == "throughput":
            return self._period
        if objective == "latency":
            found = latency_bound(replace(self.problem, non_contiguous=c.plan_class in (REVISIT_CLASS, EITHER_CLASS)))
            met = found is not None and c.bound <= found.bound_s * (1 + _TOLERANCE)
            return "paths along the trunk" if met else None
        return self._energy(c.bound) if objective == "energy" and c.plan_class == PLAN_CLASS else None

    @cached_property
    def _period(self) -> str | None:
        """How the bound of the period was proven anew; for a union of classes, in each of them."""
        c = self.claimed["throughput"]
        if c.bound is None:
            return None
        if c.bound <= fluid_bound_s(self.problem):
            return "operators shared out at will"
        if c.plan_class == PLAN_CLASS:
            return "DP over sets of boards" if is_proven_bound(self.problem, c.bound, self._budget()) else None
        replicas = "DP over sets of boards, for every set of identical boards"
        if c.plan_class == REPLICA_CLASS:
            return replicas if self._without_revisits(self.problem, c.bound) else None
        balance = balance_two(self.problem)
        if balance is None or c.bound > balance.bound_s * (1 + _TOLERANCE):
            return None
        if c.plan_class != EITHER_CLASS:
            return "the balance of two processors"
        contiguous = replace(self.problem, non_contiguous=False)
        return f"the balance of two processors; {replicas}" if self._without_revisits(contiguous, c.bound) else None

    def _without_revisits(self, problem: Problem, bound_s: float) -> bool:
        return proves_impossible(problem, bound_s) or proves_sets_impossible(problem, bound_s, self._budget())

    def _energy(self, bound_j: float) -> str | None:
        """With a bound on the period that is proven anew itself."""
        period_s = fluid_bound_s(self.problem)
        claim = self.claimed.get("throughput")
        if claim is not None and claim.bound is not None and self.proven_by("throughput") is not None:
            period_s = max(period_s, claim.bound)
        deadline = time.monotonic() + self.seconds
        quick = energy_bound(self.problem, period_s, bound_j, deadline)
        if quick is not None and bound_j <= quick.bound_j * (1 + _TOLERANCE):
            return "least energy of every set of boards"

        def spend(seconds: float) -> None:
            if time.monotonic() > deadline:
                raise TimeUpError

        anew = math.isfinite(period_s) and is_proven_energy(self.problem, bound_j, period_s, spend)
        return "least energy by downsets and sets of boards" if anew else None

    def _budget(self) -> Budget:
        return Budget(time.monotonic() + self.seconds, workers=1, seed=0)
