"""Facts about hardware as frozen values. Units stand in the names."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

__all__ = ["Board", "Link", "Precision", "Processor", "ProcessorRef", "System"]

Precision = Literal["fp32", "fp16", "int8"]


@dataclass(frozen=True)
class Processor:
    """One unit of a board that runs sub-models: a core, a cluster, a GPU, an NPU.

    ``macs_per_s`` is the sustained rate by precision; its first key is the preferred precision.
    ``active_power_w`` is the whole power while busy (idle power included).
    """

    name: str
    kind: str
    macs_per_s: Mapping[str, float]
    memory_bytes_per_s: float
    operator_overhead_s: float
    active_power_w: float
    idle_power_w: float


@dataclass(frozen=True)
class Board:
    """One board. ``model`` names its catalog entry ("inline" when written out in the system file)."""

    name: str
    model: str
    processors: tuple[Processor, ...]
    ram_bytes: int
    flash_bytes: int | None
    """None: weights are loaded from storage that is not a limit."""
    weights_in: Literal["ram", "flash"]
    """Where weights live while the model runs: copied to RAM, or executed in place from flash."""
    in_place: bool
    """Whether the runtime lets elementwise operators overwrite their input."""
    runtime: str
    """Runtime on the board: "onnxruntime", "edgecut-mcu", "accelerator"."""
    runtime_ram_bytes: int
    """RAM the runtime itself needs, whatever the model."""
    removable: bool
    """True: an unused board can be left out and draws no idle power."""
    firmware: str = ""
    """Board type of our firmware on it ("mps2-an386"); "" where there is none."""


@dataclass(frozen=True)
class Link:
    """One direction of a connection between two boards (or a board and a switch).

    A hop occupies ``medium`` for ``setup_s + wire_bytes / bandwidth_bytes_per_s``; ``latency_s`` delays the
    arrival and occupies nothing. Links with the same ``medium`` share it (half duplex, a bus, the air).
    ``energy_j_per_byte`` counts both ends. ``send_s_per_byte`` / ``receive_s_per_byte`` is time of the first
    declared processor at the sending / receiving board, per payload byte, beside the hop unless ``overlap`` is False.
    ``overlap`` False: the hop also occupies the first declared processor at both ends (a rendezvous).
    """

    name: str
    source: str
    target: str
    medium: str
    bandwidth_bytes_per_s: float
    setup_s: float = 0.0
    latency_s: float = 0.0
    mtu_bytes: int | None = None
    header_bytes: int = 0
    min_payload_bytes: int = 0
    energy_j_per_byte: float = 0.0
    overlap: bool = True
    send_s_per_byte: float = 0.0
    receive_s_per_byte: float = 0.0

    def wire_bytes(self, payload_bytes: int) -> int:
        """Bytes on the wire for one message: padded payload plus one header a packet."""
        packets = 1 if self.mtu_bytes is None else max(1, math.ceil(payload_bytes / self.mtu_bytes))
        return max(payload_bytes, self.min_payload_bytes) + packets * self.header_bytes

    def occupancy_s(self, payload_bytes: int) -> float:
        """Seconds for which one message occupies the medium."""
        return self.setup_s + self.wire_bytes(payload_bytes) / self.bandwidth_bytes_per_s


@dataclass(frozen=True)
class ProcessorRef:
    """A processor of a system. ``key`` ("board/processor") names it in files."""

    board: Board
    processor: Processor

    @property
    def key(self) -> str:
        return f"{self.board.name}/{self.processor.name}"


@dataclass(frozen=True)
class System:
    """A bench: boards, directed links, where frames enter and where results leave.

    ``switches`` are nodes that links may name and that only forward.
    """

    name: str
    boards: tuple[Board, ...]
    links: tuple[Link, ...]
    source: str
    sink: str
    switches: tuple[str, ...] = ()

    def board(self, name: str) -> Board:
        """The board of that name; KeyError when there is none."""
        return self._board_by_name[name]

    @cached_property
    def _board_by_name(self) -> dict[str, Board]:
        return {b.name: b for b in self.boards}

    @cached_property
    def processors(self) -> tuple[ProcessorRef, ...]:
        """All processors in declared order; a plan refers to them by this position or by ``key``."""
        return tuple(ProcessorRef(b, p) for b in self.boards for p in b.processors)

    @cached_property
    def media(self) -> tuple[str, ...]:
        """Names of the link media in order of first use."""
        return tuple(dict.fromkeys(link.medium for link in self.links))

    def route(self, source: str, target: str) -> tuple[int, ...] | None:
        """Link indices from board to board: fewest hops, then the lexicographically smallest index list.

        () for the same board; None where no route exists.
        """
        return self._routes.get((source, target))

    @cached_property
    def _routes(self) -> dict[tuple[str, str], tuple[int, ...]]:
        nodes = [b.name for b in self.boards] + list(self.switches)
        out: dict[str, list[int]] = {n: [] for n in nodes}
        for index, link in enumerate(self.links):
            out[link.source].append(index)
        routes: dict[tuple[str, str], tuple[int, ...]] = {}
        for start in nodes:
            # Breadth-first by hops; within a level the smallest list wins, and a prefix of a
            # lexicographically smallest list is itself smallest, so keeping one list a node is exact.
            best: dict[str, tuple[int, ...]] = {start: ()}
            level = [start]
            while level:
                found: dict[str, tuple[int, ...]] = {}
                for node in level:
                    for index in out[node]:
                        target = self.links[index].target
                        if target in best:
                            continue
                        candidate = (*best[node], index)
                        if target not in found or candidate < found[target]:
                            found[target] = candidate
                best.update(found)
                level = list(found)
            routes.update({(start, node): path for node, path in best.items()})
        return routes
