"""Two processors: the whole Pareto front, exactly, by looking at every way to cut the graph in two.

A contiguous plan for two processors is a downset of the graph (what the first one runs). Cheap lower bounds on
period, latency and energy of all downsets come from matrix products; ``evaluate()`` scores only those whose bounds
no known plan dominates.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from boards.board import Link
from optimizer.memory_plan import peaks_are_settled
from optimizer.objectives import objective_values
from optimizer.plan import Plan
from optimizer.problem import Problem
from optimizer.search.covering import minimal_rows
from optimizer.search.cut_memory import memory_shares
from optimizer.search.downsets import downset_masks, members
from optimizer.search.known_front import KnownFront
from optimizer.search.pool import Assignment, Pool

__all__ = ["best_cuts", "enumerate_front"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
_SLACK = 1e-9
_SMALL = 1e-12
_TIGHT = 1e-6


def enumerate_front(pool: Pool, deadline: float, max_downsets: int = 60_000) -> int | None:
    """Score every plan that may be on the front; the number of plans looked at.

    None where this does not apply: not two processors, too many downsets, no time left (time.monotonic), or a
    plan whose schedule we make falls short of its bounds, so that a better schedule might change the front.
    The pool then holds a front that is not known to be complete.
    """
    problem = pool.problem
    if len(problem.processors) != 2:
        return None
    masks = downset_masks(problem.graph, max_downsets)
    if masks is None:
        return None
    downsets = members(masks, len(problem.graph.operators))
    looked_at = 0
    known = KnownFront(objective_values(p.score, pool.objectives) for p in pool.front())
    loose: list[list[float]] = []
    for first, second in ((0, 1), (1, 0)):
        bounds = _figures(pool, downsets, first, second)
        looked_at += len(downsets)
        ways = np.flatnonzero(_obey(problem, downsets, first, second))
        if not _score_open(pool, known, downsets[ways], bounds[ways], (first, second), deadline, loose):
            return None
    return looked_at if all(known.dominates(values) for values in loose) else None


def best_cuts(pool: Pool, downsets: Bools) -> list[Assignment]:
    """Of the ways to cut the graph in two after one of the (m, n) downsets, those whose bounds are on the front."""
    problem = pool.problem
    assignments, bounds = [], []
    for first, second in ((0, 1), (1, 0)):
        figures = _figures(pool, downsets, first, second)
        ways = np.flatnonzero(_obey(problem, downsets, first, second) & np.isfinite(figures).all(axis=1))
        assignments += [np.where(downsets[way], first, second).astype(np.int64) for way in ways.tolist()]
        bounds.append(figures[ways])
    return [assignments[row] for row in minimal_rows(np.vstack(bounds)).tolist()]


def _score_open(
    pool: Pool,
    known: KnownFront,
    downsets: Bools,
    bounds: Floats,
    processors: tuple[int, int],
    deadline: float,
    loose: list[list[float]],
) -> bool:
    """Score the downsets whose bounds no known plan dominates, most promising first; False at the deadline.

    ``loose`` collects the bounds of plans that score worse than their bounds.
    """
    least = bounds.min(axis=0, initial=np.inf)
    scale = np.where(np.isfinite(least), least, 1.0) + _SMALL  # inf where no route leads anywhere
    for index in np.argsort((bounds / scale).sum(axis=1), kind="stable").tolist():
        if time.monotonic() > deadline:
            return False
        values = bounds[index].tolist()
        if known.dominates(values):
            continue
        plans = pool.versions(np.where(downsets[index], *processors).astype(np.int64))
        for plan in plans:
            if not plan.score.violations:
                known.add(objective_values(plan.score, pool.objectives))
        if plans and not any(_meets(pool, plan, values) for plan in plans):
            loose.append(values)
    return True


def _meets(pool: Pool, plan: Plan, values: Sequence[float]) -> bool:
    """Whether no other schedule of the plan's assignment can be better."""
    found = objective_values(plan.score, pool.objectives)
    meets = all(f <= v * (1 + _TIGHT) + _SMALL for f, v in zip(found, values, strict=True))
    return meets and peaks_are_settled(pool.problem, plan)


def _obey(problem: Problem, downsets: Bools, first: int, second: int) -> Bools:
    """(m,) the ways to cut that leave every operator where it may run, and groups together."""
    allowed = problem.tables.allowed
    fine = ~(downsets @ ~allowed[:, first]) & ~(~downsets @ ~allowed[:, second])
    for group in problem.together:
        inside = downsets[:, list(group)]
        fine &= inside.all(axis=1) | ~inside.any(axis=1)
    return np.asarray(fine)


class _Side:
    """Sums over one processor's share for all downsets at once."""

    def __init__(self, problem: Problem, share: Bools, q: int, touching: Floats) -> None:
        tables = problem.tables
        self.processor = problem.processors[q].processor
        self.board = problem.processors[q].board
        self.used = share.any(axis=1)
        self.operators_s = share @ tables.time_s[:, q]
        self.operators_j = share @ tables.energy_j[:, q]
        self.extra_s = tables.segment_s[q] * self.used + tables.boundary_s_per_byte[q] * touching
        self.beside_s = np.zeros(len(share))
        self.attend_s = np.zeros(len(share))

    @property
    def alone_s(self) -> Floats:
        """What the segment itself takes."""
        return np.asarray(self.operators_s + self.extra_s)

    @property
    def compute_s(self) -> Floats:
        """All that keeps the processor computing, sending on and taking in for others included."""
        return np.asarray(self.alone_s + self.beside_s)


def _figures(pool: Pool, downsets: Bools, first: int, second: int) -> Floats:
    """(m, o) lower bounds on the pool's objectives, with ``downsets`` on processor ``first``."""
    figures = _bounds(pool.problem, downsets, first, second)
    if "memory" in pool.objectives:
        figures["memory"] = memory_shares(pool.problem, downsets, first, second)
    return np.stack([figures[o] for o in pool.objectives], axis=1) * (1 - _SLACK)


def _bounds(problem: Problem, downsets: Bools, first: int, second: int) -> dict[str, Floats]:
    """(m,) lower bounds by objective, but for memory, with ``downsets`` on processor ``first``."""
    sizes = problem.tables.tensor_bytes.astype(np.float64)
    made, crossing = _crossing(problem, downsets)
    inputs_first, inputs_second = _input_use(problem, downsets)
    outputs_first = made & _is_output(problem)
    outputs_second = ~made & _is_output(problem)
    head = _Side(problem, downsets, first, (crossing | inputs_first | outputs_first) @ sizes[:, first])
    tail = _Side(
        problem,
        ~downsets,
        second,
        crossing @ sizes[:, first] + (inputs_second | outputs_second) @ sizes[:, second],
    )
    system = problem.system
    here, there = head.board.name, tail.board.name
    flows = [
        (here, there, crossing, first),
        (system.source, here, inputs_first, first),
        (system.source, there, inputs_second, second),
        (here, system.sink, outputs_first, first),
        (there, system.sink, outputs_second, second),
    ]
    media: dict[str, Floats] = {}
    energy, wires = np.zeros(len(downsets)), np.zeros(len(downsets))
    hosts = {name: np.zeros(len(downsets), dtype=np.bool_) for name in problem.board_index}
    ways = []
    carried: dict[int, Bools] = {}
    for a, b, mask, q in flows:
        route = problem.system.route(a, b)
        if route is None:
            ways.append(np.where(mask.any(axis=1), np.inf, 0.0))
            continue
        ways.append(_way(problem, route, mask, q) + _end_work(problem, route, mask, q, a, b))
        for index in route:
            fresh = mask & ~carried.get(index, np.zeros_like(mask))
            carried[index] = carried.get(index, np.zeros_like(mask)) | mask
            link = problem.links[index]
            costs = np.array([link.occupancy_s(int(s)) for s in sizes[:, q]])
            media[link.medium] = media.get(link.medium, np.zeros(len(downsets))) + fresh @ costs
            wire = fresh @ np.array([link.wire_bytes(int(s)) for s in sizes[:, q]], dtype=np.float64)
            wires += wire
            energy += wire * link.energy_j_per_byte
            for end in {link.source, link.target} & hosts.keys():
                hosts[end] |= fresh.any(axis=1)
            sends = sizes[:, q] * link.send_s_per_byte
            receives = sizes[:, q] * link.receive_s_per_byte
            for side in (head, tail):
                own = (
                    a == side.board.name and mask is not inputs_first and mask is not inputs_second,
                    b == side.board.name and mask is not outputs_first and mask is not outputs_second,
                )
                _charge(link, side, fresh, own, (sends, receives, costs))
    period = np.maximum(head.compute_s + head.attend_s, tail.compute_s + tail.attend_s)
    for load in media.values():
        period = np.maximum(period, load)
    joined = crossing.any(axis=1)
    head_end = ways[1] + head.alone_s
    tail_start = np.maximum(np.where(joined, head_end + ways[0], 0.0), ways[2])
    tail_end = np.where(tail.used, tail_start + tail.alone_s + ways[4], 0.0)
    latency = np.maximum(np.where(head.used, head_end + ways[3], 0.0), tail_end)
    interval = period if problem.limits.rate_per_s is None else 1.0 / problem.limits.rate_per_s
    for side in (head, tail):
        energy += side.operators_j + side.processor.active_power_w * (side.extra_s + side.beside_s)
        idle = side.processor.idle_power_w * np.maximum(0.0, interval - side.compute_s - side.attend_s)
        always = not side.board.removable or side.board.name in (system.source, system.sink)
        energy += idle if always else np.where(side.used, idle, 0.0)
    for name, used in ((here, head.used), (there, tail.used), (system.source, True), (system.sink, True)):
        hosts[name] |= used
    found = {"throughput": period, "latency": latency, "energy": energy, "link-bytes": wires}
    found["boards"] = np.asarray(np.sum(list(hosts.values()), axis=0, dtype=np.float64))
    if problem.tables.loss is not None:
        losses = problem.tables.loss
        found["accuracy-loss"] = np.asarray(downsets @ losses[:, first] + ~downsets @ losses[:, second])
    return found


def _charge(link: Link, side: _Side, fresh: Bools, own: tuple[bool, bool], work: tuple[Floats, Floats, Floats]) -> None:
    """Processor time of a hop: sending and receiving per byte, and the whole hop where it does not overlap.

    ``own``: whether the segment made it here, whether it uses it here. Only then, and only where the processor does
    nothing else meanwhile, the work lengthens the segment itself.
    """
    if len(side.board.processors) > 1:
        return
    sends, receives, costs = work
    for end, mine, seconds in ((link.source, own[0], sends), (link.target, own[1], receives)):
        if end != side.board.name:
            continue
        if mine and not link.overlap:
            side.extra_s = side.extra_s + fresh @ seconds
        else:
            side.beside_s = side.beside_s + fresh @ seconds
        if not link.overlap:
            side.attend_s = side.attend_s + fresh @ costs


def _crossing(problem: Problem, downsets: Bools) -> tuple[Bools, Bools]:
    """(m, t) tensors made in the downset, and those of them that the rest uses."""
    m, count = len(downsets), len(problem.graph.tensors)
    made = np.zeros((m, count), dtype=np.bool_)
    crossing = np.zeros((m, count), dtype=np.bool_)
    for t, tensor in enumerate(problem.graph.tensors):
        if tensor.producer is not None:
            made[:, t] = downsets[:, tensor.producer]
            if tensor.consumers:
                crossing[:, t] = made[:, t] & ~downsets[:, list(tensor.consumers)].all(axis=1)
    return made, crossing


def _input_use(problem: Problem, downsets: Bools) -> tuple[Bools, Bools]:
    """(m, t) model inputs used in the downset, and by the rest."""
    m, count = len(downsets), len(problem.graph.tensors)
    inside = np.zeros((m, count), dtype=np.bool_)
    outside = np.zeros((m, count), dtype=np.bool_)
    for t in problem.graph.inputs:
        users = list(problem.graph.tensors[t].consumers)
        inside[:, t] = downsets[:, users].any(axis=1)
        outside[:, t] = ~downsets[:, users].all(axis=1)
    return inside, outside


def _is_output(problem: Problem) -> Bools:
    return np.array([t.is_output for t in problem.graph.tensors], dtype=np.bool_)


def _end_work(problem: Problem, route: tuple[int, ...], mask: Bools, q: int, a: str, b: str) -> Floats:
    """(m,) processor time of sending an input at the source or taking an output in at the sink, where hops do not
    overlap it."""
    work = np.zeros(len(mask))
    sizes = problem.tables.tensor_bytes[:, q]
    for t, tensor in enumerate(problem.graph.tensors):
        if not route or not mask[:, t].any():
            continue
        seconds = 0.0
        first, last = problem.links[route[0]], problem.links[route[-1]]
        if tensor.producer is None and a == problem.system.source and not first.overlap:
            seconds = first.send_s_per_byte * float(sizes[t])
        elif tensor.is_output and not tensor.consumers and b == problem.system.sink and not last.overlap:
            seconds = last.receive_s_per_byte * float(sizes[t])
        work = np.maximum(work, np.where(mask[:, t], seconds, 0.0))
    return work


def _way(problem: Problem, route: tuple[int, ...], mask: Bools, q: int) -> Floats:
    """(m,) seconds at least until all tensors of the mask have come along the route."""
    sizes = problem.tables.tensor_bytes[:, q]
    total = np.zeros(len(mask))
    if not route:
        return total
    links = [problem.links[i] for i in route]
    costs = np.array([[link.occupancy_s(int(s)) for s in sizes] for link in links])
    longest = np.where(mask, costs.sum(axis=0)[None, :], 0.0).max(axis=1, initial=0.0)
    for row in costs:
        total = np.maximum(total, mask @ row)
    lag = sum(link.latency_s for link in links)
    return np.where(mask.any(axis=1), np.maximum(total, longest) + lag, 0.0)
