"""What requests may hold. Here JSON becomes typed, frozen values; quantities are read by the core."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Discriminator, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from server.problems import refuse

__all__ = ["JobOrder", "LimitsOrder", "MeasureOrder", "MemoryOrder", "SolveOrder", "parse_job", "read_json"]

_MAX_DEPTH = 32  # a system description needs 8; bounds what recurses over a body later
_SHOWN_CHARACTERS = 80  # of a value that is quoted back

Quantity = Annotated[str, Field(max_length=64)]
"""A number with its unit: "50ms", "20/s", "320KiB"."""

Objective = Literal["throughput", "latency", "energy"]


class _Order(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class MemoryOrder(_Order):
    """Memory of one board that a plan may use."""

    ram: Quantity | None = None
    flash: Quantity | None = None


class LimitsOrder(_Order):
    """Hard limits, named as the options of `optimizer solve`."""

    max_latency: Quantity | None = None
    min_throughput: Quantity | None = None
    max_energy: Quantity | None = None
    max_memory: dict[str, MemoryOrder] = {}
    """By board name."""
    pin: dict[str, str] = {}
    """Board name (or processor key) by operator name."""
    boards: Annotated[int, Field(ge=1)] | None = None


class SolveOrder(_Order):
    """A plan is wanted."""

    kind: Literal["solve"]
    model: str
    """The id of an uploaded model, or "zoo:NAME"."""
    system: str | dict[str, Any]
    """The name of a ready system, or a system description as in a system file."""
    costs: Literal["roofline"] | dict[str, Any] = "roofline"
    """"roofline", or the content of a costs file."""
    limits: LimitsOrder = LimitsOrder()
    objectives: Annotated[list[Objective], Field(min_length=1)] = ["throughput", "latency", "energy"]
    """What spans the front."""
    prefer: Objective | Literal["knee"] = "throughput"
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    time_limit: Quantity = "60s"
    batch: Annotated[int, Field(ge=1, le=4096)] = 1


class MeasureOrder(_Order):
    """The plan of a finished solve job is to be measured in a lab."""

    kind: Literal["measure"]
    job: str
    lab: str
    """One of the labs the server was started with."""
    quick: bool = False


JobOrder = Annotated[SolveOrder | MeasureOrder, Discriminator("kind")]
_ADAPTER: TypeAdapter[SolveOrder | MeasureOrder] = TypeAdapter(JobOrder)


def read_json(body: bytes) -> Any:
    """The JSON value in a request body. Raises RequestError (400)."""
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_no_constant)
    except (ValueError, RecursionError) as e:
        raise refuse("bad-request", f"The body is not JSON: {e}; expected a JSON object in UTF-8.") from e
    if not _is_shallow(value):
        raise refuse("bad-request", f"The body is nested too deeply; expected at most {_MAX_DEPTH} levels.")
    return value


def _is_shallow(value: Any) -> bool:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [child for item in level for child in _children(item)]
        if not level:
            return True
    return False


def _children(value: Any) -> Collection[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def parse_job(value: Any) -> SolveOrder | MeasureOrder:
    """The order in a decoded body. Raises RequestError (422), which names every fault by its JSON pointer."""
    try:
        return _ADAPTER.validate_python(value)
    except ValidationError as e:
        faults = list(_faults(e.errors(include_url=False)))
    raise refuse("invalid-input", " ".join(f["detail"] for f in faults), errors=faults)


def _faults(errors: list[ErrorDetails]) -> Iterator[dict[str, str]]:
    seen: set[str] = set()
    for error in errors:
        path = _path(error)
        pointer = "".join(f"/{str(p).replace('~', '~0').replace('/', '~1')}" for p in path)
        if pointer in seen:  # a value that fits none of several types is one fault
            continue
        seen.add(pointer)
        where = ".".join(str(p) for p in path) or "the body"
        yield {"pointer": pointer, "detail": f"{where}: {_what(error)}."}


def _path(error: ErrorDetails) -> list[str | int]:
    """Where in the body, without the labels that pydantic adds for the member of a union."""
    path = list(error["loc"])
    if path and path[0] in ("solve", "measure"):
        path = path[1:]
    if path and (path[-1] in ("str",) or str(path[-1]).startswith(("dict[", "literal["))):
        path = path[:-1]
    return path


def _what(error: ErrorDetails) -> str:
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "extra_forbidden":
        return "is no known key"
    if error["type"] in ("union_tag_not_found", "union_tag_invalid"):
        return "expected an object whose kind is 'solve' or 'measure'"
    got = json.dumps(error["input"], ensure_ascii=False, default=str)
    shown = got if len(got) <= _SHOWN_CHARACTERS else got[: _SHOWN_CHARACTERS - 3] + "..."
    return f"{error['msg'].replace('Input should be', 'expected')}; got {shown}"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")
