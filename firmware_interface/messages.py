"""The message catalogue of PROTOCOL.md, one frozen dataclass a message.

``MESSAGES`` maps type numbers to classes. TENSOR, CREDIT and TOKEN have no class: their header says all
(channel = tensor, sequence = frame) and TENSOR's payload goes straight into a buffer.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Any, ClassVar

from firmware_interface.fields import I64, U8, U16, U32, U64, Document, Hash, Rest, Short, Text

__all__ = [
    "LIMITS",
    "MAX_CHUNK_BYTES",
    "MESSAGES",
    "PROTOCOL_VERSION",
    "ErrorCode",
    "Type",
]

PROTOCOL_VERSION = 1

# Bounds of payload lengths, in bytes. A length above its bound is refused before anything is allocated.
MAX_OPENING_BYTES = 1024  # three texts of 255 and two nonces; strangers can make us hold no more than this
MAX_SMALL_BYTES = 4096  # fixed fields and one sentence of text
MAX_CHUNK_BYTES = 1 << 20  # of file data: headers cost nothing, and a small board can still hold one
MAX_DOCUMENT_BYTES = 8 << 20  # a deployment of 10,000 tensors takes 3 MB
MAX_ERROR_TEXT = 1000  # characters of an error; four bytes each still fit MAX_SMALL_BYTES
MAX_TENSOR_BYTES = 1 << 30  # 100 float32 images of 1,600 x 1,600; a deployment bounds each exactly


class Type(IntEnum):
    """Message types. Numbers are never reused."""

    HELLO = 0x01
    CHALLENGE = 0x02
    PROOF = 0x03
    WELCOME = 0x04
    OK = 0x08
    ERROR = 0x09
    PING = 0x0A
    PONG = 0x0B
    LOG = 0x0C
    BYE = 0x0D
    IDENTIFY = 0x10
    IDENTITY = 0x11
    FILE_QUERY = 0x20
    FILE_STATE = 0x21
    FILE_BEGIN = 0x22
    FILE_CHUNK = 0x23
    FILE_END = 0x24
    FILE_READ = 0x25
    LOAD = 0x30
    LOADED = 0x31
    CONNECT = 0x32
    UNLOAD = 0x33
    START = 0x40
    STOP = 0x41
    STOPPED = 0x42
    FINISH = 0x43
    STATUS = 0x44
    STATISTICS = 0x45
    TENSOR = 0x50
    CREDIT = 0x51
    TOKEN = 0x52
    PROFILE_MODEL = 0x60
    MODEL_PROFILE = 0x61
    TIME_MODEL = 0x62
    MODEL_TIMES = 0x63
    PROBE_LINK = 0x64
    LINK_FIGURES = 0x65
    PROBE_BURST = 0x66
    PROBE_REPORT = 0x67


class ErrorCode(IntEnum):
    """Codes of ERROR. 0 is never sent."""

    BAD_MESSAGE = 1
    NOT_AUTHENTICATED = 2
    WRONG_BOARD = 3
    BUSY = 4
    WRONG_STATE = 5
    NO_SUCH_FILE = 6
    HASH_MISMATCH = 7
    STORAGE = 8
    BAD_DEPLOYMENT = 9
    MODEL = 10
    PEER = 11
    RUN_FAILED = 12
    UNSUPPORTED = 13
    DEADLINE = 14
    INTERNAL = 15


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


MESSAGES: dict[Type, type[Any]] = {
    kind.type: kind
    for kind in (
        Hello, Challenge, Proof, Welcome, Ok, Error, Ping, Pong, Log, Bye, Identify, Identity, FileQuery,
        FileState, FileBegin, FileChunk, FileEnd, FileRead, Load, Loaded, Connect, Unload, Start, Stop,
        Stopped, Finish, Status, Statistics, ProfileModel, ModelProfile, TimeModel, ModelTimes, ProbeLink,
        LinkFigures, ProbeBurst, ProbeReport,
    )
}  # fmt: skip

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
