"""A System as plain JSON values and back, exactly: how plan files carry the bench they were made for."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from boards.board import System
from boards.check import check_system
from boards.errors import DescriptionError, Fault, near_match
from boards.faults import key_text

__all__ = ["system_from_dict", "system_to_dict"]

_ADAPTER: TypeAdapter[System] = TypeAdapter(System)


def system_to_dict(system: System) -> dict[str, Any]:
    """The fields of the system and all it holds; only dicts, lists, texts, numbers, booleans and None."""
    return _plain(system)  # type: ignore[no-any-return]


def system_from_dict(data: Mapping[str, Any], where: str = "system") -> System:
    """The system ``system_to_dict`` wrote; ``where`` names the file in messages. Raises DescriptionError."""
    try:
        text = json.dumps(data)
    except (TypeError, ValueError) as e:
        raise DescriptionError([Fault(f"not plain JSON values: {e}", file=where)]) from e
    try:
        # Strict JSON mode takes arrays for tuples and no text for a number.
        system = _ADAPTER.validate_json(text, strict=True)
    except ValidationError as e:
        raise DescriptionError(
            Fault(
                "not a usable value" if error["type"] != "missing" else "key is missing",
                file=where,
                key=key_text(error["loc"]),
                expected=error["msg"],
                got="nothing" if error["type"] == "missing" else str(error["input"]),
            )
            for error in e.errors(include_url=False)
        ) from e
    faults = list(_unknown_keys(data, system_to_dict(system), (), where))
    faults += [
        Fault(f.what, file=where, key=key_text(f.path), expected=f.expected, got=f.got, hint=f.hint)
        for f in check_system(system)
    ]
    if faults:
        raise DescriptionError(faults)
    return system


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def _unknown_keys(given: Any, known: Any, path: tuple[str | int, ...], where: str) -> Iterator[Fault]:
    if isinstance(given, Mapping) and isinstance(known, Mapping):
        for key, value in given.items():
            if key in known:
                yield from _unknown_keys(value, known[key], (*path, key), where)
                continue
            expected = f"one of {', '.join(known)}"
            hint = near_match(key, known)
            yield Fault(f"unknown key {key!r}", where, None, key_text((*path, key)), expected, key, hint)
    elif isinstance(given, list | tuple) and isinstance(known, list):
        for i, (value, other) in enumerate(zip(given, known, strict=True)):
            yield from _unknown_keys(value, other, (*path, i), where)
