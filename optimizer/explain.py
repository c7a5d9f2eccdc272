"""What a feasible problem has to spare: each limit beside the best that is possible under all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from boards.units import format_bytes, format_energy, format_rate, format_time
from optimizer.plan import Front
from optimizer.problem import Problem

__all__ = ["Margin", "margins"]


@dataclass(frozen=True)
class Margin:
    """One limit that is met. ``best``: the best value found of the quantity, same unit; for memory the most that a
    plan of the front uses."""

    limit: str
    demand: float
    best: float
    unit: str
    text: str


def margins(problem: Problem, front: Front) -> tuple[Margin, ...]:
    """A margin for every limit on a quantity, and for the memory of every board."""
    return (*_quantities(problem, front), *_memory(problem, front))


def _quantities(problem: Problem, front: Front) -> Iterator[Margin]:
    limits = problem.limits
    latency = min(p.score.latency_s for p in front.plans)
    rate = max(p.score.throughput_per_s for p in front.plans)
    energy = min(p.score.energy_j for p in front.plans)
    for option, demand, best, unit, show in (
        ("--max-latency", limits.max_latency_s, latency, "s", format_time),
        ("--min-throughput", limits.min_throughput_per_s, rate, "1/s", format_rate),
        ("--rate", limits.rate_per_s, rate, "1/s", format_rate),
        ("--max-energy", limits.max_energy_j, energy, "J", format_energy),
    ):
        if demand is not None:
            yield Margin(option, demand, best, unit, f"{option} {show(demand)}: {show(best)} can be reached.")
    if limits.max_link_bytes is not None:
        size = min(p.score.link_bytes for p in front.plans)
        text = f"--max-link-bytes {format_bytes(limits.max_link_bytes)}: {format_bytes(size)} can be reached."
        yield Margin("--max-link-bytes", float(limits.max_link_bytes), float(size), "B", text)
    if limits.max_accuracy_loss is not None:
        loss = min(p.score.accuracy_loss or 0.0 for p in front.plans)
        text = f"--max-accuracy-loss {limits.max_accuracy_loss:g}: {loss:g} can be reached."
        yield Margin("--max-accuracy-loss", limits.max_accuracy_loss, loss, "", text)


def _memory(problem: Problem, front: Front) -> Iterator[Margin]:
    for board in problem.board_index:
        uses = [p.score.memory_bytes[board] for p in front.plans]
        ram, available = max(u.ram_bytes for u in uses), uses[0].ram_available_bytes
        yield Margin(
            f"RAM of {board}",
            float(available),
            float(ram),
            "B",
            f"RAM of {board}: plans on the front use up to {format_bytes(ram)} of {format_bytes(available)}.",
        )
