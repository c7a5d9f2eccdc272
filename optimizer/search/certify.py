"""What the search may claim: bounds turned into certificates, plans marked as proven or not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from optimizer.objectives import OBJECTIVES, objective_values
from optimizer.plan import Certificate, Plan
from optimizer.problem import Problem
from optimizer.search.cpsat import Bound
from optimizer.versions import versions

__all__ = [
    "EITHER_CLASS",
    "PLAN_CLASS",
    "PROVEN_GAP",
    "REPLICA_CLASS",
    "REVISIT_CLASS",
    "certificate",
    "mark",
    "plan_class",
]

PLAN_CLASS = "contiguous (one segment a processor), any order of boards"
REVISIT_CLASS = "non-contiguous (a processor may be revisited)"
REPLICA_CLASS = "contiguous, any order of boards, identical boards may take alternate frames of a segment"
EITHER_CLASS = "non-contiguous (a processor may be revisited), or contiguous with boards that take alternate frames"
PROVEN_GAP = 1e-4
_WHOLE = 1e-6
"""By so much a bound of a whole number may lie above one by rounding."""


def plan_class(problem: Problem) -> str:
    """The class of plans over which the certificates of a problem speak."""
    if problem.replicate:
        return EITHER_CLASS if problem.non_contiguous else REPLICA_CLASS
    return REVISIT_CLASS if problem.non_contiguous else PLAN_CLASS


def certificate(
    objective: str, best: float, bound: Bound, plans: str = PLAN_CLASS, seed: int | None = None
) -> Certificate:
    """Certificate of one objective; ``best`` is the least value found of the minimised quantity.

    ``plans``: the class of plans the bound holds for.
    """
    least = bound.value
    if OBJECTIVES[objective].integral and math.isfinite(least):
        least = math.ceil(least - _WHOLE)
    value = min(least, best)
    gap = max(0.0, (best - value) / best) if best > 0 else 0.0
    proven = (bound.complete and gap <= PROVEN_GAP) or best <= 0  # nothing is less than zero
    bounded = proven or value > 0
    return Certificate(
        value=best,
        bound=value if bounded else None,
        gap=gap if bounded else None,
        unit=OBJECTIVES[objective].certificate_unit,
        status="proven" if proven else "bounded" if bounded else "heuristic",
        plan_class=plans,
        method=bound.method,
        seconds=bound.seconds,
        deterministic_s=bound.deterministic_s,
        seed=seed,
        versions=versions(),
    )


def mark(plan: Plan, certificates: Mapping[str, Certificate], exact_front: bool) -> Plan:
    """The plan with its status in words: which proven optimum it attains, or a point of an exact front."""
    attained = [
        o
        for o, c in certificates.items()
        if c.status == "proven" and objective_values(plan.score, [o])[0] <= c.value * (1 + 1e-12)
    ]
    if attained:
        return replace(plan, status=f"proven ({', '.join(attained)})")
    return replace(plan, status="proven (front)" if exact_front else "heuristic")
