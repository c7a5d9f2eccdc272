"""Messages of microcontroller boards about the model slot."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from firmware_interface.catalogue import Type
from firmware_interface.fields import U8, U32, Hash, Rest

__all__ = [
    "SlotAck",
    "SlotBegin",
    "SlotCommit",
    "SlotData",
    "SlotDigest",
    "SlotHash",
    "SlotPhase",
    "SlotQuery",
    "SlotState",
]


class SlotPhase(IntEnum):
    """What the model slot holds."""

    EMPTY = 0
    BEGUN = 1
    VALID = 2


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
