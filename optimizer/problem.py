"""A planning problem: graph + system + costs + limits, validated on construction and laid out as arrays.

Everything after this point trusts its input.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from boards.board import Link, ProcessorRef, System
from optimizer.costs import CostTable
from optimizer.errors import CostError, LimitError
from optimizer.graph import Graph
from optimizer.mcu import SmallProcessor, coverage, small_processors, working_precision
from optimizer.mcu_memory import SegmentMemory, SegmentPart
from optimizer.memory_order import OrderFound, always_live
from optimizer.problem_tables import Tables, build_tables
from optimizer.restrictions import (
    Groups,
    check_restrictions,
    colocated,
    held_together,
    units_of,
)
from optimizer.segment_table import SegmentTable
from optimizer.sensitivity import Sensitivity, loss_table
from optimizer.ways import WayTable

__all__ = ["Limits", "Problem"]


@dataclass(frozen=True)
class Limits:
    """Hard limits on a plan. None and empty mean no limit.

    Operators are named as in the model or by a pattern (``conv*``), boards by name or processor key.
    """

    max_latency_s: float | None = None
    min_throughput_per_s: float | None = None
    max_energy_j: float | None = None
    max_ram_bytes: Mapping[str, int] = field(default_factory=dict)
    max_flash_bytes: Mapping[str, int] = field(default_factory=dict)
    pins: Mapping[str, str] = field(default_factory=dict)
    """Board by operator: it runs there and nowhere else."""
    forbids: tuple[tuple[str, str], ...] = ()
    """(operator, board): it does not run there."""
    colocations: tuple[tuple[str, ...], ...] = ()
    """Operators that share one processor."""
    rate_per_s: float | None = None
    """Frames come at this rate: no plan may be slower, and energy an inference counts this interval."""
    max_boards: int | None = None
    max_link_bytes: int | None = None
    """Wire bytes over all hops, one inference."""
    max_accuracy_loss: float | None = None

    @property
    def max_period_s(self) -> float | None:
        rates = [r for r in (self.min_throughput_per_s, self.rate_per_s) if r is not None]
        return 1.0 / max(rates) if rates else None

    def interval_s(self, period_s: float) -> float:
        """Seconds from one frame to the next in a plan with that period: its period, unless a rate is given."""
        return period_s if self.rate_per_s is None else 1.0 / self.rate_per_s


@dataclass(frozen=True)
class Problem:
    """What is to be planned. Raises CostError or LimitError where the parts do not fit together."""

    graph: Graph
    system: System
    costs: CostTable
    limits: Limits = field(default_factory=Limits)
    non_contiguous: bool = False
    """Whether plans may come back to a processor (several segments a processor)."""
    sensitivity: Sensitivity | None = None
    """What operators lose in accuracy at a precision."""
    replicate: bool = False
    """Whether identical boards may take alternate frames of a segment of a contiguous plan."""
    precisions_allowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """By processor key; one that is left out works in its default (see ``precision_choices``)."""

    def __post_init__(self) -> None:
        _check_limits(self)
        _check_costs(self)
        if self.sensitivity is not None:
            loss_table(self.sensitivity, self.graph, sorted({p for c in self.precision_choices for p in c}))

    @cached_property
    def segment_table(self) -> SegmentTable:
        """Figures of segments by themselves, remembered."""
        return SegmentTable(self)

    @cached_property
    def ways(self) -> WayTable:
        """What transfers do on their way, remembered."""
        return WayTable(self)

    @cached_property
    def lowest_orders(self) -> dict[tuple[str, tuple[int, ...], tuple[int, ...]], OrderFound]:
        """Orders of segments with the lowest peak found, by processor, operators and crossing outputs."""
        return {}

    @cached_property
    def small_processors(self) -> Mapping[int, SmallProcessor]:
        """Processors of microcontroller boards, by index."""
        return small_processors(self.graph, self.processors, self.precisions)

    @cached_property
    def small_memories(self) -> dict[tuple[str, SegmentPart], SegmentMemory]:
        """Memory of segments on microcontroller boards, by processor, remembered."""
        return {}

    @cached_property
    def covered(self) -> npt.NDArray[np.bool_]:
        """(n, q) False where a board's runtime has no kernel for an operator."""
        return coverage(self.graph, self.processors, self.small_processors)

    @cached_property
    def colocated(self) -> Groups:
        """Operators that share a processor because the limits say so; disjoint, ascending."""
        return colocated(self.graph, self.limits)

    @cached_property
    def together(self) -> Groups:
        """Operators that share a processor in every plan of the class: ``colocated`` and what that entails."""
        return self.colocated if self.non_contiguous else held_together(self.graph, self.colocated)

    @cached_property
    def units(self) -> Groups:
        """All operators, those of a group as one, in an order that respects the graph."""
        return units_of(self.graph, self.together)

    @cached_property
    def always_live(self) -> npt.NDArray[np.bool_]:
        """(t, n) True where a tensor is in memory while an operator runs, whatever the order."""
        return always_live(self.graph)

    @cached_property
    def processors(self) -> tuple[ProcessorRef, ...]:
        return self.system.processors

    @cached_property
    def precision_choices(self) -> tuple[tuple[str, ...], ...]:
        """Allowed precisions by processor; unless said otherwise the default one (see ``working_precision``)."""
        return tuple(
            tuple(self.precisions_allowed.get(ref.key, (working_precision(ref, self.graph),)))
            for ref in self.system.processors
        )

    @cached_property
    def precisions(self) -> tuple[str, ...]:
        """Precision by processor: the first that is allowed. ``solve`` takes the others as problems of their own."""
        return tuple(allowed[0] for allowed in self.precision_choices)

    @cached_property
    def processor_index(self) -> dict[str, int]:
        return {p.key: i for i, p in enumerate(self.processors)}

    @cached_property
    def board_index(self) -> dict[str, int]:
        return {b.name: i for i, b in enumerate(self.system.boards)}

    @cached_property
    def links(self) -> tuple[Link, ...]:
        """The system's links with measured figures in place of the catalog's where there are any."""
        return tuple(_apply(link, self.costs) for link in self.system.links)

    @cached_property
    def link_by_name(self) -> dict[str, Link]:
        return {link.name: link for link in self.links}

    @cached_property
    def tables(self) -> Tables:
        return build_tables(self)


def _apply(link: Link, costs: CostTable) -> Link:
    measured = costs.links.get(link.name)
    if measured is None:
        return link
    return replace(
        link,
        bandwidth_bytes_per_s=measured.bandwidth_bytes_per_s,
        setup_s=measured.setup_s,
        latency_s=measured.latency_s,
        send_s_per_byte=measured.send_s_per_byte,
        receive_s_per_byte=measured.receive_s_per_byte,
    )


def _check_limits(problem: Problem) -> None:
    limits, system = problem.limits, problem.system
    above_zero = {
        "max-latency": limits.max_latency_s,
        "min-throughput": limits.min_throughput_per_s,
        "max-energy": limits.max_energy_j,
        "boards": limits.max_boards,
        "rate": limits.rate_per_s,
    }
    zero_or_more = {"max-link-bytes": limits.max_link_bytes, "max-accuracy-loss": limits.max_accuracy_loss}
    for option, value in {**above_zero, **zero_or_more}.items():
        if value is None or (math.isfinite(value) and (value > 0 or (value == 0 and option in zero_or_more))):
            continue
        expected = f"a finite number, {'above zero' if option in above_zero else 'zero or more'}"
        raise LimitError(f"--{option} is not usable", expected=expected, got=repr(value), option=option)
    if limits.max_accuracy_loss is not None and problem.sensitivity is None:
        raise LimitError(
            "a limit on the loss of accuracy needs to know what operators lose",
            expected="a sensitivity table",
            hint="Give one with --sensitivity FILE (operator, precision, loss).",
            option="sensitivity",
        )
    names = [b.name for b in system.boards]
    for board in (*limits.max_ram_bytes, *limits.max_flash_bytes):
        if board not in names:
            raise LimitError(
                f"memory limit for unknown board {board!r}",
                expected=f"one of {', '.join(names)}",
                got=board,
                option="max-memory",
            )
    check_restrictions(problem.graph, system.processors, limits)


def _check_costs(problem: Problem) -> None:
    costs, graph = problem.costs, problem.graph
    if costs.model_sha256 is not None and costs.model_sha256 != graph.sha256:
        raise CostError(
            "the cost table was made for another model",
            expected=f"model sha256 {graph.sha256[:16]}",
            got=costs.model_sha256[:16],
            hint="Profile this model, or give the model the costs were made for.",
        )
    missing = [
        f"{op.name} on {ref.key} at {precision}"
        for ref, allowed in zip(problem.system.processors, problem.precision_choices, strict=True)
        for precision in allowed
        for op in graph.operators
        if (op.name, ref.key, precision) not in costs.operators
    ]
    if missing:
        more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
        raise CostError(
            "cost rows are missing: " + "; ".join(missing[:5]) + more,
            expected="one row for each operator, processor and precision",
            hint="Profile the model on that board or add the rows.",
        )
    for key, cost in costs.operators.items():
        for label, value in (("time_s", cost.time_s), ("energy_j", cost.energy_j)):
            if not (math.isfinite(value) and value >= 0):
                raise CostError(
                    f"{label} of operator {key[0]!r} on {key[1]} is not usable",
                    where=cost.provenance,
                    expected="a finite number, zero or more",
                    got=repr(value),
                )
