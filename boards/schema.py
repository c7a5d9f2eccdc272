"""What board, medium and system descriptions may hold, as pydantic models: here text becomes values.

Figures are written plainly (``ram: 320KiB``) or with their origin (``ram: {value: 320KiB, source: "..."}``).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, field_validator, model_validator

from boards.errors import UnitError
from boards.runtime import load_runtime
from boards.units import (
    BANDWIDTH,
    BYTES,
    COMPUTE,
    ENERGY_PER_BYTE,
    POWER,
    TIME,
    TIME_PER_BYTE,
    Quantity,
)

__all__ = [
    "FIGURES",
    "BoardSpec",
    "GroupSpec",
    "LinkSpec",
    "MediumSpec",
    "ProcessorSpec",
    "SystemSpec",
]

BOARD_SCHEMA = "edgecut/board/1"
MEDIUM_SCHEMA = "edgecut/medium/1"
SYSTEM_SCHEMA = "edgecut/system/1"


def _figure(quantity: Quantity, zero_allowed: bool, raw: Any) -> Any:
    if raw is None:
        return None
    if isinstance(raw, dict):
        unknown = sorted(set(raw) - {"value", "source"})
        if unknown or "value" not in raw:
            raise UnitError(
                f"{quantity.name}: not a figure",
                expected=f"{quantity.example} or {{value: {quantity.example}, source: where it comes from}}",
                got=f"key {unknown[0]!r}" if unknown else "no key 'value'",
            )
        raw = raw["value"]
    if not isinstance(raw, str):
        raise UnitError(f"{quantity.name}: not a quantity", expected=f"{quantity.example}", got=_kind(raw))
    value = quantity.parse(raw)
    if value == 0 and not zero_allowed:
        raise UnitError(f"{quantity.name}: zero", expected="a number above zero", got=raw)
    return value


def _boolean(raw: Any) -> Any:
    words = {"true": True, "false": False}
    if isinstance(raw, str) and raw.lower() in words:
        return words[raw.lower()]
    raise UnitError("not a yes or no", expected="true or false", got=_kind(raw))


def _kind(raw: Any) -> str:
    if raw is None:
        return "nothing"
    if isinstance(raw, dict):
        return "`key: value` lines"
    return "a list" if isinstance(raw, list) else str(raw)


def _reads(quantity: Quantity, *, zero: bool = True) -> BeforeValidator:
    read: Callable[[Any], Any] = partial(_figure, quantity, zero)
    return BeforeValidator(read)


Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
Flag = Annotated[bool, BeforeValidator(_boolean)]
PositiveBytes = Annotated[int, _reads(BYTES, zero=False)]
Bytes = Annotated[int, _reads(BYTES)]
Time = Annotated[float, _reads(TIME)]
Power = Annotated[float, _reads(POWER)]
Rate = Annotated[float, _reads(COMPUTE, zero=False)]
Bandwidth = Annotated[float, _reads(BANDWIDTH, zero=False)]
EnergyPerByte = Annotated[float, _reads(ENERGY_PER_BYTE)]
TimePerByte = Annotated[float, _reads(TIME_PER_BYTE)]

FIGURES: dict[str, Quantity] = {
    "ram": BYTES,
    "flash": BYTES,
    "runtime_ram": BYTES,
    "macs": COMPUTE,
    "memory_bandwidth": BANDWIDTH,
    "operator_overhead": TIME,
    "active_power": POWER,
    "idle_power": POWER,
    "bandwidth": BANDWIDTH,
    "setup": TIME,
    "latency": TIME,
    "mtu": BYTES,
    "header": BYTES,
    "min_payload": BYTES,
    "energy": ENERGY_PER_BYTE,
    "send": TIME_PER_BYTE,
    "receive": TIME_PER_BYTE,
}
"""Keys whose values are figures, wherever they stand; a catalog entry must give a source for each."""


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    written_only: ClassVar[tuple[str, ...]] = ()
    """Keys a file may hold that are replaced before this model sees it."""


class ProcessorSpec(_Spec):
    """One processor of a board."""

    name: Name
    kind: Literal["cpu", "gpu", "npu", "mcu", "accelerator"]
    macs: Annotated[dict[Literal["fp32", "fp16", "int8"], Rate], Field(min_length=1)]
    memory_bandwidth: Bandwidth
    operator_overhead: Time = 0.0
    active_power: Power
    idle_power: Power

    @model_validator(mode="after")
    def _active_includes_idle(self) -> Self:
        if self.active_power < self.idle_power:
            raise UnitError(
                "active_power is below idle_power",
                expected="the whole power while busy, idle power included",
                got=f"{self.active_power} W active, {self.idle_power} W idle",
            )
        return self


class BoardSpec(_Spec):
    """One board."""

    written_only = ("use",)

    description: str = ""
    processors: Annotated[list[ProcessorSpec], Field(min_length=1)]
    ram: PositiveBytes
    flash: PositiveBytes | None = None
    weights_in: Literal["ram", "flash"] = "ram"
    in_place: Flag = False
    runtime: Literal["onnxruntime", "edgecut-mcu", "accelerator"] = "onnxruntime"
    runtime_ram: Bytes = 0
    removable: Flag = False
    firmware: Name | None = None

    @field_validator("firmware")
    @classmethod
    def _known_firmware(cls, name: str | None) -> str | None:
        known = load_runtime("edgecut-mcu").firmware
        if name is not None and name not in known:
            raise UnitError("no firmware of ours", expected=f"one of {', '.join(known)}", got=name)
        return name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [p.name for p in self.processors]
        for name in names:
            if names.count(name) > 1:
                raise UnitError("two processors of one name", expected="each name once", got=name)
        if self.weights_in == "flash" and self.flash is None:
            raise UnitError("weights_in is flash", expected="a `flash:` size", got="none")
        if self.firmware and (self.runtime != "edgecut-mcu" or self.flash is None):
            raise UnitError("a firmware of ours", expected="runtime edgecut-mcu and a `flash:` size", got=self.runtime)
        if self.firmware and self.flash is not None:
            kept = load_runtime("edgecut-mcu").firmware[self.firmware]
            if self.flash < kept.area_bytes + kept.sector_bytes:
                expected = f"{kept.area_bytes} B for the firmware and {kept.sector_bytes} B or more for a model"
                raise UnitError("too little flash for a firmware of ours", expected=expected, got=f"{self.flash} B")
        if self.firmware and self.runtime_ram:
            raise UnitError("a firmware of ours and runtime_ram", expected="one of them: the build's own figures count",
                            got="both")  # fmt: skip
        return self


class MediumSpec(_Spec):
    """What a link is made of."""

    written_only = ("use",)

    description: str = ""
    duplex: Literal["full", "half"] = "full"
    bandwidth: Bandwidth
    setup: Time = 0.0
    latency: Time = 0.0
    mtu: PositiveBytes | None = None
    header: Bytes = 0
    min_payload: Bytes = 0
    energy: EnergyPerByte = 0.0
    overlap: Flag = True
    send: TimePerByte = 0.0
    receive: TimePerByte = 0.0


MEDIUM_KEYS = tuple(key for key in MediumSpec.model_fields if key != "description")
"""Figures of its medium that a link, shared medium or switch may override."""


class LinkSpec(_Spec):
    """A cable: ``between`` two nodes, or one way ``from`` one ``to`` another."""

    written_only = MEDIUM_KEYS

    name: Name | None = None
    between: Annotated[list[str], Field(min_length=2, max_length=2)] | None = None
    from_: str | None = Field(default=None, alias="from")
    to: str | None = None
    medium: MediumSpec

    @model_validator(mode="after")
    def _two_ends(self) -> Self:
        if (self.between is None) == (self.from_ is None and self.to is None) or (self.from_ is None) != (
            self.to is None
        ):
            given = [k for k, v in (("between", self.between), ("from", self.from_), ("to", self.to)) if v]
            raise UnitError(
                "a link needs two ends",
                expected="either `between: [a, b]` or both `from: a` and `to: b`",
                got=", ".join(given) or "none of them",
            )
        return self

    @property
    def ends(self) -> tuple[str, str]:
        return (self.between[0], self.between[1]) if self.between else (self.from_ or "", self.to or "")


class GroupSpec(_Spec):
    """Boards joined by one shared medium (only one sends at a time) or by one switch (a port each)."""

    written_only = MEDIUM_KEYS

    name: Name
    medium: MediumSpec
    boards: Annotated[list[str], Field(min_length=2)]


class SystemSpec(_Spec):
    """A whole system file, with every `use:` and `medium:` already replaced by what it names."""

    written_only = ("schema", "media")

    name: Name
    description: str = ""
    boards: Annotated[dict[Name, BoardSpec], Field(min_length=1)]
    links: list[LinkSpec] = []
    shared_media: list[GroupSpec] = []
    switches: list[GroupSpec] = []
    source: str
    sink: str
