"""Messages of microcontroller boards about a model: loading, links, runs, tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from firmware_interface.catalogue import Type
from firmware_interface.fields import U8, U16, U32, U64, Hash, Rest

__all__ = [
    "BoardStatistics",
    "InputWrite",
    "LinkSetup",
    "ModelFacts",
    "ModelLoad",
    "OutputBytes",
    "OutputRead",
    "Part",
    "PartAck",
    "Ran",
    "Route",
    "Run",
    "Times",
    "TimesQuery",
]


@dataclass(frozen=True)
class ModelLoad:
    """Make the image with this hash ready to run; answered by MODEL_FACTS. UNLOAD undoes it."""

    type: ClassVar[Type] = Type.MODEL_LOAD
    sha256: Hash
    paint: U8
    """Fills the arena before; what differs afterwards was used (MEMORY)."""


@dataclass(frozen=True)
class ModelFacts:
    """The model that is loaded."""

    type: ClassVar[Type] = Type.MODEL_FACTS
    inputs: U16
    outputs: U16
    operators: U16
    arena: U32
    scratch: U32
    weights: U32


@dataclass(frozen=True)
class LinkSetup:
    """Open a link on a port; answered by OK. ``baud`` 0 leaves the rate."""

    type: ClassVar[Type] = Type.LINK_SETUP
    port: U8
    baud: U32
    part: U16
    """Most bytes of a tensor in one PART that the other side takes."""
    window: U8
    """PARTs that the other side takes before it has acknowledged one."""


@dataclass(frozen=True)
class Route:
    """Where a tensor comes from and goes to; answered by OK."""

    type: ClassVar[Type] = Type.ROUTE
    tensor: U16
    size: U32
    depth: U8
    from_port: U8
    """0xFF: made here by the model."""
    to_ports: U8
    """Bit n: port n."""
    use: U8
    """0 none (a relay), 1 an input of the model, 2 an output of the model, 3 a signal; bit 7: its frames repeat."""
    index: U16


@dataclass(frozen=True)
class BoardStatistics:
    """A microcontroller board's answer to STATUS: counters since it started."""

    type: ClassVar[Type] = Type.BOARD_STATISTICS
    ticks: U64
    boots: U32
    cause: U8
    phase: U8
    frames_good: U32
    frames_bad: U32
    """Not COBS, wrong CRC, too short, or of another framing version."""
    frames_long: U32
    bytes_lost: U32
    """Overruns of a receiver or its ring."""
    sends_given_up: U32
    bytes_received: U64
    bytes_sent: U64
    baud: U32
    frames: U32
    """Inferences completed since START or RUN."""
    run_ticks: U64
    wait_ticks: U64
    """Ticks between the inferences counted; with ``run_ticks`` the time from START to the end of the last."""
    send_ticks: U64
    parts_sent: U32
    parts_again: U32
    parts_received: U32


@dataclass(frozen=True)
class Run:
    """Run the loaded model ``runs`` times on what its inputs hold; answered by RAN when done."""

    type: ClassVar[Type] = Type.RUN
    runs: U32


@dataclass(frozen=True)
class Ran:
    """``runs`` may be fewer than asked for after a STOP."""

    type: ClassVar[Type] = Type.RAN
    runs: U32
    ticks: U64
    ticks_least: U64
    ticks_most: U64


@dataclass(frozen=True)
class TimesQuery:
    """Asks for TIMES from operator ``first`` on."""

    type: ClassVar[Type] = Type.TIMES_QUERY
    first: U16


@dataclass(frozen=True)
class Times:
    """Ticks spent in each operator over all ``runs`` since MODEL_LOAD: ``data`` holds u64 numbers."""

    type: ClassVar[Type] = Type.TIMES
    first: U16
    operators: U16
    runs: U32
    data: Rest


@dataclass(frozen=True)
class InputWrite:
    """Bytes of a model input; answered by OK."""

    type: ClassVar[Type] = Type.INPUT_WRITE
    index: U16
    offset: U32
    data: Rest


@dataclass(frozen=True)
class OutputRead:
    """Asks for bytes of a model output; answered by OUTPUT_BYTES."""

    type: ClassVar[Type] = Type.OUTPUT_READ
    index: U16
    offset: U32
    length: U16


@dataclass(frozen=True)
class OutputBytes:
    """Bytes of a model output."""

    type: ClassVar[Type] = Type.OUTPUT_BYTES
    index: U16
    offset: U32
    data: Rest


@dataclass(frozen=True)
class Part:
    """A piece of a tensor on a serial link. Channel = tensor; sequence counts the link's parts."""

    type: ClassVar[Type] = Type.PART
    frame: U32
    offset: U32
    data: Rest


@dataclass(frozen=True)
class PartAck:
    """All parts of the link below the header's sequence have arrived."""

    type: ClassVar[Type] = Type.PART_ACK
