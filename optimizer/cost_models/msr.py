"""Reader of the JSON instances of Tarnawski et al. ("dnn-partitioning", NeurIPS 2020), throughput semantics."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import networkx as nx

from optimizer.errors import CostError
from optimizer.max_load import LoadNode, MaxLoadProblem

__all__ = ["load_msr"]

_SAME_COST = 1e-6
"""The authors' own tolerance between the costs of the edges that leave one node."""


def load_msr(path: str | Path) -> MaxLoadProblem:
    """The instance in the file, named by its folder and file. Raises CostError where the file cannot be used."""
    path = Path(path)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise CostError("the file cannot be read", where=str(path), got=e.strerror or str(e)) from e
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as e:
        raise CostError("this is no JSON", where=str(path), got=str(e)) from e
    if not isinstance(data, dict):
        raise CostError("the file holds no instance", where=str(path), expected="an object", got=type(data).__name__)
    reader = _Reader(str(path))
    rows = [_Row(reader, "nodes", i, row) for i, row in enumerate(reader.items(data, "nodes"))]
    index = _indices(reader, rows)
    edges, out_ms = _edges(reader, data, index)
    accelerators = reader.count(data, "maxFPGAs")
    cpus = reader.count(data, "maxCPUs")
    if accelerators + cpus == 0:
        raise CostError("there is no device", where=str(path), expected="maxFPGAs + maxCPUs of at least 1", got="0")
    nodes = tuple(_node(row, out_ms.get(i, 0.0)) for i, row in enumerate(rows))
    _check_acyclic(str(path), nodes, edges)
    return MaxLoadProblem(
        name=f"{path.parent.name}/{path.stem}" if path.parent.name else path.stem,
        nodes=nodes,
        edges=edges,
        accelerators=accelerators,
        cpus=cpus,
        memory_bytes=reader.number(data, "maxSizePerFPGA", "maxSizePerFPGA"),
    )


class _Reader:
    """Checked access; every refusal names the file and the place."""

    def __init__(self, where: str) -> None:
        self.where = where

    def refuse(self, what: str, expected: str, got: object) -> CostError:
        text = repr(got)
        return CostError(what, where=self.where, expected=expected, got=text if len(text) <= 60 else text[:57] + "...")

    def items(self, data: dict[str, Any], key: str) -> list[Any]:
        value = data.get(key)
        if not isinstance(value, list):
            raise self.refuse(f"{key} is missing or no list", "a list", value)
        return value

    def number(self, data: dict[str, Any], key: str, label: str) -> float:
        value = data.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.refuse(f"{label} is missing or no number", "a number that is not negative", value)
        try:
            number = float(value)
        except OverflowError as e:
            raise self.refuse(f"{label} is out of range", "a number that is not negative", value) from e
        if not (math.isfinite(number) and number >= 0):
            raise self.refuse(f"{label} is out of range", "a finite number that is not negative", value)
        return number

    def integer(self, data: dict[str, Any], key: str, label: str) -> int:
        value = data.get(key)
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or value != value
            or value
            in (
                math.inf,
                -math.inf,
            )
        ):
            raise self.refuse(f"{label} is missing or no integer", "an integer", value)
        if int(value) != value:
            raise self.refuse(f"{label} is no integer", "an integer", value)
        return int(value)

    def count(self, data: dict[str, Any], key: str) -> int:
        value = self.integer(data, key, key)
        if not 0 <= value <= 10_000:
            raise self.refuse(f"{key} is out of range", "0 to 10000", value)
        return value

    def flag(self, data: dict[str, Any], key: str, label: str) -> bool:
        value = data.get(key)
        if value not in (0, 1) or not isinstance(value, int):
            raise self.refuse(f"{label} is missing or no yes or no", "true, false, 1 or 0", value)
        return bool(value)


class _Row:
    """One entry of a list of the file."""

    def __init__(self, reader: _Reader, key: str, number: int, value: Any) -> None:
        self.reader, self.place = reader, f"{key}[{number}]"
        if not isinstance(value, dict):
            raise reader.refuse(f"{self.place} is no object", "an object", value)
        self.value: dict[str, Any] = value

    def number(self, key: str) -> float:
        return self.reader.number(self.value, key, f"{self.place}.{key}")

    def integer(self, key: str) -> int:
        return self.reader.integer(self.value, key, f"{self.place}.{key}")

    def flag(self, key: str) -> bool:
        return self.reader.flag(self.value, key, f"{self.place}.{key}")


def _indices(reader: _Reader, rows: list[_Row]) -> dict[int, int]:
    index: dict[int, int] = {}
    for i, row in enumerate(rows):
        if index.setdefault(row.integer("id"), i) != i:
            raise reader.refuse(f"{row.place}.id is used twice", "one node an id", row.value["id"])
    if not index:
        raise reader.refuse("there are no nodes", "at least one node", [])
    return index


def _node(row: _Row, out_ms: float) -> LoadNode:
    return LoadNode(
        name=str(row.value.get("name", row.value["id"])),
        accelerator_ms=row.number("fpgaLatency"),
        cpu_ms=row.number("cpuLatency"),
        size_bytes=row.number("size") if row.value.get("size") is not None else 0.0,
        out_ms=out_ms,
        supported=row.flag("supportedOnFpga"),
        backward=row.flag("isBackwardNode") if "isBackwardNode" in row.value else False,
        colocation=row.integer("colorClass") if row.value.get("colorClass") is not None else None,
    )


def _edges(
    reader: _Reader, data: dict[str, Any], index: dict[int, int]
) -> tuple[tuple[tuple[int, int], ...], dict[int, float]]:
    edges: dict[tuple[int, int], None] = {}
    out_ms: dict[int, float] = {}
    for i, value in enumerate(reader.items(data, "edges")):
        row = _Row(reader, "edges", i, value)
        ends = []
        for key in ("sourceId", "destId"):
            node = row.integer(key)
            if node not in index:
                raise reader.refuse(f"{row.place}.{key} names no node", "the id of a node", node)
            ends.append(index[node])
        cost = row.number("cost")
        if abs(out_ms.setdefault(ends[0], cost) - cost) > _SAME_COST:
            raise reader.refuse(
                f"{row.place}.cost differs from that of another edge that leaves node {row.value['sourceId']}",
                f"{out_ms[ends[0]]} (one output a node)",
                cost,
            )
        edges[ends[0], ends[1]] = None
    return tuple(edges), out_ms


def _check_acyclic(where: str, nodes: tuple[LoadNode, ...], edges: tuple[tuple[int, int], ...]) -> None:
    graph = nx.DiGraph(edges)
    if nx.is_directed_acyclic_graph(graph):
        return
    cycle = [nodes[u].name for u, _ in nx.find_cycle(graph)]
    shown = " -> ".join([*cycle[:6], *(["..."] if len(cycle) > 6 else [cycle[0]])])
    raise CostError("the edges form a cycle", where=where, expected="an acyclic graph", got=shown)
