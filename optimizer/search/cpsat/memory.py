"""Memory in the bounding models: weights, buffers of at least one frame, tensors that are live in every order."""

from __future__ import annotations

from collections.abc import Callable

from ortools.sat.python import cp_model

from optimizer.search.cpsat.plan_model import PlanModel
from optimizer.search.cpsat.revisit import add_revisit_arena
from optimizer.search.cpsat.scale import Expression

__all__ = ["add_memory", "add_memory_share"]

_SHARE_UNITS = 2_000_000_000
_CAP = 2_000_000_000_000
"""A board that is overfull so many times counts no more: that only relaxes the model."""
_Fits = Callable[[Expression], object]
"""Adds the constraint on what a board needs, in units."""
_Unit = Callable[[int], int]
"""Bytes in units of the model, rounded down."""


def add_memory(m: PlanModel) -> None:
    by_board: dict[str, list[int]] = {}
    for s, board in enumerate(m.boards):
        by_board.setdefault(board, []).append(s)
    for name, stages in by_board.items():
        _board_memory(m, name, stages)


def _board_memory(m: PlanModel, name: str, stages: list[int]) -> None:
    problem, tables = m.problem, m.problem.tables
    b = problem.board_index[name]
    board = problem.system.board(name)
    ram, flash = int(tables.ram_limit[b]), tables.flash_limit[b]
    weights_all = (
        int(tables.initializer_bytes[:, [m.order[s] for s in stages]].max(axis=1).sum())
        if len(problem.graph.initializers)
        else 0
    )
    tensors_all = int(tables.tensor_bytes.max(axis=1).sum())
    held_in_ram = weights_all if board.weights_in == "ram" else 0
    tight_ram = held_in_ram + 2 * tensors_all + board.runtime_ram_bytes > ram
    tight_flash = flash is not None and weights_all > flash
    if tight_flash and flash is not None:
        m.model.add(_weights(m, stages, int) <= flash)
    if tight_ram:
        _ram(m, name, stages, int, lambda needed: m.model.add(needed <= ram))


def add_memory_share(m: PlanModel) -> tuple[cp_model.IntVar, float]:
    """Used / available RAM of the fullest board at least, and how many units make the whole of a board."""
    share = m.model.new_int_var(0, 4 * _CAP, "memory share")
    by_board: dict[str, list[int]] = {}
    for s, board in enumerate(m.boards):
        by_board.setdefault(board, []).append(s)
    for name, stages in by_board.items():
        available = int(m.problem.tables.ram_limit[m.problem.board_index[name]])
        if available > 0:
            _ram(m, name, stages, _units_of(available), lambda needed: m.model.add(share >= needed))
        else:
            _ram(m, name, stages, int, lambda needed: m.model.add(needed <= 0))
    return share, _SHARE_UNITS


def _units_of(available_bytes: int) -> _Unit:
    return lambda size: min(size * _SHARE_UNITS // available_bytes, _CAP)


def _ram(m: PlanModel, name: str, stages: list[int], unit: _Unit, fits: _Fits) -> None:
    """What every operator of a board's segments needs beside it, weights, buffers and runtime included."""
    board = m.problem.system.board(name)
    base = _buffers(m, stages, unit) + unit(board.runtime_ram_bytes) * m.board_used[name]
    if board.weights_in == "ram":
        base = base + _weights(m, stages, unit)
    for s in stages:
        arena = add_revisit_arena if m.revisits else _arena
        arena(m, s, base, unit, fits)


def _weights(m: PlanModel, stages: list[int], unit: _Unit) -> Expression:
    """Bytes of initializers on a board; one used by several operators counts once."""
    users: dict[int, list[int]] = {}
    for op in m.problem.graph.operators:
        for i in op.initializers:
            users.setdefault(i, []).append(op.index)
    total: Expression = 0
    sizes = m.problem.tables.initializer_bytes
    for i, operators in users.items():
        size = unit(int(min(sizes[i, m.order[s]] for s in stages)))
        here = [sum(m.x(v, s) for s in stages) for v in operators]
        if len(here) == 1:
            total = total + size * here[0]
            continue
        var = m.model.new_bool_var("")
        for expression in here:
            m.model.add(var >= expression)
        total = total + size * var
    return total


def _buffers(m: PlanModel, stages: list[int], unit: _Unit) -> Expression:
    """At least one buffer for every tensor that enters or leaves the board's segments."""
    total: Expression = 0
    sizes = m.problem.tables.tensor_bytes.min(axis=1)
    for t in range(len(m.problem.graph.tensors)):
        if len(stages) == 1:
            total = total + unit(int(sizes[t])) * m.touches(t, stages[0])
            continue
        var = m.model.new_bool_var("")
        for s in stages:
            m.model.add(var >= m.touches(t, s))
        total = total + unit(int(sizes[t])) * var
    return total


def _arena(m: PlanModel, s: int, base: Expression, unit: _Unit, fits: _Fits) -> None:
    """What is live beside each operator of one segment whatever their order, beside weights and buffers.

    A path between two operators of a contiguous plan's segment stays in the segment, so a tensor on it is live there.
    """
    graph, live = m.problem.graph, m.problem.always_live
    in_place = m.problem.processors[m.order[s]].board.in_place
    inner: dict[int, cp_model.IntVar] = {}
    for t, tensor in enumerate(graph.tensors):
        if tensor.producer is not None and not tensor.is_output:
            inner[t] = m.model.new_bool_var("")
            m.model.add(inner[t] >= m.x(tensor.producer, s) - m.touches(t, s))
    for op in graph.operators:
        takes_over = in_place and op.in_place_input is not None
        alive = sum(
            unit(m.size(t, s)) * var
            for t, var in inner.items()
            if live[t, op.index] and not (takes_over and graph.tensors[t].producer == op.index)
        )
        fits(base + alive)
