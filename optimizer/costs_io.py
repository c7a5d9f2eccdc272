"""Cost tables as files: JSON (schema edgecut/costs/1), and CSV rows of operators.

Everything is checked on the way in, and a complaint names file, row, key, expected and got.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from boards.errors import near_match
from optimizer.atomic import write_atomically
from optimizer.costs import BoundaryCost, CostTable, LinkCost, OperatorCost, OperatorKey
from optimizer.errors import CostError

__all__ = [
    "COLUMNS",
    "PRECISIONS",
    "SCHEMA",
    "costs_from_dict",
    "costs_to_dict",
    "load_costs",
    "read_text",
    "save_costs",
]

SCHEMA = "edgecut/costs/1"
COLUMNS = ("operator", "processor", "precision", "time_s", "energy_j")
"""Columns of the CSV form; a sixth, ``provenance``, may follow."""

_TOP_KEYS = ("schema", "model_sha256", "operators", "boundaries", "links")
PRECISIONS = ("fp32", "fp16", "int8")
_MAX_FILE_BYTES = 2**28  # a million rows; anything larger is not a cost table

Row = Mapping[str, Any]
Key = TypeVar("Key", str, OperatorKey)
Cost = TypeVar("Cost")


def save_costs(table: CostTable, path: str | Path) -> None:
    """Write the table as JSON, whole or not at all. Raises InputError where it cannot be written."""
    write_atomically(Path(path), json.dumps(costs_to_dict(table), indent=1) + "\n")


def load_costs(path: str | Path) -> CostTable:
    """Read a table from .json, or from .csv with the columns ``COLUMNS``. Raises CostError."""
    path = Path(path)
    text = read_text(path)
    if path.suffix.lower() == ".csv":
        return _from_csv(text, path)
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise CostError(
            "not readable as JSON", where=str(path), expected=f"a cost table, schema {SCHEMA}", got=str(e)
        ) from e
    return costs_from_dict(data, str(path))


def read_text(path: Path) -> str:
    """The file's text. Raises CostError where it is missing, too large or not text."""
    expected = "a readable cost file"
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
    except OSError as e:
        got = e.strerror or type(e).__name__
        raise CostError("the cost file cannot be read", where=str(path), expected=expected, got=got) from e
    if len(data) > _MAX_FILE_BYTES:
        raise CostError("the cost file is too large", where=str(path), expected="at most 256 MiB", got="more")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        raise CostError("not a text file", where=str(path), expected=expected, got="other bytes") from e


def costs_to_dict(table: CostTable) -> dict[str, Any]:
    """The table as plain JSON values, rows in the table's order."""
    return {
        "schema": SCHEMA,
        "model_sha256": table.model_sha256,
        "operators": [
            {
                "operator": operator,
                "processor": processor,
                "precision": precision,
                "time_s": cost.time_s,
                "energy_j": cost.energy_j,
                "provenance": cost.provenance,
            }
            for (operator, processor, precision), cost in table.operators.items()
        ],
        "boundaries": [{"processor": key, **vars(cost)} for key, cost in table.boundaries.items()],
        "links": [{"link": name, **vars(cost)} for name, cost in table.links.items()],
    }


def costs_from_dict(data: object, where: str = "costs") -> CostTable:
    """The table that ``costs_to_dict`` wrote; ``where`` names the file in messages. Raises CostError."""
    if not isinstance(data, dict) or data.get("schema") != SCHEMA:
        got = repr(data.get("schema")) if isinstance(data, dict) else f"a JSON {type(data).__name__}"
        raise CostError("not a cost table", where=where, expected=f'an object with "schema": "{SCHEMA}"', got=got)
    _check_keys(data, _TOP_KEYS, ("operators",), where)
    sha = data.get("model_sha256")
    if sha is not None and not isinstance(sha, str):
        raise CostError("model_sha256 is not usable", where=where, expected="a text or null", got=repr(sha))
    return CostTable(
        operators=_collect(data, "operators", where, _operator),
        boundaries=_collect(data, "boundaries", where, _boundary),
        links=_collect(data, "links", where, _link),
        model_sha256=sha,
    )


def _collect(data: Row, name: str, where: str, read: Callable[[Row, str], tuple[Key, Cost]]) -> dict[Key, Cost]:
    rows = data.get(name, [])
    if not isinstance(rows, list):
        got = type(rows).__name__
        raise CostError(f"{name!r} is not usable", where=where, expected="a list of rows", got=got)
    return _by_key(((f"{where}: {name}[{i}]", row) for i, row in enumerate(rows)), read)


def _by_key(rows: Iterable[tuple[str, object]], read: Callable[[Row, str], tuple[Key, Cost]]) -> dict[Key, Cost]:
    """Rows, each with its place, by key; each key once."""
    costs: dict[Key, Cost] = {}
    places: dict[Key, str] = {}
    for place, row in rows:
        if not isinstance(row, dict):
            raise CostError("a row is not usable", where=place, expected="an object", got=type(row).__name__)
        key, cost = read(row, place)
        if key in costs:
            shown = " ".join(key) if isinstance(key, tuple) else str(key)
            got = f"a first one at {places[key]}"
            raise CostError(f"the row {shown} stands twice", where=place, expected="each row once", got=got)
        costs[key], places[key] = cost, place
    return costs


def _operator(row: Row, place: str) -> tuple[OperatorKey, OperatorCost]:
    _check_keys(row, (*COLUMNS, "provenance"), (*COLUMNS, "provenance"), place)
    precision = _text(row, "precision", place)
    if precision not in PRECISIONS:
        expected = f"one of {', '.join(PRECISIONS)}"
        raise CostError("unknown precision", where=f"{place}.precision", expected=expected, got=repr(precision))
    key = (_text(row, "operator", place), _processor(row, place), precision)
    time_s, energy_j = _number(row, "time_s", place), _number(row, "energy_j", place)
    return key, OperatorCost(time_s, energy_j, _text(row, "provenance", place))


def _boundary(row: Row, place: str) -> tuple[str, BoundaryCost]:
    keys = ("processor", "s_per_byte", "segment_s", "provenance")
    _check_keys(row, keys, keys, place)
    s_per_byte, segment_s = _number(row, "s_per_byte", place), _number(row, "segment_s", place)
    return _processor(row, place), BoundaryCost(s_per_byte, segment_s, _text(row, "provenance", place))


def _link(row: Row, place: str) -> tuple[str, LinkCost]:
    numbers = ("bandwidth_bytes_per_s", "setup_s", "latency_s", "send_s_per_byte", "receive_s_per_byte")
    keys = ("link", *numbers, "provenance")
    _check_keys(row, keys, keys, place)
    values = {key: _number(row, key, place) for key in numbers}
    if values["bandwidth_bytes_per_s"] == 0:
        where = f"{place}.bandwidth_bytes_per_s"
        raise CostError("a bandwidth of zero", where=where, expected="a number above zero", got="0")
    return _text(row, "link", place), LinkCost(**values, provenance=_text(row, "provenance", place))


def _check_keys(row: Row, known: Sequence[str], needed: Sequence[str], place: str) -> None:
    for key in row:
        if key not in known:
            hint, expected = near_match(str(key), known), f"one of {', '.join(known)}"
            raise CostError(f"unknown key {key!r}", where=place, expected=expected, got=str(key), hint=hint)
    for key in needed:
        if key not in row:
            got = f"keys {', '.join(row)}"
            raise CostError(f"key {key!r} is missing", where=place, expected=", ".join(needed), got=got)


def _text(row: Row, key: str, place: str) -> str:
    value = row[key]
    if not isinstance(value, str) or not value:
        got = repr(value)
        raise CostError(f"{key} is not usable", where=f"{place}.{key}", expected="a text", got=got)
    return value


def _processor(row: Row, place: str) -> str:
    key = _text(row, "processor", place)
    board, slash, name = key.partition("/")
    if not (board and slash and name):
        where, expected = f"{place}.processor", "a processor key such as left/cpu"
        raise CostError("not a processor key", where=where, expected=expected, got=repr(key))
    return key


def _number(row: Row, key: str, place: str) -> float:
    value = row[key]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:
        expected = "a finite number, zero or more"
        raise CostError(f"{key} is not usable", where=f"{place}.{key}", expected=expected, got=repr(value))
    return float(value)


def _from_csv(text: str, path: Path) -> CostTable:
    reader = csv.reader(text.splitlines())
    header = [name.strip() for name in next(reader, [])]
    if header not in ([*COLUMNS], [*COLUMNS, "provenance"]):
        raise CostError(
            "not a cost table",
            where=f"{path}:1",
            expected=f"the header {','.join(COLUMNS)} and perhaps provenance",
            got=",".join(header) or "an empty file",
            hint="Costs by layer of one processor are read by the import model instead.",
        )
    rows = ((reader.line_num, cells) for cells in reader if cells)
    return CostTable(operators=_by_key(_csv_rows(rows, header, path), _operator))


def _csv_rows(
    rows: Iterable[tuple[int, list[str]]], header: list[str], path: Path
) -> Iterator[tuple[str, dict[str, object]]]:
    for line, cells in rows:
        place = f"{path}:{line}"
        if len(cells) != len(header):
            expected, got = f"{len(header)} cells, as in the header", str(len(cells))
            raise CostError("a row of another length", where=place, expected=expected, got=got)
        row: dict[str, object] = {key: cell.strip() for key, cell in zip(header, cells, strict=True)}
        for key in ("time_s", "energy_j"):
            row[key] = _csv_number(str(row[key]), f"{place}.{key}")
        row["provenance"] = row.get("provenance") or f"import: {path.name}:{line}"
        yield place, row


def _csv_number(cell: str, place: str) -> float:
    try:
        return float(cell)
    except ValueError as e:
        raise CostError("not a number", where=place, expected="a number with a decimal point", got=repr(cell)) from e
