"""A problem whose costs are off by a factor a processor and a medium."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from optimizer.costs import BoundaryCost, CostTable, LinkCost, OperatorCost
from optimizer.problem import Problem

__all__ = ["Factors", "scaled", "unlimited"]

Factors = Mapping[str, float]
"""By processor key and medium."""


def scaled(problem: Problem, factors: Factors) -> Problem:
    """The problem with every processor's and every medium's costs multiplied, and without limits on figures."""
    costs = problem.costs
    operators = {
        key: OperatorCost(c.time_s * factors[key[1]], c.energy_j * factors[key[1]], c.provenance)
        for key, c in costs.operators.items()
        if key[1] in factors
    }
    boundaries = {
        key: BoundaryCost(b.s_per_byte * factors[key], b.segment_s * factors[key], b.provenance)
        for key, b in costs.boundaries.items()
        if key in factors
    }
    links = {
        link.name: LinkCost(
            link.bandwidth_bytes_per_s / factors[link.medium],
            link.setup_s * factors[link.medium],
            link.latency_s * factors[link.medium],
            link.send_s_per_byte * factors[link.medium],
            link.receive_s_per_byte * factors[link.medium],
            "scaled",
        )
        for link in problem.links
    }
    return replace(unlimited(problem), costs=CostTable(operators, boundaries, links, costs.model_sha256))


def unlimited(problem: Problem) -> Problem:
    """Without limits on figures; a rate stays, for its interval."""
    limits = replace(
        problem.limits,
        max_latency_s=None,
        min_throughput_per_s=None,
        max_energy_j=None,
        max_link_bytes=None,
        max_accuracy_loss=None,
    )
    return replace(problem, limits=limits)
