"""Runtimes of microcontroller boards: what they can run, what that takes, and the firmware's own memory.

The files under ``runtimes/`` are generated from the firmware build (``tools/mcu_runtime.py``); a test compares them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from boards.board import Board
from boards.errors import DescriptionError, Fault
from boards.formula import Formula, parse_formula
from boards.yaml_tree import plain, read_tree

__all__ = [
    "Case",
    "Coverage",
    "Firmware",
    "FirmwareLimits",
    "Kernel",
    "Runtime",
    "firmware_limits",
    "firmware_ram_bytes",
    "load_runtime",
]

RUNTIME_SCHEMA = "edgecut/runtime/1"
_FOLDER = Path(__file__).parent / "runtimes"
Figures = Mapping[str, int]


@dataclass(frozen=True)
class Firmware:
    """Memory of a firmware build, bytes."""

    data_bytes: int
    bss_bytes: int
    """Without the rings."""
    rings_bytes: int
    stack_bytes: int
    gap_bytes: int
    """RAM lost to alignment."""
    flash_used_bytes: int
    area_bytes: int
    """Flash kept for the firmware itself; the rest of a board's flash is the model's slot."""
    sector_bytes: int
    """Of the slot."""

    @property
    def ram_bytes(self) -> int:
        """What the firmware takes of RAM before any model is loaded."""
        return self.data_bytes + self.bss_bytes + self.rings_bytes + self.stack_bytes


@dataclass(frozen=True)
class Kernel:
    """Bytes of one record, and the scratch its operator needs."""

    record_bytes: int
    scratch_bytes: Formula


@dataclass(frozen=True)
class Case:
    """One way to run an operator: records by kernel and bytes of weights; taken where ``when`` is not 0."""

    when: Formula
    records: Mapping[str, Formula]
    weights_bytes: Formula


@dataclass(frozen=True)
class Coverage:
    """``takes``: in words. ``cases`` by precision ("int8", "float32", "mixed"); the first that holds counts."""

    takes: str
    cases: Mapping[str, tuple[Case, ...]]

    def case(self, precision: str, figures: Figures) -> Case | None:
        """How an operator of these figures runs; None where it cannot."""
        return next((c for c in self.cases.get(precision, ()) if c.when(figures)), None)


@dataclass(frozen=True)
class Runtime:
    """What a kind of microcontroller firmware can run, and what it takes."""

    name: str
    header_bytes: int
    """Of an image; ``tensor_bytes`` more for each input and output."""
    tensor_bytes: int
    arena_alignment: int
    block_alignment: int
    """Arena, scratch, operators' times, weights and each link buffer begin at multiples of it."""
    record_ram_bytes: int
    """RAM for each record, for its time."""
    kernels: Mapping[str, Kernel]
    operators: Mapping[str, Coverage]
    overwriting: frozenset[str]
    """Operators whose result may overwrite an input of its shape that nobody needs any more, where all their records
    are of ``elementwise`` kernels."""
    elementwise: frozenset[str]
    views: frozenset[str]
    """Operators whose result is their input where both are stored alike."""
    limited: frozenset[str]
    """Kernels whose record takes in a float32 Relu or Clip behind it."""
    firmware: Mapping[str, Firmware]
    """By board type that there is a firmware for."""

    def block(self, size_bytes: int) -> int:
        """Rounded up to a block."""
        return -(-size_bytes // self.block_alignment) * self.block_alignment


@dataclass(frozen=True)
class FirmwareLimits:
    """What a board's firmware is built with."""

    ram_bytes: int
    flash_bytes: int
    slot_bytes: int


def firmware_limits(board: Board) -> FirmwareLimits:
    """The limits that the firmware of a board enforces: its RAM, and its flash less the firmware's area as slot.

    Raises ValueError for a board without firmware, or whose flash has no room for a slot.
    """
    firmware = load_runtime(board.runtime).firmware.get(board.firmware) if board.firmware else None
    if firmware is None or board.flash_bytes is None:
        raise ValueError(f"board {board.name!r} ({board.model}) has no firmware of ours: give it a key `firmware:`")
    slot = (board.flash_bytes - firmware.area_bytes) // firmware.sector_bytes * firmware.sector_bytes
    if slot < 0:
        raise ValueError(
            f"board {board.name!r}: {board.flash_bytes} B of flash; the firmware keeps {firmware.area_bytes}"
        )
    return FirmwareLimits(board.ram_bytes, firmware.area_bytes, slot)


def firmware_ram_bytes(board_type: str) -> int:
    """What our firmware of a board type takes of RAM before any model is loaded. Raises KeyError for no such type."""
    return load_runtime("edgecut-mcu").firmware[board_type].ram_bytes


@lru_cache(maxsize=8)
def load_runtime(name: str) -> Runtime:
    """The runtime of that name. Raises DescriptionError for a file that is not one."""
    path = _FOLDER / f"{name}.yaml"
    root = read_tree(path)
    try:
        return _runtime(plain(root))
    except (KeyError, TypeError, ValueError, AttributeError) as e:
        expected, got = f"what tools/mcu_runtime.py writes, schema {RUNTIME_SCHEMA}", f"{type(e).__name__}: {e}"
        raise DescriptionError([Fault("not a runtime file", str(path), 1, expected=expected, got=got)]) from e


def _runtime(data: Any) -> Runtime:
    if data["schema"] != RUNTIME_SCHEMA:
        raise ValueError(f"schema {data['schema']}")
    image, arena = data["image"], data["arena"]
    return Runtime(
        name=data["name"],
        header_bytes=int(image["header"]),
        tensor_bytes=int(image["tensor"]),
        arena_alignment=int(arena["alignment"]),
        block_alignment=int(arena["block"]),
        record_ram_bytes=int(arena["record"]),
        kernels={n: Kernel(int(k["record"]), parse_formula(k["scratch"])) for n, k in data["kernels"].items()},
        operators={n: _coverage(c) for n, c in data["operators"].items()},
        overwriting=frozenset(data["overwriting"]),
        elementwise=frozenset(data["elementwise"]),
        views=frozenset(data["views"]),
        limited=frozenset(data["limited"]),
        firmware={n: Firmware(*(int(f[key]) for key in _FIRMWARE_KEYS)) for n, f in data["firmware"].items()},
    )


_FIRMWARE_KEYS = ("data", "bss", "rings", "stack", "gap", "flash_used", "area", "sector")


def _coverage(data: Any) -> Coverage:
    cases = {
        precision: tuple(
            Case(
                parse_formula(c["when"]),
                {kernel: parse_formula(count) for kernel, count in (c["records"] or {}).items()},
                parse_formula(c["weights"]),
            )
            for c in listed
        )
        for precision, listed in data.items()
        if precision != "takes"
    }
    return Coverage(data["takes"], cases)
