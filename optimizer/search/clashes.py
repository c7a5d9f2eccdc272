"""Why nothing is feasible: each limit held against the best that is possible without the other limits."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace

from optimizer.infeasible import Clash
from optimizer.plan import MemoryUse, Plan
from optimizer.problem import Limits, Problem
from optimizer.search.cpsat import Budget, prove
from optimizer.search.order_dp import order_dp_candidates
from optimizer.search.pool import Pool

__all__ = ["find_clashes"]


def find_clashes(problem: Problem, pool: Pool, time_limit_s: float, seed: int) -> tuple[Clash, ...]:
    """Limits that no plan meets even alone; where each can be met alone, the limits together."""
    deadline = time.monotonic() + time_limit_s
    clashes = list(_memory_clashes(problem, pool))
    if not clashes:
        clashes = list(_single_limits(problem, deadline, seed))
    if not clashes:
        clashes = [_together(problem, pool)]
    return tuple(clashes)


def _memory_clashes(problem: Problem, pool: Pool) -> Iterator[Clash]:
    """Boards that overflow in the plan that overflows least, when memory alone rules out every plan seen."""
    plans = [p for p in pool.seen() if p.score.memory_bytes]
    if not plans or any(_overflow(p) == 0 for p in plans):
        return
    least = min(plans, key=_overflow)
    for name, use in least.score.memory_bytes.items():
        for kind, needed, available in _needs(use):
            if available is not None and needed > available:
                yield Clash(
                    limit=f"{kind} of {name}",
                    demand=float(needed),
                    bound=float(available),
                    unit="B",
                    text=(
                        f"Board {name} is too small: it needs {_bytes(needed)} of {kind} in the plan that overflows "
                        f"least, {_bytes(available)} available."
                    ),
                    help=(
                        f"{_bytes(needed - available)} more {kind} on {name}, another board, or int8 weights "
                        "would help."
                    ),
                )


def _needs(use: MemoryUse) -> tuple[tuple[str, int, int | None], ...]:
    return (
        ("RAM", use.ram_bytes, use.ram_available_bytes),
        ("flash", use.flash_bytes, use.flash_available_bytes),
    )


def _overflow(plan: Plan) -> int:
    return sum(
        max(0, needed - available)
        for use in plan.score.memory_bytes.values()
        for _, needed, available in _needs(use)
        if available is not None
    )


def _bytes(count: int) -> str:
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise ValueError(count)


def _single_limits(problem: Problem, deadline: float, seed: int) -> Iterator[Clash]:
    limits = problem.limits
    free = Limits(max_ram_bytes=limits.max_ram_bytes, max_flash_bytes=limits.max_flash_bytes)
    cases = (
        ("--max-latency", "latency", limits.max_latency_s, "s"),
        ("--min-throughput", "throughput", limits.max_period_s, "s"),
        ("--max-energy", "energy", limits.max_energy_j, "J"),
    )
    for option, objective, limit, unit in cases:
        if limit is None:
            continue
        alone = Pool(replace(problem, limits=replace(free, pins=limits.pins, max_boards=limits.max_boards)))
        for assignment in order_dp_candidates(alone.problem):
            alone.score(assignment)
        budget = Budget(min(deadline, time.monotonic() + 10.0), 2, seed)
        bound = prove(alone, objective, budget)
        best = alone.best_value(objective)
        if bound.value > limit:
            yield Clash(
                limit=option,
                demand=limit,
                bound=bound.value,
                unit=unit,
                text=_asked(option, limit, unit, best, bound.value),
                help=f"Loosen {option}, add or speed up a board, or use a faster link.",
            )


def _asked(option: str, limit: float, unit: str, best: float, bound: float) -> str:
    if option == "--min-throughput":
        return (
            f"{option} asks for {1 / limit:.6g}/s; no plan can do more than {1 / bound:.6g}/s, "
            f"the best found does {1 / best:.6g}/s."
        )
    return (
        f"{option} asks for at most {limit:.6g} {unit}; no plan can go below {bound:.6g} {unit}, "
        f"the best found has {best:.6g} {unit}."
    )


def _together(problem: Problem, pool: Pool) -> Clash:
    limits = problem.limits
    given = [
        name
        for name, value in (
            ("--max-latency", limits.max_latency_s),
            ("--min-throughput", limits.min_throughput_per_s),
            ("--max-energy", limits.max_energy_j),
            ("--max-memory", limits.max_ram_bytes or limits.max_flash_bytes),
            ("--pin", limits.pins),
            ("--boards", limits.max_boards),
        )
        if value
    ]
    names = " and ".join(given) or "memory on all boards"
    return Clash(
        limit=" + ".join(given) or "memory",
        demand=None,
        bound=None,
        unit="",
        text=(
            f"Each limit can be met alone, but not {names} together."
            if len(given) > 1
            else f"No plan meets {names} (source and sink count as used boards)."
        ),
        help=f"Closest plan seen: {pool.closest()}." if pool.closest() else "",
    )
