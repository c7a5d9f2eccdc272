"""Warm start: what an earlier plan file knows of a problem that has changed a little since.

Its plans (those of front.json beside it as well) are where the search begins; segments of boards that are gone go to
the board that takes them best. Its bounds hold on, scaled: where every duration is now at least a share of what it
was, and every plan of now was a plan then, no period and no latency is below that share of the old bound. Nothing else
is cut short: what is not proven gets the time that it gets without a start, so that no plan is worse for having one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from boards.board import Link
from optimizer.errors import PlanError
from optimizer.plan import Plan, Segment
from optimizer.plan_io import PLAN_SCHEMA, LoadedPlan, load_plan, read_plan
from optimizer.problem import Limits, Problem
from optimizer.search.certify import plan_class
from optimizer.search.pool import Assignment, Pool
from optimizer.search.replication_chain import real_plan

__all__ = ["Start", "carried_bounds", "load_start", "seed_pool", "start_of"]

_SCALED = ("throughput", "latency")
"""Objectives that shrink no faster than the durations. Energy does not: a processor that is faster idles longer."""
_ROUNDING = 1e-9
_MOST_MOVED = 12
"""Plans with lost boards whose segments are moved, spread over the front: each takes some dozen schedules."""


@dataclass(frozen=True)
class Start:
    """``assignments``: processor index by operator, the chosen plan first; -1 - i for the i-th board that is gone."""

    assignments: tuple[tuple[int, ...], ...]
    bounds: Mapping[str, float] = field(default_factory=dict)
    """Proven lower bounds that hold for the new problem, by objective."""
    replicated: tuple[tuple[Segment, ...], ...] = ()
    """The segments of plans with replicas whose boards are all there."""


def load_start(source: Path | Mapping[str, Any], problem: Problem) -> Start:
    """What a plan.json (and front.json beside it), or its content, says for a problem with the same model.

    Raises PlanError where that is no plan, or one of another model or batch.
    """
    if isinstance(source, Mapping):
        return _start(read_plan(source, Path("start"), problem.graph), [], problem)
    loaded = load_plan(source, problem.graph)
    return _start(loaded, _front_rows(source.with_name("front.json"), problem), problem)


def start_of(loaded: LoadedPlan, plans: Sequence[Plan], problem: Problem) -> Start:
    """The same from values: a plan with what was claimed of it, and further plans of its front."""
    return _start(loaded, [_row(plan) for plan in plans], problem)


def _row(plan: Plan) -> _Row:
    return [(s.processor, s.operators, s.replicas) for s in plan.segments]


def _start(loaded: LoadedPlan, more: Sequence[_Row], problem: Problem) -> Start:
    gone: dict[str, int] = {}
    rows = [_row(loaded.plan), *more]
    found = dict.fromkeys(tuple(_assignment(problem, row, gone, loaded.path)) for row in rows)
    replicated = dict.fromkeys(s for row in rows if (s := _with_replicas(problem, row)) is not None)
    return Start(tuple(found), carried_bounds(loaded, problem), tuple(replicated))


_Row = list[tuple[str, tuple[int, ...], tuple[str, ...]]]
"""Processor key, operators and replicas of each segment."""


def _with_replicas(problem: Problem, row: _Row) -> tuple[Segment, ...] | None:
    """The segments of a plan with replicas; None of one without, or where boards are gone or replicas not asked for."""
    keys = {key for processor, _, replicas in row for key in (processor, *replicas)}
    if not problem.replicate or not any(r for _, _, r in row) or not keys <= set(problem.processor_index):
        return None
    return tuple(
        Segment(f"s{i}", processor, problem.precisions[problem.processor_index[processor]], operators, replicas)
        for i, (processor, operators, replicas) in enumerate(row)
    )


def _front_rows(path: Path, problem: Problem) -> list[_Row]:
    """Segments of the plans in front.json; none where that is missing, damaged or of another model."""
    try:
        data: Any = json.loads(path.read_text(encoding="utf-8"))
        if not data["schema"].startswith("edgecut/front/") or data["model"]["sha256"] != problem.graph.sha256:
            return []
        index = {op.name: op.index for op in problem.graph.operators}
        return [
            [
                (s["processor"], tuple(index[name] for name in s["operators"]), tuple(s.get("replicas", ())))
                for s in plan["segments"]
            ]
            for plan in data["plans"]
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _assignment(problem: Problem, row: _Row, gone: dict[str, int], path: Path) -> npt.NDArray[np.int64]:
    count = len(problem.graph.operators)
    assignment = np.full(count, np.iinfo(np.int64).min, dtype=np.int64)
    for processor, operators, _ in row:
        known = problem.processor_index.get(processor)
        assignment[list(operators)] = -1 - gone.setdefault(processor, len(gone)) if known is None else known
    if (assignment == np.iinfo(np.int64).min).any():
        raise PlanError(
            "the plan does not run every operator", where=str(path), expected=f"{count} operators in its segments"
        )
    return assignment


def seed_pool(pool: Pool, start: Start) -> None:
    """Score the start's plans; where boards are gone, what is left of some of them with their segments moved."""
    rows = [np.array(row, dtype=np.int64) for row in start.assignments]
    for assignment in rows:
        if (assignment >= 0).all():
            pool.score(assignment)
    lost = [assignment for assignment in rows if (assignment < 0).any()]
    for assignment in lost[:: -(-len(lost) // _MOST_MOVED) or 1]:
        _move_lost(pool, assignment)
    for segments in start.replicated:
        plan = real_plan(pool.problem, segments)
        if plan is not None:
            pool.add(plan)


def _move_lost(pool: Pool, assignment: Assignment) -> None:
    """Greedily, the largest lost segment first: to whichever processor, or neighbours that share it, is best."""
    lost, sizes = np.unique(assignment[assignment < 0], return_counts=True)
    for mark in lost[np.argsort(-sizes, kind="stable")].tolist():
        ways = list(_ways(pool.problem, assignment, np.flatnonzero(assignment == mark)))
        assignment = min(ways, key=lambda way: _rank(pool.score(_filled(way))))


def _ways(problem: Problem, assignment: Assignment, lost: npt.NDArray[np.int64]) -> Iterator[Assignment]:
    """The lost operators all on one processor, or a first part on one and the rest on another."""
    count = len(problem.processors)
    for q in range(count):
        yield _with(assignment, lost, q)
    before = assignment[: lost[0]]
    after = assignment[lost[-1] + 1 :]
    for p in set(before[before >= 0][-1:].tolist()):
        for q in set(after[after >= 0][:1].tolist()):
            for share in (0.25, 0.5, 0.75):
                cut = round(share * len(lost))
                yield _with(_with(assignment, lost[:cut], p), lost[cut:], q)


def _with(assignment: Assignment, operators: npt.NDArray[np.int64], q: int) -> Assignment:
    changed = assignment.copy()
    changed[operators] = q
    return changed


def _filled(assignment: Assignment) -> Assignment:
    """What is still lost goes along with the operator before it."""
    filled = assignment.copy()
    last = int(filled[filled >= 0][0])
    for v in range(len(filled)):
        last = filled[v] = last if filled[v] < 0 else filled[v]
    return filled


def _rank(plan: Plan | None) -> tuple[float, float]:
    return (math.inf, math.inf) if plan is None else (float(len(plan.score.violations)), plan.score.period_s)


def carried_bounds(loaded: LoadedPlan, problem: Problem) -> dict[str, float]:
    """Lower bounds of the plan file that still hold, scaled to the new durations; none where that is not sure."""
    then = loaded.problem
    if loaded.schema != PLAN_SCHEMA:
        return {}  # those bounds spoke of longer latencies
    if not (_as_restricted(then, problem) and _as_wired(then, problem)):
        return {}
    share = _least_ratio(then, problem) * (1 - _ROUNDING)
    if not 0 < share < math.inf:
        return {}
    return {
        o: share * c.bound
        for o, c in loaded.certificates.items()
        if o in _SCALED and c.bound is not None and c.plan_class == plan_class(problem)
    }


def _as_restricted(then: Problem, now: Problem) -> bool:
    """Whether limits and memory allow no plan now that they did not allow then.

    Old limits on figures are not looked into: with other costs they let other plans through.
    """
    old, new = then.limits, now.limits
    plain = Limits(
        max_ram_bytes=old.max_ram_bytes,
        max_flash_bytes=old.max_flash_bytes,
        pins=old.pins,
        forbids=old.forbids,
        colocations=old.colocations,
        max_boards=old.max_boards,
    )
    return (
        old == plain
        and old.pins.items() <= new.pins.items()
        and set(old.forbids) <= set(new.forbids)
        and set(old.colocations) <= set(new.colocations)
        and (old.max_boards is None or (new.max_boards is not None and new.max_boards <= old.max_boards))
        and all(_as_small(then, now, name) for name in now.board_index)
    )


def _as_small(then: Problem, now: Problem, name: str) -> bool:
    """Whether a board is what it was, with no more memory."""
    if name not in then.board_index:
        return False
    a, b = then.board_index[name], now.board_index[name]
    old, new = then.system.boards[a], now.system.boards[b]
    flash_old, flash_new = then.tables.flash_limit[a], now.tables.flash_limit[b]
    return (
        [p.name for p in old.processors] == [p.name for p in new.processors]
        and (old.weights_in, old.in_place) == (new.weights_in, new.in_place)
        and old.runtime_ram_bytes <= new.runtime_ram_bytes
        and bool(now.tables.ram_limit[b] <= then.tables.ram_limit[a])
        and (flash_old is None or (flash_new is not None and flash_new <= flash_old))
    )


def _as_wired(then: Problem, now: Problem) -> bool:
    """Whether frames travel as they did: the same ends, and the same links between any two boards."""
    if (then.system.source, then.system.sink) != (now.system.source, now.system.sink):
        return False
    names = list(now.board_index)
    if any(_route(then, a, b) != _route(now, a, b) for a in names for b in names):
        return False
    return all(_framing(then.link_by_name[link.name]) == _framing(link) for link in _used_links(now))


def _route(problem: Problem, a: str, b: str) -> tuple[str, ...] | None:
    route = problem.system.route(a, b)
    return None if route is None else tuple(problem.links[i].name for i in route)


def _used_links(problem: Problem) -> list[Link]:
    names = list(problem.board_index)
    routes = [problem.system.route(a, b) or () for a in names for b in names]
    return [problem.links[i] for i in sorted({i for route in routes for i in route})]


def _framing(link: Link) -> tuple[object, ...]:
    return link.medium, link.mtu_bytes, link.header_bytes, link.min_payload_bytes, link.overlap


def _least_ratio(then: Problem, now: Problem) -> float:
    """The least of all durations now over then; 0 where precisions differ, so that nothing can be said."""
    if any(len(allowed) > 1 for allowed in now.precision_choices):
        return 0.0
    old_q = [then.processor_index[ref.key] for ref in now.processors]
    if [then.precisions[q] for q in old_q] != list(now.precisions):
        return 0.0
    ratios = [
        _ratio(then.tables.time_s[:, old_q], now.tables.time_s),
        _ratio(then.tables.segment_s[old_q], now.tables.segment_s),
        _ratio(then.tables.boundary_s_per_byte[old_q], now.tables.boundary_s_per_byte),
    ]
    ratios += [_ratio(_link_times(then.link_by_name[link.name]), _link_times(link)) for link in _used_links(now)]
    return min(ratios)


def _link_times(link: Link) -> npt.NDArray[np.float64]:
    return np.array(
        [1 / link.bandwidth_bytes_per_s, link.setup_s, link.latency_s, link.send_s_per_byte, link.receive_s_per_byte]
    )


def _ratio(old: npt.NDArray[np.float64], new: npt.NDArray[np.float64]) -> float:
    some = old > 0
    return float((new[some] / old[some]).min(initial=math.inf))
