"""Messages of agents about a deployment and its runs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import ClassVar

from firmware_interface.catalogue import Type
from firmware_interface.fields import U8, U32, Document

__all__ = ["Connect", "Finish", "Load", "Loaded", "Mode", "Start", "Statistics", "Status", "Stop", "Stopped", "Unload"]


class Mode(IntEnum):
    """How START runs the schedule."""

    RUN = 1
    MEASURE = 2
    LATENCY = 3


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
