"""Solve time and memory against operators and against boards: a table, JSON, and a page with the curves.

    python -m benchmarks.growth [--json FILE] [--page growth.html]

Random chains over boards of four types on one switch (see benchmarks.many_boards), throughput only. Each case is a
process of its own; its memory is the largest resident size, imports and model building included.
"""

from __future__ import annotations

import argparse
import html
import json
import math
import multiprocessing
import resource
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmarks.many_boards import Case, random_chain
from optimizer.atomic import write_atomically
from optimizer.plan import Front
from optimizer.search.certify import PROVEN_GAP
from optimizer.solve import SolveOptions, solve
from optimizer.versions import versions

OPERATORS = (100, 300, 1000, 3000)
BOARDS = (2, 4, 8, 16, 32, 64)
_FIXED_BOARDS, _FIXED_OPERATORS = 16, 1000
_TYPES = 4
_TIME_LIMIT_S = 30.0
_LEAST = 1e-3
"""What a logarithmic axis shows for less."""
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1b1f24; max-width: 1060px; margin: 2rem auto; padding: 0 1rem }
.charts { display: flex; flex-wrap: wrap; gap: 1.5rem } figure { flex: 1 1 min(440px, 100%); margin: 0 }
.table { overflow-x: auto }
figcaption { font-weight: 600; margin-bottom: .4rem } svg { width: 100%; height: auto; font-size: 12px }
svg text { fill: #444 } svg .label { font-weight: 600 }
svg .end { text-anchor: end } svg .middle { text-anchor: middle }
svg .value { fill: #1f5fa8 } svg .grid { stroke: #e2e5e9; fill: none }
svg .curve { stroke: #1f5fa8; stroke-width: 2; fill: none } svg circle { fill: #1f5fa8 }
table { border-collapse: collapse; margin-top: 1.5rem; font-size: 13px }
td, th { padding: .25rem .7rem; text-align: right }
td:last-child, th:last-child { text-align: left } tbody tr { border-top: 1px solid #e2e5e9 }
"""
Row = dict[str, Any]


def measure(operators: int, boards: int) -> Row:
    """One case, in this process."""
    begin = time.monotonic()
    problem = random_chain(Case(operators, boards, min(_TYPES, boards), _TIME_LIMIT_S), seed=0)
    built = time.monotonic()
    front = solve(problem, SolveOptions(objectives=("throughput",), time_limit_s=_TIME_LIMIT_S))
    row: Row = {
        "operators": operators,
        "boards": boards,
        "build_s": built - begin,
        "solve_s": time.monotonic() - built,
        "memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    if isinstance(front, Front):
        certificate = front.certificates["throughput"]
        row |= {"gap": certificate.gap, "status": certificate.status, "method": certificate.method}
    return row


def apart(operators: int, boards: int) -> Row:
    """One case in a fresh process, so that memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (operators, boards))


def page(rows: Sequence[Row], versions: str) -> str:
    """A page that needs nothing else: the curves against operators and against boards, and the figures as a table."""
    by_operators = sorted((r for r in rows if r["boards"] == _FIXED_BOARDS), key=lambda r: r["operators"])
    by_boards = sorted((r for r in rows if r["operators"] == _FIXED_OPERATORS), key=lambda r: r["boards"])
    charts = [
        _chart("operators", by_operators, f"Against operators, on {_FIXED_BOARDS} boards of {_TYPES} types"),
        _chart("boards", by_boards, f"Against boards of up to {_TYPES} types, {_FIXED_OPERATORS:,} operators"),
    ]
    keys = ("operators", "boards", "build_s", "solve_s", "memory_mb", "gap", "status", "method")
    head = "".join(f"<th>{html.escape(k.replace('_', ' ').replace('mb', 'MB'))}</th>" for k in keys)
    body = "\n".join("<tr>" + "".join(f"<td>{html.escape(_cell(k, r))}</td>" for k in keys) + "</tr>" for r in rows)
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'><title>Growth of the search</title>"
        f"<style>{_STYLE}</style></head><body><h1>Growth of the search</h1>"
        "<p>Least period of random chains on one switch, from a problem in memory to the proof. "
        "Both axes are logarithmic; memory is the largest resident size of the process.</p>"
        f"<div class='charts'>{''.join(charts)}</div>"
        f"<div class='table'><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
        f"<p>{html.escape(versions)}</p>"
        "</body></html>\n"
    )


def _cell(key: str, row: Row) -> str:
    value = row.get(key)
    if key == "gap":
        return "none" if value is None else "0" if value <= PROVEN_GAP else f"{value:.2%}"
    if isinstance(value, float):
        return f"{value:.0f}" if key == "memory_mb" else f"{value:.2f}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def _chart(x: str, rows: Sequence[Row], title: str) -> str:
    """Two curves over one another, each with an axis of its own: seconds and megabytes."""
    xs = [math.log10(r[x]) for r in rows]
    parts = [f"<figure><figcaption>{title}</figcaption><svg viewBox='0 0 460 430' role='img'>"]
    for place, (key, label) in enumerate((("solve_s", "solve time, s"), ("memory_mb", "memory, MB"))):
        parts += _curve(xs, [max(r[key], _LEAST) for r in rows], [r[x] for r in rows], 30 + 205 * place, label, x)
    return "\n".join([*parts, "</svg></figure>"])


def _curve(
    xs: Sequence[float], values: Sequence[float], ticks: Sequence[int], top: int, label: str, x: str
) -> Iterator[str]:
    left, width, height = 62, 370, 130
    ys = [math.log10(v) for v in values]
    low, high = math.floor(min(ys)), max(math.ceil(max(ys)), math.floor(min(ys)) + 1)
    span = (max(xs) - min(xs)) or 1.0

    def at(px: float, py: float) -> tuple[float, float]:
        return left + 20 + (px - min(xs)) / span * (width - 20), top + height - (py - low) / (high - low) * height

    yield f"<text x='{left}' y='{top - 10}' class='label'>{label}</text>"
    for power in range(low, high + 1):
        _, py = at(xs[0], power)
        yield f"<path d='M{left},{py:.1f} h{width}' class='grid'/>"
        yield f"<text x='{left - 7}' y='{py + 4:.1f}' class='end'>{10.0**power:g}</text>"
    points = [at(px, py) for px, py in zip(xs, ys, strict=True)]
    yield f"<path d='M{' L'.join(f'{px:.1f},{py:.1f}' for px, py in points)}' class='curve'/>"
    for (px, py), value, tick in zip(points, values, ticks, strict=True):
        yield f"<circle cx='{px:.1f}' cy='{py:.1f}' r='3.5'/>"
        yield f"<text x='{px:.1f}' y='{py - 8:.1f}' class='middle value'>{value:.3g}</text>"
        yield f"<text x='{px:.1f}' y='{top + height + 17}' class='middle'>{tick:,}</text>"
    yield f"<text x='{left + width}' y='{top + height + 32}' class='end'>{x}</text>"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--page", type=Path, default=Path("growth.html"))
    given = parser.parse_args()
    cases = dict.fromkeys([*((n, _FIXED_BOARDS) for n in OPERATORS), *((_FIXED_OPERATORS, k) for k in BOARDS)])
    cases[max(OPERATORS), max(BOARDS)] = None
    rows = []
    print(f"{'operators':>9} {'boards':>6} {'build s':>8} {'solve s':>8} {'memory MB':>9} {'gap':>8}  status, method")
    for operators, boards in cases:
        row = apart(operators, boards)
        rows.append(row)
        print(
            f"{operators:>9} {boards:>6} {row['build_s']:8.2f} {row['solve_s']:8.2f} {row['memory_mb']:9.0f} "
            f"{_cell('gap', row):>8}  {row.get('status', 'none')}, {row.get('method', '')}",
            flush=True,
        )
    made_with = ", ".join(f"{name} {version}" for name, version in versions().items())
    write_atomically(given.page, page(rows, made_with))
    print(f"page  {given.page}")
    if given.json:
        write_atomically(given.json, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
