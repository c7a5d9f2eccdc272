"""Processors that can be exchanged without changing the problem, and the orders of processors that differ."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from optimizer.problem import Problem

__all__ = ["interchangeable", "processor_orders"]


def processor_orders(problem: Problem) -> Iterator[tuple[int, ...]]:
    """Orders of processors, one of each set that differs only by exchanging identical boards."""
    seen = set()
    kinds = interchangeable(problem)
    for order in itertools.permutations(range(len(problem.processors))):
        signature = tuple(kinds[q] for q in order)
        if signature not in seen:
            seen.add(signature)
            yield order


def interchangeable(problem: Problem) -> list[int]:
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
        and (tables.loss is None or np.array_equal(tables.loss[:, a], tables.loss[:, b]))
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
