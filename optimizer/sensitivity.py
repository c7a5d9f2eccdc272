"""What each operator costs in accuracy at a precision: a table given as a file; losses of a plan add up.

The unit is the file's own (percent of accuracy, noise power, ...): the planner only adds and compares. That losses
add up is a model: the noise of quantized layers does, accuracy follows it moderately well.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from boards.errors import near_match
from optimizer.costs_io import read_text
from optimizer.errors import CostError
from optimizer.graph import Graph

__all__ = ["Sensitivity", "load_sensitivity", "loss_table", "sensitivity_from_rows", "sensitivity_to_rows"]

_COLUMNS = ("operator", "precision", "loss")
_PRECISIONS = ("fp32", "fp16", "int8")
_UNTOUCHED = "fp32"
"""The precision of the model as it is: no loss unless the file says so."""
_EVERY_OTHER = "*"
_NAMED = 5


@dataclass(frozen=True)
class Sensitivity:
    """Loss by (operator name, precision); the operator "*" stands for all that have no row of their own."""

    losses: Mapping[tuple[str, str], float]

    def loss(self, operator: str, precision: str) -> float | None:
        """The loss of one operator; None where nothing is said of it."""
        default = 0.0 if precision == _UNTOUCHED else None
        return self.losses.get((operator, precision), self.losses.get((_EVERY_OTHER, precision), default))


def load_sensitivity(path: str | Path) -> Sensitivity:
    """Read a table: CSV with the header operator,precision,loss, or JSON, a list of objects with these keys.

    Raises CostError for what cannot be read and for losses that are negative or not finite.
    """
    path = Path(path)
    text = read_text(path)
    if path.suffix.lower() == ".csv":
        return _collect(_csv_rows(text, path))
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as e:
        raise CostError(f"not JSON: {e}", where=str(path), expected="a sensitivity table (JSON or .csv)") from e
    return sensitivity_from_rows(data, str(path))


def sensitivity_from_rows(data: Any, where: str) -> Sensitivity:
    """The table of a list of objects {operator, precision, loss}. Raises CostError."""
    if not isinstance(data, list):
        raise CostError(
            "not a sensitivity table",
            where=where,
            expected='a list of objects such as {"operator": "/conv1/Conv", "precision": "int8", "loss": 0.02}',
            got=type(data).__name__,
        )
    return _collect((f"{where}: row {i + 1}", row) for i, row in enumerate(data))


def sensitivity_to_rows(sensitivity: Sensitivity) -> list[dict[str, object]]:
    """The inverse of ``sensitivity_from_rows``."""
    return [{"operator": o, "precision": p, "loss": loss} for (o, p), loss in sensitivity.losses.items()]


def _csv_rows(text: str, path: Path) -> Iterator[tuple[str, object]]:
    reader = csv.reader(text.splitlines())
    header = [name.strip() for name in next(reader, [])]
    if sorted(header) != sorted(_COLUMNS):
        raise CostError(
            "not a sensitivity table",
            where=f"{path}:1",
            expected=f"the header {','.join(_COLUMNS)}",
            got=",".join(header) or "an empty file",
        )
    for cells in reader:
        if not cells:
            continue
        place = f"{path}:{reader.line_num}"
        if len(cells) != len(header):
            raise CostError(
                "a row of another length", where=place, expected=f"{len(header)} cells", got=f"{len(cells)}"
            )
        row: dict[str, object] = {key: cell.strip() for key, cell in zip(header, cells, strict=True)}
        try:
            row["loss"] = float(str(row["loss"]))
        except ValueError as e:
            raise CostError("the loss is not a number", where=place, expected="a number", got=repr(row["loss"])) from e
        yield place, row


def _collect(rows: Iterator[tuple[str, object]]) -> Sensitivity:
    losses: dict[tuple[str, str], float] = {}
    for place, row in rows:
        operator, precision, loss = _row(place, row)
        if (operator, precision) in losses:
            raise CostError(f"a second row for {operator} at {precision}", where=place, expected="one row each")
        losses[operator, precision] = loss
    return Sensitivity(losses)


def _row(place: str, row: object) -> tuple[str, str, float]:
    if not isinstance(row, dict) or set(row) != set(_COLUMNS):
        got = f"keys {', '.join(map(str, row))}" if isinstance(row, dict) else type(row).__name__
        raise CostError("the row cannot be understood", where=place, expected=f"keys {', '.join(_COLUMNS)}", got=got)
    operator, precision, loss = (row[key] for key in _COLUMNS)
    if not isinstance(operator, str) or not operator:
        raise CostError("the operator is not usable", where=place, expected='a name, or "*"', got=repr(operator))
    if precision not in _PRECISIONS:
        raise CostError(
            "unknown precision", where=place, expected=f"one of {', '.join(_PRECISIONS)}", got=repr(precision)
        )
    is_number = isinstance(loss, int | float) and not isinstance(loss, bool)
    if not is_number or not math.isfinite(loss) or loss < 0:
        raise CostError(
            f"the loss of {operator} at {precision} is not usable",
            where=place,
            expected="a finite number, zero or more",
            got=repr(loss),
        )
    return operator, str(precision), float(loss)


def loss_table(sensitivity: Sensitivity, graph: Graph, precisions: Sequence[str]) -> npt.NDArray[np.float64]:
    """(n, q) loss of each operator at each processor's precision.

    Raises CostError for operators the model does not have, and for operators without a row at a precision in use
    (fp32 needs none).
    """
    strange = sorted({o for o, _ in sensitivity.losses if o != _EVERY_OTHER and o not in graph.operator_by_name})
    if strange:
        raise CostError(
            f"the sensitivity table speaks of operators that the model does not have: {_some(strange)}",
            expected="operator names as `optimizer inspect` prints them",
            hint=near_match(strange[0], graph.operator_by_name),
            option="sensitivity",
        )
    rows = [[sensitivity.loss(op.name, precision) for precision in precisions] for op in graph.operators]
    missing = sorted(
        {
            f"{op.name} at {precision}"
            for op, row in zip(graph.operators, rows, strict=True)
            for precision, loss in zip(precisions, row, strict=True)
            if loss is None
        }
    )
    if missing:
        raise CostError(
            f"the sensitivity table lacks {_some(missing)}",
            expected="one row for each operator and precision in use",
            hint='Add the rows, or one for the operator "*", which stands for all the others.',
            option="sensitivity",
        )
    return np.array(rows, dtype=np.float64).reshape(len(graph.operators), len(precisions))


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return "; ".join(names[:_NAMED]) + more
