"""The answers of a sweep as rows, and the files made of them: results.json, results.csv, index.html."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimizer.atomic import write_atomically
from optimizer.objectives import OBJECTIVES
from optimizer.plan import Certificate
from optimizer.plan_io import versions, write_json
from optimizer.plan_values import certificate_from_dict, score_from_dict
from optimizer.report_words import Claim, claim, proven_plan
from optimizer.sweep import Sweep
from optimizer.sweep_case import Case
from optimizer.sweep_store import Store

__all__ = ["RESULTS_SCHEMA", "Row", "SweepFiles", "rows", "write_sweep"]

RESULTS_SCHEMA = "edgecut/sweep-results/1"


@dataclass(frozen=True)
class Row:
    """One case as the page, the CSV and the JSON show it. Figures are None where there is no plan."""

    model: str
    system: str
    limits: str
    prefer: str
    seed: int
    status: str
    """"solved", "infeasible", "nothing found", "failed" or "open"."""
    proof: str = ""
    """Of the preferred objective: "proven", "bounded" or "heuristic"."""
    throughput_per_s: float | None = None
    latency_s: float | None = None
    energy_j: float | None = None
    gap: float | None = None
    """How far the plan may be from the best possible in the preferred objective; None for the knee."""
    link_bytes: int | None = None
    segments: int | None = None
    boards: tuple[str, ...] = ()
    """Boards that compute, in pipeline order."""
    fullest_board: str = ""
    ram_bytes: int | None = None
    ram_available_bytes: int | None = None
    seconds: float | None = None
    reasons: tuple[str, ...] = ()
    report: str = ""
    key: str = ""
    claim: str = ""
    """What is proven, in words."""
    front: tuple[tuple[float, float, float], ...] = ()
    """Throughput, latency and energy of the plans that are worth having."""

    @property
    def title(self) -> str:
        return f"{self.model} on {self.system}, {self.limits}, prefer {self.prefer}, seed {self.seed}"

    @property
    def ram_share(self) -> float | None:
        if self.ram_bytes is None or not self.ram_available_bytes:
            return None
        return self.ram_bytes / self.ram_available_bytes


@dataclass(frozen=True)
class SweepFiles:
    page: Path
    csv: Path
    json: Path


def write_sweep(sweep: Sweep, out: Path) -> SweepFiles:
    """Write results.json, results.csv and index.html, each whole or not at all. Raises InputError."""
    from optimizer.sweep_page import render_page  # templates take time to load

    found = rows(sweep, Store(out))
    files = SweepFiles(out / "index.html", out / "results.csv", out / "results.json")
    content = {
        "schema": RESULTS_SCHEMA,
        "name": sweep.grid.name,
        "versions": versions(),
        "cases": [dataclasses.asdict(row) for row in found],
    }
    write_json(files.json, content)
    write_atomically(files.csv, _csv(found))
    write_atomically(files.page, render_page(sweep, found))
    return files


def rows(sweep: Sweep, store: Store) -> tuple[Row, ...]:
    """A row a case, in the grid's order."""
    return tuple(_row(sweep, case, store) for case in sweep.grid.cases)


def _row(sweep: Sweep, case: Case, store: Store) -> Row:
    status = sweep.status(case)
    row = Row(case.graph.name, case.system.name, case.limits_name, case.prefer, case.seed, status, key=case.key)
    if status == "failed":
        return dataclasses.replace(row, reasons=(sweep.failures[case.key],))
    if status == "open":
        return row
    record = sweep.records[case.key]
    if status != "solved":
        return dataclasses.replace(row, reasons=tuple(record["reasons"]), seconds=record["seconds"])
    return _with_plan(row, record, store.report(case.key))


def _with_plan(row: Row, record: Mapping[str, Any], report: str) -> Row:
    score = record["score"]
    certificates = {o: certificate_from_dict(c) for o, c in record["certificate"].items()}
    said = _claim(row.prefer, certificates.get(row.prefer), record)
    board, memory = _fullest(score["memory_bytes"])
    return dataclasses.replace(
        row,
        proof=said.level,
        claim=said.headline,
        throughput_per_s=score["throughput_per_s"],
        latency_s=score["latency_s"],
        energy_j=score["energy_j"],
        gap=_gap(row.prefer, certificates.get(row.prefer), score),
        link_bytes=score["link_bytes"],
        segments=record["segments"],
        boards=tuple(record["boards"]),
        fullest_board=board,
        ram_bytes=memory["ram_bytes"],
        ram_available_bytes=memory["ram_available_bytes"],
        seconds=record["seconds"],
        report=report,
        front=tuple((t, latency, e) for t, latency, e in record["front"]),
    )


def _claim(prefer: str, certificate: Certificate | None, record: Mapping[str, Any]) -> Claim:
    if certificate is None:  # the knee, weights, an order: no objective of its own
        proven = proven_plan(record["plan_status"])
        return Claim("proven" if proven else "heuristic", str(record["plan_status"]) if proven else "not proven")
    return claim(prefer, certificate, score_from_dict(record["score"]))


def _gap(prefer: str, certificate: Certificate | None, score: Mapping[str, Any]) -> float | None:
    """(value - bound) / value of the minimised quantity, for this plan's own value."""
    if certificate is None or certificate.bound is None:
        return None
    value = OBJECTIVES[prefer].read(score_from_dict(score))
    return max(0.0, (value - certificate.bound) / value) if value > 0 else 0.0


def _fullest(memory: Mapping[str, Mapping[str, int]]) -> tuple[str, Mapping[str, int]]:
    """The board whose RAM is fullest."""
    return max(memory.items(), key=lambda item: item[1]["ram_bytes"] / max(1, item[1]["ram_available_bytes"]))


_COLUMNS = (
    "model", "system", "limits", "prefer", "seed", "status", "proof", "throughput_per_s", "latency_s", "energy_j",
    "gap", "link_bytes", "segments", "boards", "fullest_board", "ram_bytes", "ram_available_bytes", "seconds",
    "reasons", "report", "key",
)  # fmt: skip


def _csv(found: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows([*_cells(row)] for row in found)
    return text.getvalue()


def _cells(row: Row) -> Iterator[str]:
    for column in _COLUMNS:
        value = getattr(row, column)
        yield "" if value is None else "; ".join(value) if isinstance(value, tuple) else str(value)
