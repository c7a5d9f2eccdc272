"""The messages of agents (PROTOCOL.md, section 1), one frozen dataclass a message.

They stand by families in `*_messages`. ``MESSAGES`` maps the type numbers of the whole catalogue to classes; those of
microcontroller boards are in `board_messages`. TENSOR, CREDIT and TOKEN have no class: their header says all (channel
= tensor, sequence = frame) and TENSOR's payload goes straight into a buffer.
"""

from __future__ import annotations

from typing import Any

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
from firmware_interface.figure_messages import (
    LinkFigures,
    ModelProfile,
    ModelTimes,
    ProbeBurst,
    ProbeLink,
    ProbeReport,
    ProfileModel,
    TimeModel,
)
from firmware_interface.file_messages import FileBegin, FileChunk, FileEnd, FileQuery, FileRead, FileState
from firmware_interface.run_messages import (
    Connect,
    Finish,
    Load,
    Loaded,
    Mode,
    Start,
    Statistics,
    Status,
    Stop,
    Stopped,
    Unload,
)
from firmware_interface.session_messages import (
    Bye,
    Challenge,
    Error,
    Hello,
    Identify,
    Identity,
    Log,
    Ok,
    Ping,
    Pong,
    Proof,
    Purpose,
    Welcome,
)

__all__ = [
    "LIMITS",
    "MAX_CHUNK_BYTES",
    "MAX_DOCUMENT_BYTES",
    "MAX_ERROR_TEXT",
    "MAX_TENSOR_BYTES",
    "MESSAGES",
    "PROTOCOL_VERSION",
    "Bye",
    "Challenge",
    "Connect",
    "Error",
    "ErrorCode",
    "FileBegin",
    "FileChunk",
    "FileEnd",
    "FileQuery",
    "FileRead",
    "FileState",
    "Finish",
    "Hello",
    "Identify",
    "Identity",
    "LinkFigures",
    "Load",
    "Loaded",
    "Log",
    "Mode",
    "ModelProfile",
    "ModelTimes",
    "Ok",
    "Ping",
    "Pong",
    "ProbeBurst",
    "ProbeLink",
    "ProbeReport",
    "ProfileModel",
    "Proof",
    "Purpose",
    "Start",
    "Statistics",
    "Status",
    "Stop",
    "Stopped",
    "TimeModel",
    "Type",
    "Unload",
    "Welcome",
]

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
