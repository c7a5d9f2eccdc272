"""What a sweep's grid file may hold, as pydantic models: here text becomes values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, model_validator

from boards.errors import UnitError
from boards.units import BYTES, ENERGY, RATE, TIME, Quantity
from optimizer.cli_options import parse_share
from optimizer.errors import LimitError
from optimizer.preference import parse_preference

__all__ = ["GRID_SCHEMA", "GridSpec", "LimitSpec", "SystemEntry"]

GRID_SCHEMA = "edgecut/sweep/1"


def _above_zero(quantity: Quantity) -> Callable[[Any], float | None]:
    def read(raw: Any) -> float | None:
        if raw is None:
            return None
        if not isinstance(raw, str):
            raise UnitError(f"{quantity.name}: not a quantity", expected=quantity.example, got=type(raw).__name__)
        value = quantity.parse(raw)
        if value == 0:
            raise UnitError(f"{quantity.name}: zero", expected="a number above zero", got=raw)
        return value

    return read


def _one_or_many(raw: Any) -> Any:
    """A word stands for a list of one."""
    return [raw] if isinstance(raw, str) else raw


def _share(raw: Any) -> float:
    if not isinstance(raw, str):
        raise UnitError("not a usable share", expected="a text such as 1%", got=type(raw).__name__)
    return parse_share(raw)


def _preference(text: str) -> str:
    """As `optimizer solve --prefer` takes it, but for the loss of accuracy: a grid names no sensitivity table."""
    try:
        found = parse_preference(text)
    except LimitError as e:
        raise UnitError(e.what, expected=e.expected, got=e.got) from e
    if "accuracy-loss" in found.objectives:
        raise UnitError("a sweep knows no loss of accuracy", expected="another objective", got=text)
    return found.text


_Time = Annotated[float, BeforeValidator(_above_zero(TIME))]
_Rate = Annotated[float, BeforeValidator(_above_zero(RATE))]
_Energy = Annotated[float, BeforeValidator(_above_zero(ENERGY))]
_Size = Annotated[int, BeforeValidator(_above_zero(BYTES))]
_Words = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
_Preference = Annotated[_Words, AfterValidator(_preference)]
_Share = Annotated[float, BeforeValidator(_share)]
_Names = Annotated[list[_Words], BeforeValidator(_one_or_many), Field(min_length=1)]
_Seed = Annotated[int, Field(ge=0, lt=2**31)]
_Whole = Annotated[int, Field(ge=1, lt=2**31)]


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SystemEntry(_Spec):
    """A ready system's name or a file, and the cost files to use on it."""

    system: _Words
    costs: Annotated[list[_Words], BeforeValidator(_one_or_many), Field(min_length=1)] | None = None


class LimitSpec(_Spec):
    """A named set of limits."""

    name: _Words
    max_latency: _Time | None = None
    min_throughput: _Rate | None = None
    max_energy: _Energy | None = None
    max_ram: dict[str, _Size] = Field(default_factory=dict)
    max_flash: dict[str, _Size] = Field(default_factory=dict)
    rate: _Rate | None = None
    pins: dict[str, _Words] = Field(default_factory=dict)
    forbid: dict[str, _Names] = Field(default_factory=dict)
    colocate: list[Annotated[list[_Words], Field(min_length=2)]] = Field(default_factory=list)
    max_boards: _Whole | None = None
    max_link_bytes: _Size | None = None


class GridSpec(_Spec):
    """The whole file. Every list but `limits` has at least one entry."""

    schema_: Literal["edgecut/sweep/1"] = Field(alias="schema")
    name: _Words | None = None
    models: list[_Words] = Field(min_length=1)
    systems: list[SystemEntry] = Field(min_length=1)
    limits: list[LimitSpec] = Field(default_factory=lambda: [LimitSpec(name="no limits")], min_length=1)
    prefer: Annotated[list[_Preference], BeforeValidator(_one_or_many), Field(min_length=1)] = ["throughput"]
    seeds: Annotated[list[_Seed], BeforeValidator(_one_or_many), Field(min_length=1)] = [0]
    time_limit: _Time = 60.0
    batch: _Whole = 1
    non_contiguous: bool = False
    replicate: bool = False
    gap: _Share = 0.0
    reproducible: bool = False

    @model_validator(mode="before")
    @classmethod
    def _named_systems(cls, data: Any) -> Any:
        """A system may be written as its name alone."""
        if isinstance(data, dict) and isinstance(data.get("systems"), list):
            entries = [{"system": s} if isinstance(s, str) else s for s in data["systems"]]
            return {**data, "systems": entries}
        return data
