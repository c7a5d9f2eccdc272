"""The messages of microcontroller boards (PROTOCOL.md, sections 1 and 9), one frozen dataclass a message.

They stand by families in `board_*_messages`; this is the whole list. Everything has fixed places: a board packs and
unpacks without a heap. Ticks are those of the board's own clock, ``tick_hz`` a second (BOARD_IDENTITY).
"""

from __future__ import annotations

from typing import Any

from firmware_interface.board_run_messages import (
    BoardStatistics,
    InputWrite,
    LinkSetup,
    ModelFacts,
    ModelLoad,
    OutputBytes,
    OutputRead,
    Part,
    PartAck,
    Ran,
    Route,
    Run,
    Times,
    TimesQuery,
)
from firmware_interface.board_session_messages import (
    Attach,
    Attached,
    BoardIdentity,
    Capability,
    Fault,
    FaultKind,
    FaultQuery,
    Memory,
    MemoryQuery,
    Phase,
    Reset,
    ResetCause,
    ResetKind,
    SetBaud,
)
from firmware_interface.board_slot_messages import (
    SlotAck,
    SlotBegin,
    SlotCommit,
    SlotData,
    SlotDigest,
    SlotHash,
    SlotPhase,
    SlotQuery,
    SlotState,
)

__all__ = [
    "BOARD_MESSAGES",
    "Attach",
    "Attached",
    "BoardIdentity",
    "BoardStatistics",
    "Capability",
    "Fault",
    "FaultKind",
    "FaultQuery",
    "InputWrite",
    "LinkSetup",
    "Memory",
    "MemoryQuery",
    "ModelFacts",
    "ModelLoad",
    "OutputBytes",
    "OutputRead",
    "Part",
    "PartAck",
    "Phase",
    "Ran",
    "Reset",
    "ResetCause",
    "ResetKind",
    "Route",
    "Run",
    "SetBaud",
    "SlotAck",
    "SlotBegin",
    "SlotCommit",
    "SlotData",
    "SlotDigest",
    "SlotHash",
    "SlotPhase",
    "SlotQuery",
    "SlotState",
    "Times",
    "TimesQuery",
]

BOARD_MESSAGES: tuple[type[Any], ...] = (
    Attach, Attached, BoardIdentity, MemoryQuery, Memory, FaultQuery, Fault, Reset, SetBaud, SlotQuery, SlotState,
    SlotBegin, SlotData, SlotAck, SlotCommit, SlotHash, SlotDigest, ModelLoad, ModelFacts, LinkSetup, Route,
    BoardStatistics, Run, Ran, TimesQuery, Times, InputWrite, OutputRead, OutputBytes, Part, PartAck,
)  # fmt: skip
