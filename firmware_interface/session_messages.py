"""Messages of agents about the connection: its opening, answers, life signs, who is there."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from firmware_interface.catalogue import Type
from firmware_interface.fields import I64, U8, U16, U64, Document, Hash, Short, Text

__all__ = [
    "Bye",
    "Challenge",
    "Error",
    "Hello",
    "Identify",
    "Identity",
    "Log",
    "Ok",
    "Ping",
    "Pong",
    "Proof",
    "Purpose",
    "Welcome",
]


class Purpose(IntEnum):
    """What a connection is for; stands in HELLO."""

    CONTROL = 1
    LINK = 2
    INPUT = 3
    OUTPUT = 4
    PROBE = 5


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
