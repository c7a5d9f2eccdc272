"""Precision of each processor as a decision: what may be chosen, and what surely bounds every choice.

A plan uses a processor at one precision. A processor that is left open is relaxed to its *joint* precision: each
operator takes the least time, energy and bytes, and loses the least accuracy, that any of its precisions offers. No
plan at any choice is better than the same plan there, so that bounds of the relaxed problem hold for all choices (see
``precision_search``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from boards.board import Board, System
from optimizer.costs import CostTable, OperatorCost, OperatorKey, joint_precision
from optimizer.errors import LimitError
from optimizer.mcu import MCU_RUNTIME
from optimizer.plan import Plan
from optimizer.problem import Problem
from optimizer.sensitivity import Sensitivity

__all__ = [
    "Choice",
    "at_precisions",
    "energy_is_relaxed",
    "open_choice",
    "parse_precisions",
    "relaxed",
    "settled",
    "worth_trying",
]

_ANY = "any"
_ROOM = 2**50
_ROUNDING = 1e-9
Choice = tuple[tuple[str, ...], ...]
"""By processor the precisions that are still open to it; one where it is settled."""


def parse_precisions(texts: Sequence[str], system: System) -> dict[str, tuple[str, ...]]:
    """Allowed precisions by processor key, of texts such as "left=int8", "left/cpu=fp32|int8", "right=any".

    Raises LimitError for boards that are not there and for what a processor does not offer.
    """
    allowed: dict[str, tuple[str, ...]] = {}
    for text in texts:
        target, _, listed = text.partition("=")
        refs = [r for r in system.processors if target in (r.key, r.board.name)]
        if not refs or not listed:
            known = sorted({*(r.key for r in system.processors), *(r.board.name for r in system.processors)})
            raise LimitError(
                "--precision is not usable",
                expected=f"BOARD=PRECISION[|PRECISION...] or BOARD=any, with a board among {', '.join(known)}",
                got=text,
                option="precision",
            )
        for ref in refs:
            offered = tuple(ref.processor.macs_per_s)
            wanted = offered if listed == _ANY else tuple(dict.fromkeys(p.strip() for p in listed.split("|")))
            for precision in wanted:
                if precision not in offered:
                    raise LimitError(
                        f"{ref.key} does not work at {precision}",
                        where=f"--precision {text}",
                        expected=f"some of {', '.join(offered)}, or any",
                        got=precision,
                        option="precision",
                    )
            allowed[ref.key] = wanted
    return allowed


def at_precisions(problem: Problem, vector: Sequence[str]) -> Problem:
    """The problem with every processor at one precision."""
    keys = [ref.key for ref in problem.processors]
    return replace(problem, precisions_allowed={k: (p,) for k, p in zip(keys, vector, strict=True)})


def open_choice(choice: Choice) -> bool:
    """Whether some processor is not settled."""
    return any(len(allowed) > 1 for allowed in choice)


def relaxed(problem: Problem, choice: Choice) -> Problem:
    """A problem that is no harder than that of any vector of the choice; the problem itself where all are settled.

    Limits on energy fall away where it does not grow with the time of activities (see ``energy_is_relaxed``), memory
    and lacking kernels on microcontroller boards that have a choice.
    """
    vector = [joint_precision(allowed) for allowed in choice]
    if not open_choice(choice):
        return at_precisions(problem, vector)
    costs, sensitivity = problem.costs, problem.sensitivity
    rows, losses = dict(costs.operators), dict(sensitivity.losses) if sensitivity else {}
    for ref, allowed, label in zip(problem.processors, choice, vector, strict=True):
        if len(allowed) == 1:
            continue
        idle_w = ref.processor.idle_power_w
        for op in problem.graph.operators:
            rows[op.name, ref.key, label] = _least(rows, [(op.name, ref.key, p) for p in allowed], idle_w)
            known = [None if sensitivity is None else sensitivity.loss(op.name, p) for p in allowed]
            losses[op.name, label] = min((x for x in known if x is not None), default=0.0)
    limits = problem.limits if energy_is_relaxed(problem) else replace(problem.limits, max_energy_j=None)
    roomy = {
        ref.board.name
        for ref, allowed in zip(problem.processors, choice, strict=True)
        if len(allowed) > 1 and ref.board.runtime == MCU_RUNTIME
    }
    wider = replace(
        problem,
        system=replace(
            problem.system, boards=tuple(_roomy(b) if b.name in roomy else b for b in problem.system.boards)
        ),
        costs=CostTable(rows, costs.boundaries, costs.links, costs.model_sha256),
        limits=replace(
            limits,
            max_ram_bytes={b: size for b, size in limits.max_ram_bytes.items() if b not in roomy},
            max_flash_bytes={b: size for b, size in limits.max_flash_bytes.items() if b not in roomy},
        ),
        sensitivity=None if sensitivity is None else Sensitivity(losses),
    )
    return at_precisions(wider, vector)


def _roomy(board: Board) -> Board:
    """The board without limits: what a microcontroller needs, and has kernels for, is no sum over operators."""
    return replace(
        board, runtime="any", firmware="", ram_bytes=_ROOM, flash_bytes=None, weights_in="ram", runtime_ram_bytes=0
    )


def _least(rows: Mapping[OperatorKey, OperatorCost], keys: Sequence[OperatorKey], idle_w: float) -> OperatorCost:
    """The least time, and the least energy beyond idling on top of it."""
    time_s = min(rows[key].time_s for key in keys)
    beyond_j = min(rows[key].energy_j - idle_w * rows[key].time_s for key in keys)
    return OperatorCost(time_s, max(0.0, beyond_j + idle_w * time_s), "the least of several precisions")


def energy_is_relaxed(problem: Problem) -> bool:
    """Whether ``relaxed`` bounds the energy: no operator takes less than idling, nor any activity that takes less time
    more."""
    idle_w = {ref.key: ref.processor.idle_power_w for ref in problem.processors}
    rows = problem.costs.operators.items()
    return _less_is_better(problem) and all(
        cost.energy_j >= idle_w[key] * cost.time_s * (1 - _ROUNDING) for (_, key, _), cost in rows if key in idle_w
    )


def worth_trying(problem: Problem) -> Choice:
    """Allowed precisions by processor, without those that another one betters or equals in every plan.

    That is so where no operator takes longer, more energy beyond idling or more bytes, or loses more accuracy: then
    no schedule is slower, dearer or larger for the change. (Where hops hold processors, all are tried: shorter hops
    leave more time to idle, which may cost more.)
    """
    if not _less_is_better(problem):
        return problem.precision_choices
    found = []
    for q, allowed in enumerate(problem.precision_choices):
        if problem.processors[q].board.runtime == MCU_RUNTIME:
            found.append(allowed)  # kernels and memory differ as well
            continue
        figures = [_figures(problem, q, p) for p in allowed]
        kept: list[int] = []
        for i, own in enumerate(figures):
            others = [j for j in range(len(figures)) if j != i and bool((figures[j] <= own).all())]
            if not any(j < i or not bool((own <= figures[j]).all()) for j in others):
                kept.append(i)
        found.append(tuple(allowed[i] for i in kept))
    return tuple(found)


def _less_is_better(problem: Problem) -> bool:
    """Whether an activity that takes less time never costs more energy."""
    idles = all(r.processor.idle_power_w <= r.processor.active_power_w for r in problem.processors)
    return idles and all(link.overlap for link in problem.links)


def _figures(problem: Problem, q: int, precision: str) -> npt.NDArray[np.float64]:
    """All that the tables say of one processor at one precision; less is better, one by one."""
    vector = [p[0] for p in problem.precision_choices]
    vector[q] = precision
    tables = at_precisions(problem, vector).tables
    idle_w = problem.processors[q].processor.idle_power_w
    losses = [] if tables.loss is None else [tables.loss[:, q]]
    columns = [
        tables.time_s[:, q],
        tables.energy_j[:, q] - idle_w * tables.time_s[:, q],
        tables.tensor_bytes[:, q].astype(np.float64),
        tables.initializer_bytes[:, q].astype(np.float64),
        *losses,
    ]
    return np.concatenate(columns)


def settled(problem: Problem, plan: Plan) -> Problem:
    """The problem at the precisions that a plan uses; processors it does not use keep their first."""
    used = {key: s.precision for s in plan.segments for key in (s.processor, *s.replicas)}
    keys = [ref.key for ref in problem.processors]
    return replace(
        problem,
        precisions_allowed={
            k: (used.get(k, offered[0]),) for k, offered in zip(keys, problem.precision_choices, strict=True)
        },
    )
