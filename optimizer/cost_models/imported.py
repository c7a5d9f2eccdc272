"""Costs that somebody else made: a CSV of one processor's layers, or JSON and CSV tables of ours.

A layer CSV has a name, a time and an energy column with units in brackets in the header, as the ancestor
CNNParted writes them (``No.;Layer;Latency [ms];Energy [mJ]``). There, operators without a row cost 0: its
accelerator models price convolutions and fully connected layers only. That is kept, and said in the
provenance; ``missing="refuse"`` refuses such a file instead.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from boards.board import ProcessorRef, System
from boards.errors import UnitError, near_match
from boards.units import ENERGY, TIME, Quantity
from optimizer.costs import CostTable, OperatorCost, OperatorKey, default_precision, require_rows
from optimizer.costs_io import COLUMNS, load_costs, read_text
from optimizer.errors import CostError
from optimizer.graph import Graph

__all__ = ["LayerColumns", "import_costs"]

_UNIT = re.compile(r"\[([^\]]+)\]")
_SEPARATORS = (";", ",", "\t")


@dataclass(frozen=True)
class LayerColumns:
    """Header names of a layer CSV; those of time and energy carry their unit in brackets."""

    layer: str = "Layer"
    time: str = "Latency [ms]"
    energy: str = "Energy [mJ]"


@dataclass(frozen=True)
class _Layer:
    name: str
    line: int
    time_s: float
    energy_j: float


def import_costs(
    path: str | Path,
    graph: Graph,
    system: System,
    *,
    processor: str | None = None,
    precision: str | None = None,
    columns: LayerColumns | None = None,
    missing: Literal["zero", "refuse"] = "zero",
) -> CostTable:
    """The file's costs for this graph.

    A layer CSV needs ``processor`` (a key "board/processor") and gives its rows; ``merge_costs`` joins those of
    several. ``precision`` is the processor's default if None. A table of ours must hold every row that the
    graph and the system need. Raises CostError.
    """
    path = Path(path)
    if path.suffix.lower() == ".json" or _has_our_header(path):
        table = load_costs(path)
        require_rows(table, graph, system, str(path))
        return table
    ref = _processor(system, processor, path)
    rows = {layer.name: layer for layer in _layers(path, columns or LayerColumns())}
    _check_layers(rows, graph, path)
    absent = [op.name for op in graph.operators if op.name not in rows]
    if absent and missing == "refuse":
        more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
        raise CostError(
            f"rows are missing: {'; '.join(absent[:5])}{more}",
            where=str(path),
            expected="one row for each operator",
            got=f"{len(rows)} rows for {len(graph.operators)} operators",
            hint='Add the rows, or let operators without one cost 0 (missing="zero").',
        )
    chosen = precision or default_precision(ref.processor)
    return CostTable(dict(_rows(graph, ref.key, chosen, rows, path)), model_sha256=graph.sha256)


def _rows(
    graph: Graph, key: str, precision: str, rows: dict[str, _Layer], path: Path
) -> Iterator[tuple[OperatorKey, OperatorCost]]:
    free = OperatorCost(0.0, 0.0, f"import: {path.name} has no row, counted as 0")
    for op in graph.operators:
        layer = rows.get(op.name)
        if layer is None:
            yield (op.name, key, precision), free
        else:
            source = f"import: {path.name}:{layer.line}"
            yield (op.name, key, precision), OperatorCost(layer.time_s, layer.energy_j, source)


def _processor(system: System, key: str | None, path: Path) -> ProcessorRef:
    known = {ref.key: ref for ref in system.processors}
    if key in known:
        return known[key]
    raise CostError(
        "which processor a layer file is for must be said" if key is None else f"unknown processor {key!r}",
        where=str(path),
        expected=f"one of {', '.join(known)}",
        got="none" if key is None else key,
        hint="" if key is None else near_match(key, known),
    )


def _check_layers(rows: dict[str, _Layer], graph: Graph, path: Path) -> None:
    """Every row must be of an operator: a name that is not there means another model or another exporter."""
    strange = [layer for layer in rows.values() if layer.name not in graph.operator_by_name]
    if strange:
        first = strange[0]
        raise CostError(
            f"{len(strange)} of {len(rows)} layers are no operators of the model, first {first.name!r}",
            where=f"{path}:{first.line}",
            expected=f"operator names of {graph.source}, as `optimizer inspect` prints them",
            got=first.name,
            hint=near_match(first.name, graph.operator_by_name),
        )


def _has_our_header(path: Path) -> bool:
    first = read_text(path).partition("\n")[0]
    return [cell.strip() for cell in first.split(",")][: len(COLUMNS)] == list(COLUMNS)


def _layers(path: Path, columns: LayerColumns) -> Iterator[_Layer]:
    lines = read_text(path).splitlines()
    header_line = lines[0] if lines else ""
    separator = max(_SEPARATORS, key=header_line.count)
    reader = csv.DictReader(lines, delimiter=separator)
    header = [name.strip() for name in reader.fieldnames or ()]
    for wanted in (columns.layer, columns.time, columns.energy):
        if wanted not in header:
            raise CostError(
                f"column {wanted!r} is missing",
                where=f"{path}:1",
                expected=f"the columns {columns.layer}, {columns.time}, {columns.energy}",
                got=", ".join(header) or "an empty file",
                hint=near_match(wanted, header),
            )
    reader.fieldnames = header
    time_unit, energy_unit = _unit(columns.time, TIME, path), _unit(columns.energy, ENERGY, path)
    seen: dict[str, int] = {}
    for cells in reader:
        line = reader.line_num
        name = (cells[columns.layer] or "").strip()
        if name in seen:
            got = f"a first one in line {seen[name]}"
            raise CostError(f"layer {name!r} stands twice", where=f"{path}:{line}", expected="once", got=got)
        seen[name] = line
        yield _Layer(
            name,
            line,
            _figure(cells[columns.time], time_unit, TIME, f"{path}:{line}, {columns.time}"),
            _figure(cells[columns.energy], energy_unit, ENERGY, f"{path}:{line}, {columns.energy}"),
        )


def _unit(column: str, quantity: Quantity, path: Path) -> str:
    match = _UNIT.search(column)
    if match is None or match.group(1) not in quantity.factors:
        raise CostError(
            f"column {column!r} has no unit of {quantity.name}",
            where=f"{path}:1",
            expected=f"one of [{'], ['.join(quantity.written)}] in its name",
            got=match.group(0) if match else "none",
        )
    return match.group(1)


def _figure(cell: str | None, unit: str, quantity: Quantity, where: str) -> float:
    text = (cell or "").strip()
    try:
        return float(quantity.parse(text + unit))
    except UnitError as e:
        raise CostError(e.what, where=where, expected=f"a number in {unit}, zero or more", got=repr(text)) from e
