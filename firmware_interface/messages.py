"""The messages of agents (PROTOCOL.md, section 1), one frozen dataclass a message.

``MESSAGES`` maps the type numbers of the whole catalogue to classes; those of microcontroller boards are in
`board_messages`. TENSOR, CREDIT and TOKEN have no class: their header says all (channel = tensor, sequence =
frame) and TENSOR's payload goes straight into a buffer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

from firmware_interface.board_messages import BOARD_MESSAGES
from firmware_interface.catalogue import (
    MAX_CHUNK_BYTES,
    MAX_DOCUMENT_BYTES,
    MAX_ERROR_TEXT,
    MAX_OPENING_BYTES,
    MAX_SMALL_BYTES,
    MAX_TENSOR_BYTES,
    PROTOCOL_VERSION,
    ErrorCode,
    Type,
)
from firmware_interface.fields import I64, U8, U16, U32, U64, Document, Hash, Rest, Short, Text

__all__ = [
    "LIMITS",
    "MAX_CHUNK_BYTES",
    "MAX_DOCUMENT_BYTES",
    "MAX_ERROR_TEXT",
    "MAX_TENSOR_BYTES",
    "MESSAGES",
    "PROTOCOL_VERSION",
    "ErrorCode",
    "Type",
]


class Purpose(IntEnum):
    """What a connection is for; stands in HELLO."""

    CONTROL = 1
    LINK = 2
    INPUT = 3
    OUTPUT = 4
    PROBE = 5


class Mode(IntEnum):
    """How START runs the schedule."""

    RUN = 1
    MEASURE = 2
    LATENCY = 3


@dataclass(frozen=True)
class Hello:
    """First message of who opens a connection."""

    type: ClassVar[Type] = Type.HELLO
    protocol: U16
    purpose: U8
    nonce: Hash
    sender: Short
    """Board name, or "host"."""
    receiver: Short
    """Board that the sender means to speak to."""
    subject: Short
    """LINK, INPUT, OUTPUT: the link's name and the deployment's identifier, a space between. Else empty."""


@dataclass(frozen=True)
class Challenge:
    """Answer to HELLO: the acceptor's nonce."""

    type: ClassVar[Type] = Type.CHALLENGE
    protocol: U16
    nonce: Hash


@dataclass(frozen=True)
class Proof:
    """The opener proves that it holds the key."""

    type: ClassVar[Type] = Type.PROOF
    proof: Hash


@dataclass(frozen=True)
class Welcome:
    """The acceptor proves it too, and says its name."""

    type: ClassVar[Type] = Type.WELCOME
    proof: Hash
    board: Short


@dataclass(frozen=True)
class Ok:
    """The request was carried out."""

    type: ClassVar[Type] = Type.OK


@dataclass(frozen=True)
class Error:
    """The request was not carried out, or (sequence 0) the connection is about to be closed."""

    type: ClassVar[Type] = Type.ERROR
    code: U16
    text: Text


@dataclass(frozen=True)
class Ping:
    """Asks for a PONG with the same token."""

    type: ClassVar[Type] = Type.PING
    token: U64


@dataclass(frozen=True)
class Pong:
    """Answer to PING."""

    type: ClassVar[Type] = Type.PONG
    token: U64
    time_ns: I64
    """The answering board's monotonic clock."""


@dataclass(frozen=True)
class Log:
    """A line for the log of the other side. Needs no answer."""

    type: ClassVar[Type] = Type.LOG
    level: U8
    """10 debug, 20 information, 30 warning, 40 error."""
    text: Text


@dataclass(frozen=True)
class Bye:
    """The sender closes the connection on purpose; nothing follows."""

    type: ClassVar[Type] = Type.BYE


@dataclass(frozen=True)
class Identify:
    """Asks who the board is."""

    type: ClassVar[Type] = Type.IDENTIFY


@dataclass(frozen=True)
class Identity:
    """Who the board is: name, versions, cores, clock, state."""

    type: ClassVar[Type] = Type.IDENTITY
    board: Short
    facts: Document


@dataclass(frozen=True)
class FileQuery:
    """Asks whether the board holds a file of this hash; it hashes the stored bytes again (read-back)."""

    type: ClassVar[Type] = Type.FILE_QUERY
    sha256: Hash


@dataclass(frozen=True)
class FileState:
    """What the board holds: ``present`` 0 or 1, size, and the hash as read back from storage."""

    type: ClassVar[Type] = Type.FILE_STATE
    present: U8
    size: U64
    sha256: Hash


@dataclass(frozen=True)
class FileBegin:
    """A file follows, in FILE_CHUNKs and a FILE_END."""

    type: ClassVar[Type] = Type.FILE_BEGIN
    sha256: Hash
    size: U64


@dataclass(frozen=True)
class FileChunk:
    """File data at ``offset``: from the host in a put (answered by nothing), or in answer to FILE_READ."""

    type: ClassVar[Type] = Type.FILE_CHUNK
    offset: U64
    data: Rest


@dataclass(frozen=True)
class FileEnd:
    """The file is complete; answered by FILE_STATE with the hash read back, or ERROR."""

    type: ClassVar[Type] = Type.FILE_END


@dataclass(frozen=True)
class FileRead:
    """Asks for up to ``length`` bytes of a stored file; answered by one FILE_CHUNK."""

    type: ClassVar[Type] = Type.FILE_READ
    sha256: Hash
    offset: U64
    length: U32


@dataclass(frozen=True)
class Load:
    """A board's part of a deployment; files were put before."""

    type: ClassVar[Type] = Type.LOAD
    deployment: Document


@dataclass(frozen=True)
class Loaded:
    """The segments are ready to run."""

    type: ClassVar[Type] = Type.LOADED
    report: Document


@dataclass(frozen=True)
class Connect:
    """The board opens its outgoing links now; answered by OK when all are open."""

    type: ClassVar[Type] = Type.CONNECT


@dataclass(frozen=True)
class Unload:
    """Stop, close the links, free everything."""

    type: ClassVar[Type] = Type.UNLOAD


@dataclass(frozen=True)
class Start:
    """Run the schedule. ``frames`` 0: until STOP and FINISH."""

    type: ClassVar[Type] = Type.START
    mode: U8
    frames: U32


@dataclass(frozen=True)
class Stop:
    """To the source board: start no further frame; answered by STOPPED."""

    type: ClassVar[Type] = Type.STOP


@dataclass(frozen=True)
class Stopped:
    """Frames 0 .. frames-1 were started and will be completed."""

    type: ClassVar[Type] = Type.STOPPED
    frames: U32


@dataclass(frozen=True)
class Finish:
    """Serve frames below ``frames``, then stop; answered by STATISTICS when all are done."""

    type: ClassVar[Type] = Type.FINISH
    frames: U32


@dataclass(frozen=True)
class Status:
    """Asks for the counters."""

    type: ClassVar[Type] = Type.STATUS


@dataclass(frozen=True)
class Statistics:
    """The counters since START, and what every worker does at the moment."""

    type: ClassVar[Type] = Type.STATISTICS
    counters: Document


@dataclass(frozen=True)
class ProfileModel:
    """Profile a stored model."""

    type: ClassVar[Type] = Type.PROFILE_MODEL
    request: Document


@dataclass(frozen=True)
class ModelProfile:
    """Times, and the hashes of the trace and the optimised graph, to be fetched by FILE_READ."""

    type: ClassVar[Type] = Type.MODEL_PROFILE
    report: Document


@dataclass(frozen=True)
class TimeModel:
    """Time a stored model alone."""

    type: ClassVar[Type] = Type.TIME_MODEL
    request: Document


@dataclass(frozen=True)
class ModelTimes:
    """Times of each run."""

    type: ClassVar[Type] = Type.MODEL_TIMES
    report: Document


@dataclass(frozen=True)
class ProbeLink:
    """Measure a link to another board."""

    type: ClassVar[Type] = Type.PROBE_LINK
    request: Document


@dataclass(frozen=True)
class LinkFigures:
    """Round trips and a burst."""

    type: ClassVar[Type] = Type.LINK_FIGURES
    report: Document


@dataclass(frozen=True)
class ProbeBurst:
    """Between boards: ``messages`` TENSORs of ``size`` bytes follow; answered by PROBE_REPORT."""

    type: ClassVar[Type] = Type.PROBE_BURST
    messages: U32
    size: U32


@dataclass(frozen=True)
class ProbeReport:
    """What the receiver of a burst saw, by its own clocks."""

    type: ClassVar[Type] = Type.PROBE_REPORT
    bytes: U64
    receive_ns: U64
    cpu_ns: U64


_AGENT_MESSAGES: tuple[type[Any], ...] = (
    Hello, Challenge, Proof, Welcome, Ok, Error, Ping, Pong, Log, Bye, Identify, Identity, FileQuery,
    FileState, FileBegin, FileChunk, FileEnd, FileRead, Load, Loaded, Connect, Unload, Start, Stop,
    Stopped, Finish, Status, Statistics, ProfileModel, ModelProfile, TimeModel, ModelTimes, ProbeLink,
    LinkFigures, ProbeBurst, ProbeReport,
)  # fmt: skip

MESSAGES: dict[Type, type[Any]] = {kind.type: kind for kind in (*_AGENT_MESSAGES, *BOARD_MESSAGES)}

_DOCUMENTS = (
    Type.IDENTITY, Type.LOAD, Type.LOADED, Type.STATISTICS, Type.PROFILE_MODEL, Type.MODEL_PROFILE,
    Type.TIME_MODEL, Type.MODEL_TIMES, Type.PROBE_LINK, Type.LINK_FIGURES,
)  # fmt: skip
_OPENING = (Type.HELLO, Type.CHALLENGE, Type.PROOF, Type.WELCOME)

LIMITS: dict[Type, int] = (
    dict.fromkeys(Type, MAX_SMALL_BYTES)
    | dict.fromkeys(_OPENING, MAX_OPENING_BYTES)
    | dict.fromkeys(_DOCUMENTS, MAX_DOCUMENT_BYTES)
    | {Type.FILE_CHUNK: MAX_CHUNK_BYTES + 8, Type.TENSOR: MAX_TENSOR_BYTES, Type.CREDIT: 0, Type.TOKEN: 0}
)
"""Largest payload of each type."""
