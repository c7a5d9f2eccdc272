"""Messages of microcontroller boards about the session and the board itself."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import ClassVar

from firmware_interface.catalogue import Type
from firmware_interface.fields import U8, U16, U32, U64, Hash, Short

__all__ = [
    "Attach",
    "Attached",
    "BoardIdentity",
    "Capability",
    "Fault",
    "FaultKind",
    "FaultQuery",
    "Memory",
    "MemoryQuery",
    "Phase",
    "Reset",
    "ResetCause",
    "ResetKind",
    "SetBaud",
]


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
