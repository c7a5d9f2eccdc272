"""Messages of agents about what is measured for cost tables: models and links."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from firmware_interface.catalogue import Type
from firmware_interface.fields import U32, U64, Document

__all__ = [
    "LinkFigures",
    "ModelProfile",
    "ModelTimes",
    "ProbeBurst",
    "ProbeLink",
    "ProbeReport",
    "ProfileModel",
    "TimeModel",
]


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
