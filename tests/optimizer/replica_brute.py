"""Every plan with and without replicas of a small problem, found by looking at all of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from optimizer.evaluate import evaluate
from optimizer.events import UnroutableError
from optimizer.plan import Plan, Segment
from optimizer.problem import Problem
from optimizer.replicas_schedule import complete_replicated


def all_plans(problem: Problem, kinds: Sequence[int]) -> Iterator[Plan]:
    """Plans of all ways to give the operators to sets of like boards; ``kinds``: type of each processor."""
    for sets in _disjoint_sets(kinds):
        for owner in itertools.product(range(len(sets)), repeat=len(problem.graph.operators)):
            if set(owner) == set(range(len(sets))):
                plan = _plan(problem, sets, owner)
                if plan is not None:
                    yield plan


def _disjoint_sets(kinds: Sequence[int]) -> Iterator[list[tuple[int, ...]]]:
    """Every choice of disjoint sets of processors of one type each, as ascending tuples."""
    count = len(kinds)
    single = [
        s for size in range(1, count + 1) for s in itertools.combinations(range(count), size)
        if len({kinds[q] for q in s}) == 1
    ]  # fmt: skip
    for number in range(1, count + 1):
        for sets in itertools.combinations(single, number):
            if sum(len(s) for s in sets) == len(set().union(*sets)):
                yield list(sets)


def _plan(problem: Problem, sets: Sequence[tuple[int, ...]], owner: Sequence[int]) -> Plan | None:
    order = _in_order(problem, owner, len(sets))
    if order is None:
        return None
    segments = []
    for number, i in enumerate(order):
        keys = tuple(problem.processors[q].key for q in sets[i])
        operators = tuple(int(v) for v in np.flatnonzero(np.array(owner) == i))
        segments.append(Segment(f"s{number}", keys[0], "fp32", operators, keys if len(keys) > 1 else ()))
    try:
        schedule = complete_replicated(problem, segments)
    except UnroutableError:
        return None
    return Plan(schedule.segments, schedule.transfers, schedule.orders, evaluate(problem, schedule))


def _in_order(problem: Problem, owner: Sequence[int], count: int) -> list[int] | None:
    """Segments with each behind what it reads from; None for a ring."""
    waits = {
        (owner[t.producer], owner[c]) for t in problem.graph.tensors if t.producer is not None for c in t.consumers
    }
    left, order = set(range(count)), []
    while left:
        free = [i for i in sorted(left) if not any(b == i and a in left and a != i for a, b in waits)]
        if not free:
            return None
        order.append(free[0])
        left.remove(free[0])
    return order
