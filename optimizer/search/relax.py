"""Limits of a problem one by one: what they are, and the problem with some of them left out or loosened."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from boards.board import Board
from optimizer.problem import Limits, Problem

__all__ = ["Item", "limit_items", "with_memory", "without"]

_AMPLE_BYTES = 1 << 50
_FIGURES = {
    "--max-latency": "max_latency_s",
    "--min-throughput": "min_throughput_per_s",
    "--max-energy": "max_energy_j",
    "--boards": "max_boards",
}


@dataclass(frozen=True)
class Item:
    """One limit. ``kind``: an option's name, "RAM" or "flash"; ``subject``: the board or the pinned operator."""

    kind: str
    subject: str = ""

    @property
    def is_memory(self) -> bool:
        return self.kind in ("RAM", "flash")

    def name(self, limits: Limits) -> str:
        if self.is_memory:
            return f"{self.kind} of {self.subject}"
        if self.kind == "--pin":
            return f"--pin {self.subject}={limits.pins[self.subject]}"
        return self.kind


def limit_items(problem: Problem) -> Iterator[Item]:
    """Every limit that a plan may break, what the boards themselves offer included."""
    for board in problem.system.boards:
        yield Item("RAM", board.name)
        if problem.tables.flash_limit[problem.board_index[board.name]] is not None:
            yield Item("flash", board.name)
    for operator in problem.limits.pins:
        yield Item("--pin", operator)
    for kind, field in _FIGURES.items():
        if getattr(problem.limits, field) is not None:
            yield Item(kind)


def without(problem: Problem, items: Iterable[Item]) -> Problem:
    """The problem with these limits left out."""
    limits = problem.limits
    for item in items:
        if item.is_memory:
            problem = with_memory(problem, item, math.inf)
        elif item.kind == "--pin":
            limits = replace(limits, pins={o: b for o, b in limits.pins.items() if o != item.subject})
        else:
            nothing: dict[str, Any] = {_FIGURES[item.kind]: None}
            limits = replace(limits, **nothing)
    memory = problem.limits
    limits = replace(limits, max_ram_bytes=memory.max_ram_bytes, max_flash_bytes=memory.max_flash_bytes)
    return replace(problem, limits=limits)


def with_memory(problem: Problem, item: Item, size_bytes: float) -> Problem:
    """The problem with another size of a board's RAM or flash; inf for more than is ever needed."""
    size = _AMPLE_BYTES if math.isinf(size_bytes) else int(size_bytes)

    def changed(board: Board) -> Board:
        if board.name != item.subject:
            return board
        return replace(board, ram_bytes=size) if item.kind == "RAM" else replace(board, flash_bytes=size)

    limits, system = problem.limits, problem.system
    ram = {b: n for b, n in limits.max_ram_bytes.items() if (item.kind, item.subject) != ("RAM", b)}
    flash = {b: n for b, n in limits.max_flash_bytes.items() if (item.kind, item.subject) != ("flash", b)}
    return replace(
        problem,
        system=replace(system, boards=tuple(changed(b) for b in system.boards)),
        limits=replace(limits, max_ram_bytes=ram, max_flash_bytes=flash),
    )
