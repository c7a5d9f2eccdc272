"""From orders, as clients write them, to what the core takes. Raises the core's own errors, with their option."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from boards.board import System
from boards.catalog import list_systems, load_system
from boards.errors import DescriptionError, Fault, UnitError, near_match
from boards.units import parse_bytes, parse_energy, parse_rate, parse_time
from optimizer.cli_options import parse_share
from optimizer.costs_io import costs_from_dict
from optimizer.errors import CostError, InputError, LimitError
from optimizer.problem import Limits
from optimizer.request import SolveRequest
from optimizer.sensitivity import Sensitivity, sensitivity_from_rows
from server.schemas import LimitsOrder, SolveOrder

__all__ = ["solve_request_of"]

_MAX_TIME_LIMIT_S = 3600.0

_Number = TypeVar("_Number", int, float)


def solve_request_of(order: SolveOrder, model: str, start: Path | Mapping[str, Any] | None = None) -> SolveRequest:
    """The request; ``model`` is a path or "zoo:NAME", ``start`` a plan.json or its content."""
    return SolveRequest(
        model=model,
        system=_system(order.system),
        costs=None if isinstance(order.costs, str) else costs_from_dict(order.costs, "costs"),
        limits=_limits(order.limits),
        objectives=tuple(dict.fromkeys(order.objectives)),
        prefer=order.prefer,
        seed=order.seed,
        time_limit_s=_time_limit_s(order),
        batch=order.batch,
        workers=order.workers,
        non_contiguous=order.non_contiguous,
        gap=_quantity("gap", order.gap, parse_share) or 0.0,
        reproducible=order.reproducible,
        start=start,
        cost_uncertainty=_quantity("cost_uncertainty", order.cost_uncertainty, parse_share),
        sensitivity=_sensitivity(order.sensitivity),
        precisions=tuple(f"{target}={'|'.join(_several(given))}" for target, given in order.precision.items()),
        replicate=order.replicate,
    )


def _several(given: str | list[str]) -> list[str]:
    return [given] if isinstance(given, str) else given


def _sensitivity(rows: list[Any] | None) -> Sensitivity | None:
    if rows is None:
        return None
    try:
        return sensitivity_from_rows(rows, "sensitivity")
    except CostError as e:
        e.option = "sensitivity"
        raise


def _system(given: str | dict[str, Any]) -> System:
    """A ready system by name (never by path), or a description as in a system file."""
    if isinstance(given, str):
        known = list_systems()
        if given not in known:
            raise InputError(
                "unknown system",
                where="system",
                expected=f"one of {', '.join(known)}, or a system description as an object",
                got=repr(given[:80]),
                hint=near_match(given, known),
                option="system",
            )
        return load_system(given)
    _refuse_files(given, "system")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "system.yaml"
        path.write_text(json.dumps(given), encoding="utf-8")
        try:
            return load_system(path)
        except DescriptionError as e:
            # JSON in one line: the key says where.
            raise DescriptionError(replace(fault, file="system", line=None) for fault in e.faults) from e


def _refuse_files(value: Any, key: str) -> None:
    """A description may build on entries of the catalog; files of the server are none of a client's."""
    if isinstance(value, list):
        for index, item in enumerate(value):
            _refuse_files(item, f"{key}[{index}]")
    if not isinstance(value, dict):
        return
    for name, item in value.items():
        if name in ("use", "medium") and isinstance(item, str) and item.endswith((".yaml", ".yml")):
            raise DescriptionError(
                [
                    Fault(
                        "a description sent to the server cannot use files",
                        key=f"{key}.{name}",
                        expected="the name of a catalog entry, or of an entry of this description",
                        got=item,
                        hint="Write the entry out in the description.",
                    )
                ]
            )
        _refuse_files(item, f"{key}.{name}")


def _limits(order: LimitsOrder) -> Limits:
    memory = order.max_memory.items()
    return Limits(
        max_latency_s=_quantity("limits.max_latency", order.max_latency, parse_time),
        min_throughput_per_s=_quantity("limits.min_throughput", order.min_throughput, parse_rate),
        max_energy_j=_quantity("limits.max_energy", order.max_energy, parse_energy),
        max_ram_bytes=_present({b: _quantity(f"limits.max_memory.{b}.ram", m.ram, parse_bytes) for b, m in memory}),
        max_flash_bytes=_present(
            {b: _quantity(f"limits.max_memory.{b}.flash", m.flash, parse_bytes) for b, m in memory}
        ),
        pins=order.pin,
        forbids=tuple((operator, board) for operator, boards in order.forbid.items() for board in _several(boards)),
        colocations=tuple(tuple(names) for names in order.colocate),
        rate_per_s=_quantity("limits.rate", order.rate, parse_rate),
        max_boards=order.boards,
        max_link_bytes=_quantity("limits.max_link_bytes", order.max_link_bytes, parse_bytes),
        max_accuracy_loss=order.max_accuracy_loss,
    )


def _quantity(key: str, text: str | None, parse: Callable[[str], _Number]) -> _Number | None:
    try:
        return None if text is None else parse(text)
    except UnitError as e:
        # "limits.max_memory.left.ram" is about the option max-memory
        option = key.removeprefix("limits.").split(".")[0].replace("_", "-")
        raise LimitError(e.what, where=key, expected=e.expected, got=e.got, option=option) from e


def _present(values: Mapping[str, int | None]) -> dict[str, int]:
    return {name: value for name, value in values.items() if value is not None}


def _time_limit_s(order: SolveOrder) -> float:
    seconds = _quantity("time_limit", order.time_limit, parse_time) or 0.0
    if not 0 < seconds <= _MAX_TIME_LIMIT_S:
        expected, got = "more than 0 s, at most 1 h", order.time_limit
        raise LimitError("not usable", where="time_limit", expected=expected, got=got, option="time-limit")
    return seconds
