"""The messages of microcontroller boards (PROTOCOL.md, sections 1 and 9), one frozen dataclass a message.

Everything has fixed places: a board packs and unpacks without a heap. Ticks are those of the board's own clock,
``tick_hz`` a second (BOARD_IDENTITY).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Any, ClassVar

from firmware_interface.catalogue import Type
from firmware_interface.fields import U8, U16, U32, U64, Hash, Rest, Short

__all__ = ["BOARD_MESSAGES", "Capability", "FaultKind", "Phase", "ResetCause", "ResetKind", "SlotPhase"]


class Capability(IntFlag):
    """Bits of BOARD_IDENTITY.capabilities."""

    WATCHDOG = 1 << 0
    FAULT_REPORT = 1 << 1
    INT8 = 1 << 2
    FLOAT32 = 1 << 3
    DSP = 1 << 4
    BAUD = 1 << 5
    TRIGGER = 1 << 6
    """A pin follows the runs of the model, for a power meter."""
    EMULATED = 1 << 7
    SLOT_KEPT = 1 << 8
    """The slot keeps its contents without power."""


class ResetCause(IntEnum):
    """Why the board started."""

    POWER_ON = 1
    REQUESTED = 2
    FAULT = 3
    WATCHDOG = 4
    EXTERNAL = 5
    """A reset pin, a debugger, an emulator's reset."""


class ResetKind(IntEnum):
    """What RESET asks for; the last two prove that the board's own guards work."""

    RESTART = 1
    HANG = 2
    """The main loop stands still until the watchdog bites."""
    CRASH = 3


class FaultKind(IntEnum):
    """What FAULT tells of."""

    NONE = 0
    EXCEPTION = 1
    WATCHDOG = 2


class Phase(IntEnum):
    """What the board was doing."""

    START = 0
    IDLE = 1
    MESSAGE = 2
    ERASE = 3
    PROGRAM = 4
    HASH = 5
    LOAD = 6
    OPERATOR = 7
    LINK = 8


class SlotPhase(IntEnum):
    """What the model slot holds."""

    EMPTY = 0
    BEGUN = 1
    VALID = 2


@dataclass(frozen=True)
class Attach:
    """First message of a session: versions that the host speaks, its lease, a number for the session."""

    type: ClassVar[Type] = Type.ATTACH
    lowest: U16
    highest: U16
    lease: U64
    session: U16


@dataclass(frozen=True)
class Attached:
    """The session stands; ``boots`` and ``cause`` tell a host that knew the board whether it was reset."""

    type: ClassVar[Type] = Type.ATTACHED
    protocol: U16
    lease: U64
    boots: U32
    cause: U8


@dataclass(frozen=True)
class BoardIdentity:
    """A microcontroller board's answer to IDENTIFY."""

    type: ClassVar[Type] = Type.BOARD_IDENTITY
    lowest: U16
    highest: U16
    capabilities: U32
    tick_hz: U32
    core_hz: U32
    max_payload: U16
    window: U8
    """SLOT_DATA frames and PARTs that may be on their way."""
    ports: U8
    image_format: U16
    kernels: U16
    """Version of the kernels' records in an image; 0 without kernels."""
    build: Hash
    """SHA-256 over the sources and options that the firmware was built from."""
    board: Short
    core: Short
    uid: Short
    """The chip's own number in hexadecimal."""


@dataclass(frozen=True)
class MemoryQuery:
    """Asks for MEMORY."""

    type: ClassVar[Type] = Type.MEMORY_QUERY


@dataclass(frozen=True)
class Memory:
    """Where the bytes are, and how far they were used since the start."""

    type: ClassVar[Type] = Type.MEMORY
    ram_limit: U32
    data: U32
    bss: U32
    """Without rings and arena."""
    rings: U32
    stack: U32
    stack_used: U32
    arena: U32
    arena_loaded: U32
    """What the loaded model and its routes claim."""
    arena_touched: U32
    """How far the model's arena is not the pattern of MODEL_LOAD any more."""
    scratch_touched: U32
    flash_limit: U32
    flash_used: U32
    slot: U32
    sector: U32
    write_unit: U32
    erase_ms: U32
    """Longest time to erase one sector."""
    image: U32
    """Bytes of the slot that hold an image."""


@dataclass(frozen=True)
class FaultQuery:
    """Asks for FAULT."""

    type: ClassVar[Type] = Type.FAULT_QUERY


@dataclass(frozen=True)
class Fault:
    """The last fault, kept over resets but not over a loss of power."""

    type: ClassVar[Type] = Type.FAULT
    kind: U8
    phase: U8
    operator: U16
    boot: U32
    """Boot counter at the time."""
    pc: U32
    lr: U32
    status: U32
    """CFSR on a Cortex-M; the number of the signal on a host."""
    address: U32


@dataclass(frozen=True)
class Reset:
    """Answered by OK before it happens."""

    type: ClassVar[Type] = Type.RESET
    how: U8


@dataclass(frozen=True)
class SetBaud:
    """Answered by OK at the old rate; the board goes back when nothing valid comes at the new one."""

    type: ClassVar[Type] = Type.SET_BAUD
    baud: U32


@dataclass(frozen=True)
class SlotQuery:
    """Asks for SLOT_STATE."""

    type: ClassVar[Type] = Type.SLOT_QUERY


@dataclass(frozen=True)
class SlotState:
    """What the slot holds: of an image of ``size`` bytes the first ``next`` are written."""

    type: ClassVar[Type] = Type.SLOT_STATE
    state: U8
    size: U32
    next: U32
    sha256: Hash


@dataclass(frozen=True)
class SlotBegin:
    """An image follows; answered by SLOT_STATE, whose ``next`` says where to go on."""

    type: ClassVar[Type] = Type.SLOT_BEGIN
    size: U32
    sha256: Hash


@dataclass(frozen=True)
class SlotData:
    """Bytes of the image; answered by SLOT_ACK, several may be on their way."""

    type: ClassVar[Type] = Type.SLOT_DATA
    offset: U32
    data: Rest


@dataclass(frozen=True)
class SlotAck:
    """All bytes below ``next`` are written."""

    type: ClassVar[Type] = Type.SLOT_ACK
    next: U32


@dataclass(frozen=True)
class SlotCommit:
    """The board reads everything back, and if the hash fits it writes the word that makes the image valid."""

    type: ClassVar[Type] = Type.SLOT_COMMIT


@dataclass(frozen=True)
class SlotHash:
    """Asks for SLOT_DIGEST."""

    type: ClassVar[Type] = Type.SLOT_HASH


@dataclass(frozen=True)
class SlotDigest:
    """SHA-256 of the bytes in the slot, read anew."""

    type: ClassVar[Type] = Type.SLOT_DIGEST
    size: U32
    sha256: Hash


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


BOARD_MESSAGES: tuple[type[Any], ...] = (
    Attach, Attached, BoardIdentity, MemoryQuery, Memory, FaultQuery, Fault, Reset, SetBaud, SlotQuery, SlotState,
    SlotBegin, SlotData, SlotAck, SlotCommit, SlotHash, SlotDigest, ModelLoad, ModelFacts, LinkSetup, Route,
    BoardStatistics, Run, Ran, TimesQuery, Times, InputWrite, OutputRead, OutputBytes, Part, PartAck,
)  # fmt: skip
