"""What requests may hold. Here JSON becomes typed, frozen values; quantities are read by the core."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from typing import Annotated, Any, Literal, NoReturn

from pydantic import BaseModel, ConfigDict, Discriminator, Field, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from boards.errors import near_match
from optimizer.objectives import DEFAULT_OBJECTIVES
from server.problems import fault, refuse

__all__ = ["JobOrder", "LimitsOrder", "MeasureOrder", "MemoryOrder", "SolveOrder", "parse_job", "read_json"]

_MAX_DEPTH = 32  # a system description needs 8; bounds what recurses over a body later
_SHOWN_CHARACTERS = 80  # of a value that is quoted back

Quantity = Annotated[str, Field(max_length=64)]
"""A number with its unit: "50ms", "20/s", "320KiB"."""

Word = Annotated[str, Field(min_length=1)]
OneOrMany = Word | Annotated[list[Word], Field(min_length=1)]
"""A word stands for a list of one."""


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
    """Board name (or processor key) by operator name or pattern."""
    forbid: dict[str, OneOrMany] = {}
    """Board names (or processor keys) by operator name or pattern."""
    colocate: list[Annotated[list[Word], Field(min_length=2)]] = []
    """Lists of operators, names or patterns, that share a processor."""
    rate: Quantity | None = None
    boards: Annotated[int, Field(ge=1)] | None = None
    max_link_bytes: Quantity | None = None
    max_accuracy_loss: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None


class SolveOrder(_Order):
    """A plan is wanted: the options of `optimizer solve`, each under its name. What they may say, the core knows."""

    kind: Literal["solve"]
    model: str
    """The id of an uploaded model, or "zoo:NAME"."""
    system: str | dict[str, Any]
    """The name of a ready system, or a system description as in a system file."""
    costs: Literal["roofline"] | dict[str, Any] = "roofline"
    """"roofline", or the content of a costs file."""
    limits: LimitsOrder = LimitsOrder()
    objectives: Annotated[list[Word], Field(min_length=1)] = list(DEFAULT_OBJECTIVES)
    """What spans the front."""
    prefer: Word = "throughput"
    precision: dict[str, OneOrMany] = {}
    """Allowed precisions, or "any", by board name or processor key."""
    sensitivity: list[Any] | None = None
    """The rows of a sensitivity table."""
    non_contiguous: bool = False
    replicate: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    time_limit: Quantity = "60s"
    workers: Annotated[int, Field(ge=1, le=256)] | None = None
    """Threads of CP-SAT."""
    gap: Quantity = "0%"
    reproducible: bool = False
    cost_uncertainty: Quantity | None = None
    start: Word | dict[str, Any] | None = None
    """The id of a solve job that is done, or the content of a plan.json, of the same model."""
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
    places: dict[str, list[ErrorDetails]] = {}
    for error in errors:
        places.setdefault(".".join(str(p) for p in _path(error)) or "the body", []).append(error)
    for where, found in places.items():
        yield fault(_path(found[0]), *_said(found, where))


def _path(error: ErrorDetails) -> list[str | int]:
    """Where in the body, without the labels that pydantic adds for the member of a union."""
    path = list(error["loc"])
    if path and path[0] in ("solve", "measure"):
        path = path[1:]
    return [p for p in path if not (p == "str" or str(p).startswith(_LABELS))]


def _said(errors: list[ErrorDetails], where: str) -> tuple[str, str, str]:
    """What to tell people, what was expected, and what was found. A value that fits none of several types is one
    fault."""
    error = errors[0]
    if error["type"] == "missing":
        return f"{where}: is missing.", "a value", "none"
    if error["type"] == "extra_forbidden":
        hint = near_match(str(error["loc"][-1]), _keys_beside(error))
        expected = f"one of {', '.join(_keys_beside(error))}"
        return f"{where}: is no known key.{' ' if hint else ''}{hint}", expected, str(error["loc"][-1])
    got = json.dumps(error["input"], ensure_ascii=False, default=str)
    shown = got if len(got) <= _SHOWN_CHARACTERS else got[: _SHOWN_CHARACTERS - 3] + "..."
    if error["type"] in ("union_tag_not_found", "union_tag_invalid"):
        expected = "an object whose kind is 'solve' or 'measure'"
        return f"{where}: expected {expected}.", expected, shown
    expected = ", or ".join(dict.fromkeys(e["msg"].removeprefix("Input should be ") for e in errors))
    return f"{where}: expected {expected}; got {shown}.", expected, shown


def _keys_beside(error: ErrorDetails) -> list[str]:
    """The keys that are known where an unknown one stands."""
    kind, *path = error["loc"]
    if kind == "measure":
        return list(MeasureOrder.model_fields)
    inner: dict[int, type[_Order]] = {1: SolveOrder, 2: LimitsOrder}
    return list(inner.get(len(path), MemoryOrder).model_fields)


_LABELS = ("dict[", "list[", "literal[", "constrained-")
"""How the labels begin that pydantic adds to a path for a member of a union."""


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")
