"""Limits of a problem one by one: what they are, and the problem with some of them left out or loosened."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from boards.board import Board
from optimizer.mcu import with_flash, with_ram
from optimizer.problem import Limits, Problem

__all__ = ["Item", "limit_items", "with_memory", "without"]

_AMPLE_BYTES = 1 << 50
_FIGURES = {
    "--max-latency": "max_latency_s",
    "--min-throughput": "min_throughput_per_s",
    "--max-energy": "max_energy_j",
    "--boards": "max_boards",
    "--max-link-bytes": "max_link_bytes",
    "--max-accuracy-loss": "max_accuracy_loss",
    "--rate": "rate_per_s",
}
_WHERE = {"--pin": "pins", "--forbid": "forbids", "--colocate": "colocations"}
"""Restrictions, several of a kind: each is an item of its own."""


@dataclass(frozen=True)
class Item:
    """One limit. ``kind``: an option's name, "RAM" or "flash"; ``subject``: the board, or what a restriction says."""

    kind: str
    subject: str = ""

    @property
    def is_memory(self) -> bool:
        return self.kind in ("RAM", "flash")

    @property
    def is_restriction(self) -> bool:
        return self.kind in _WHERE

    @property
    def name(self) -> str:
        if self.is_memory:
            return f"{self.kind} of {self.subject}"
        return f"{self.kind} {self.subject}" if self.is_restriction else self.kind


def limit_items(problem: Problem) -> Iterator[Item]:
    """Every limit that a plan may break, what the boards themselves offer included."""
    for board in problem.system.boards:
        yield Item("RAM", board.name)
        if problem.tables.flash_limit[problem.board_index[board.name]] is not None:
            yield Item("flash", board.name)
    for kind, said in _restrictions(problem.limits).items():
        yield from (Item(kind, text) for text in said)
    for kind, field in _FIGURES.items():
        if getattr(problem.limits, field) is not None:
            yield Item(kind)


def _restrictions(limits: Limits) -> dict[str, dict[str, Any]]:
    """By option: what it says as the user writes it, and the value that stands for it in the limits."""
    return {
        "--pin": {f"{operator}={board}": (operator, board) for operator, board in limits.pins.items()},
        "--forbid": {f"{operator}={board}": (operator, board) for operator, board in limits.forbids},
        "--colocate": {",".join(names): names for names in limits.colocations},
    }


def without(problem: Problem, items: Iterable[Item]) -> Problem:
    """The problem with these limits left out."""
    limits = problem.limits
    for item in items:
        if item.is_memory:
            problem = with_memory(problem, item, math.inf)
        elif item.is_restriction:
            said = _restrictions(limits)[item.kind]
            kept = [value for text, value in said.items() if text != item.subject]
            rest: dict[str, Any] = {_WHERE[item.kind]: dict(kept) if item.kind == "--pin" else tuple(kept)}
            limits = replace(limits, **rest)
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
        return with_ram(board, size) if item.kind == "RAM" else with_flash(board, size)

    limits, system = problem.limits, problem.system
    ram = {b: n for b, n in limits.max_ram_bytes.items() if (item.kind, item.subject) != ("RAM", b)}
    flash = {b: n for b, n in limits.max_flash_bytes.items() if (item.kind, item.subject) != ("flash", b)}
    return replace(
        problem,
        system=replace(system, boards=tuple(changed(b) for b in system.boards)),
        limits=replace(limits, max_ram_bytes=ram, max_flash_bytes=flash),
    )
