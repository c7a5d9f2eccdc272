"""Solve time and memory against operators and against boards, as a table, JSON and curves.

    python -m benchmarks.growth [--json FILE] [--svg FILE]

Random chains over boards of four types on one switch (see benchmarks.many_boards), throughput only. Each case is a
process of its own; its memory is the largest resident size, imports and model building included.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import resource
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.many_boards import Case, random_chain
from optimizer.plan import Front
from optimizer.solve import SolveOptions, solve

OPERATORS = (100, 300, 1000, 3000)
BOARDS = (2, 4, 8, 16, 32, 64)
_FIXED_BOARDS, _FIXED_OPERATORS = 16, 1000
_TYPES = 4
_TIME_LIMIT_S = 30.0


def measure(operators: int, boards: int) -> dict[str, Any]:
    """One case, in this process."""
    begin = time.monotonic()
    problem = random_chain(Case(operators, boards, min(_TYPES, boards), _TIME_LIMIT_S), seed=0)
    built = time.monotonic()
    front = solve(problem, SolveOptions(objectives=("throughput",), time_limit_s=_TIME_LIMIT_S))
    row: dict[str, Any] = {
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


def apart(operators: int, boards: int) -> dict[str, Any]:
    """One case in a fresh process, so that memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (operators, boards))


def curves(rows: Sequence[dict[str, Any]]) -> str:
    """SVG: four panels, solve time and memory against operators and boards, both axes logarithmic."""
    by_operators = [r for r in rows if r["boards"] == _FIXED_BOARDS]
    by_boards = [r for r in rows if r["operators"] == _FIXED_OPERATORS]
    panels = [
        _panel(0, 0, "operators", "solve_s", "solve time, s", sorted(by_operators, key=lambda r: r["operators"])),
        _panel(1, 0, "boards", "solve_s", "solve time, s", sorted(by_boards, key=lambda r: r["boards"])),
        _panel(0, 1, "operators", "memory_mb", "memory, MB", sorted(by_operators, key=lambda r: r["operators"])),
        _panel(1, 1, "boards", "memory_mb", "memory, MB", sorted(by_boards, key=lambda r: r["boards"])),
    ]
    style = "font-family='sans-serif' font-size='12' fill='none'"
    head = f"<svg xmlns='http://www.w3.org/2000/svg' width='760' height='520' {style}>"
    return "\n".join([head, "<rect width='760' height='520' fill='white'/>", *panels, "</svg>"]) + "\n"


def _panel(column: int, row: int, x: str, y: str, label: str, rows: Sequence[dict[str, Any]]) -> str:
    left, top, width, height = 60 + 370 * column, 35 + 250 * row, 280, 160
    xs = [math.log10(r[x]) for r in rows]
    ys = [math.log10(max(r[y], 1e-3)) for r in rows]
    low, high = math.floor(min(ys)), math.ceil(max(ys) + 1e-9)
    span = max(xs) - min(xs) or 1.0

    def at(px: float, py: float) -> tuple[float, float]:
        return left + (px - min(xs)) / span * width, top + height - (py - low) / max(1, high - low) * height

    points = [at(px, py) for px, py in zip(xs, ys, strict=True)]
    parts = [f"<text x='{left}' y='{top - 10}' fill='black'>{label} against {x}</text>"]
    for power in range(low, high + 1):
        _, py = at(xs[0], power)
        parts.append(f"<path d='M{left},{py:.1f} h{width}' stroke='#ddd'/>")
        parts.append(f"<text x='{left - 6}' y='{py + 4:.1f}' text-anchor='end' fill='black'>{10.0**power:g}</text>")
    parts.append(f"<path d='M{' L'.join(f'{px:.1f},{py:.1f}' for px, py in points)}' stroke='#1f5fa8'/>")
    for (px, py), r in zip(points, rows, strict=True):
        parts.append(f"<circle cx='{px:.1f}' cy='{py:.1f}' r='3' fill='#1f5fa8'/>")
        parts.append(f"<text x='{px:.1f}' y='{top + height + 16}' text-anchor='middle' fill='black'>{r[x]}</text>")
    return "\n".join(parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path, default=Path("growth.svg"))
    given = parser.parse_args()
    cases = dict.fromkeys([*((n, _FIXED_BOARDS) for n in OPERATORS), *((_FIXED_OPERATORS, k) for k in BOARDS)])
    cases[max(OPERATORS), max(BOARDS)] = None
    rows = []
    print(f"{'operators':>9} {'boards':>6} {'build s':>8} {'solve s':>8} {'memory MB':>9} {'gap':>8}  status, method")
    for operators, boards in cases:
        row = apart(operators, boards)
        rows.append(row)
        gap = "none" if row.get("gap") is None else "0" if row["gap"] <= 1e-4 else f"{row['gap']:.2%}"
        print(
            f"{operators:>9} {boards:>6} {row['build_s']:8.2f} {row['solve_s']:8.2f} {row['memory_mb']:9.0f} {gap:>8}"
            f"  {row.get('status', 'none')}, {row.get('method', '')}",
            flush=True,
        )
    given.svg.write_text(curves(rows), encoding="utf-8")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
