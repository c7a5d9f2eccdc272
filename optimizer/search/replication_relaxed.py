"""A problem without replicas that bounds those with them: each set of identical boards becomes one fast board.

A set of r boards that take frames in turn computes r times as fast as one of them. Links between sets carry at least
what the model here lets them carry, memory holds at least the weights: no plan with these sets has a shorter period
than the best plan of the problem made here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from boards.board import Board, Link, ProcessorRef, System
from optimizer.costs import BoundaryCost, CostTable
from optimizer.plan import Segment
from optimizer.problem import Limits, Problem
from optimizer.schedule import contiguous_segments
from optimizer.search.pool import Assignment

__all__ = ["Configuration", "Relaxed", "relax_sets"]

Configuration = tuple[tuple[int, ...], ...]
"""Disjoint sets of processors that take frames in turn, in this order; processors in none of them work alone."""
_ROOM = 2**50


@dataclass(frozen=True)
class Relaxed:
    """``problem`` has the first processor of each set for the whole of it; ``sets`` by its key, in order."""

    problem: Problem
    sets: dict[str, tuple[str, ...]]

    def segments(self, assignment: Assignment) -> tuple[Segment, ...] | None:
        """The real segments, with replicas, of an assignment of the relaxed problem."""
        found = contiguous_segments(self.problem, assignment)
        if found is None:
            return None
        return tuple(
            replace(s, replicas=self.sets[s.processor]) if len(self.sets[s.processor]) > 1 else s for s in found
        )


def relax_sets(problem: Problem, sets: Configuration, at_most_s: float = math.inf) -> Relaxed | None:
    """The problem that bounds all plans whose replicas are among these sets; None where there is no such plan.

    ``at_most_s``: only plans with a period up to that matter.
    """
    refs = problem.processors
    members = {refs[group[0]].key: tuple(refs[q] for q in group) for group in sets}
    hidden = {refs[q].board.name for group in sets for q in group[1:]}
    stands_for = {ref.board.name: group[0].board.name for group in members.values() for ref in group}
    shared = {ref.board.name for group in members.values() for ref in group}
    pinned = {target.split("/")[0] for target in problem.limits.pins.values()}
    if pinned & shared:
        return None  # the pinned operators would run on every board of the set
    boards = [_board(problem, b, members) for b in problem.system.boards if b.name not in hidden]
    names = {b.name: [r.board.name for r in members.get(f"{b.name}/{b.processors[0].name}", ())] for b in boards}
    links = _links(problem, {name: found or [name] for name, found in names.items()})
    source, sink = (stands_for.get(name, name) for name in (problem.system.source, problem.system.sink))
    system = System(problem.system.name, tuple(boards), tuple(links), source, sink)
    sizes = {ref.key: len(members.get(ref.key, (ref,))) for ref in system.processors}
    relaxed = Problem(problem.graph, system, _costs(problem, sizes), _limits(problem.limits, stands_for, at_most_s))
    keys = {key: tuple(r.key for r in members[key]) if key in members else (key,) for key in sizes}
    return Relaxed(relaxed, keys)


def _board(problem: Problem, board: Board, members: dict[str, tuple[ProcessorRef, ...]]) -> Board:
    """The board with room for weights only, as much as the smallest of its set has."""
    group = members.get(f"{board.name}/{board.processors[0].name}", ())
    room = min(_room(problem, b) for b in [board, *(ref.board for ref in group)])
    return replace(board, ram_bytes=_ROOM, flash_bytes=room, weights_in="flash", runtime_ram_bytes=0)


def _room(problem: Problem, board: Board) -> int:
    b = problem.board_index[board.name]
    flash = problem.tables.flash_limit[b]
    rooms = [_ROOM if flash is None else flash]
    if board.weights_in == "ram":
        rooms.append(max(0, int(problem.tables.ram_limit[b]) - board.runtime_ram_bytes))
    return min(rooms)


def _costs(problem: Problem, sizes: dict[str, int]) -> CostTable:
    boundaries = {
        key: BoundaryCost(b.s_per_byte / sizes[key], b.segment_s / sizes[key], b.provenance)
        for key, b in problem.costs.boundaries.items()
        if key in sizes
    }
    rows = {
        (name, key, precision): replace(cost, time_s=cost.time_s / sizes[key])
        for (name, key, precision), cost in problem.costs.operators.items()
        if key in sizes
    }
    return CostTable(rows, boundaries, model_sha256=problem.costs.model_sha256)


def _limits(limits: Limits, stands_for: dict[str, str], at_most_s: float) -> Limits:
    """What still means the same: where operators may run, and how long a period may be."""

    def there(target: str) -> str:
        board, slash, processor = target.partition("/")
        return stands_for.get(board, board) + slash + processor

    return Limits(
        min_throughput_per_s=None if math.isinf(at_most_s) else 1.0 / at_most_s,
        pins=dict(limits.pins),
        forbids=tuple((operator, there(board)) for operator, board in limits.forbids),
        colocations=limits.colocations,
        max_boards=limits.max_boards,
    )


def _links(problem: Problem, names: dict[str, list[str]]) -> list[Link]:
    """A link of its own between any two sets, no slower than what lies between their boards."""
    found = []
    for a, sources in names.items():
        for b, targets in names.items():
            link = None if a == b else _joint(problem, sources, targets)
            if link is not None:
                found.append(replace(link, name=f"{a}->{b}", source=a, target=b, medium=f"{a}->{b}"))
    return found


def _joint(problem: Problem, sources: Sequence[str], targets: Sequence[str]) -> Link | None:
    """What every frame needs of some link between the sets, on average over the frames of a turn."""
    routes = [problem.system.route(a, b) for a in sources for b in targets]
    ways = [[problem.links[i] for i in route] for route in routes if route is not None]
    if not ways:
        return None
    if len(sources) > 1:
        bottlenecks = [min(way, key=lambda link: link.bandwidth_bytes_per_s) for way in ways]
        return _faster(_least(bottlenecks), math.lcm(len(sources), len(targets)))
    shares = {link.name: 0 for way in ways for link in way}
    for way in ways:
        for link in way:
            shares[link.name] += 1
    busiest = max(
        (link for way in ways for link in way), key=lambda link: shares[link.name] / link.bandwidth_bytes_per_s
    )
    return _faster(busiest, len(targets) / shares[busiest.name])


def _least(links: Sequence[Link]) -> Link:
    """A link that no message occupies for longer than any of these."""
    packets = [link.mtu_bytes for link in links]
    return replace(
        links[0],
        bandwidth_bytes_per_s=max(link.bandwidth_bytes_per_s for link in links),
        setup_s=min(link.setup_s for link in links),
        mtu_bytes=None if None in packets else max(p for p in packets if p is not None),
        header_bytes=min(link.header_bytes for link in links),
        min_payload_bytes=min(link.min_payload_bytes for link in links),
    )


def _faster(link: Link, factor: float) -> Link:
    """A link that takes so many times less for everything, and no processor's time."""
    return replace(
        link,
        bandwidth_bytes_per_s=link.bandwidth_bytes_per_s * factor,
        setup_s=link.setup_s / factor,
        latency_s=0.0,
        overlap=True,
        send_s_per_byte=0.0,
        receive_s_per_byte=0.0,
    )
