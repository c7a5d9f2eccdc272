"""A problem without replicas that bounds those with them: each set of identical boards becomes one fast board.

A set of r boards that take frames in turn computes r times as fast as one of them. Links between sets carry at least
what the model here lets them carry, memory holds at least the weights: no plan with these sets has a shorter period
than the best plan of the problem made here.
"""

from __future__ import annotations

import math
from collections import Counter
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
    names = {b.name: [r.board.name for r in _set_of(b, members)] for b in boards}
    links = _links(problem, {name: found or [name] for name, found in names.items()})
    source, sink = (stands_for.get(name, name) for name in (problem.system.source, problem.system.sink))
    switches = problem.system.switches if _star(problem) else ()
    system = System(problem.system.name, tuple(boards), tuple(links), source, sink, switches)
    sizes = {ref.key: len(members.get(ref.key, (ref,))) for ref in system.processors}
    costs = _costs(problem, sizes, _at_the_ends(problem, members))
    precisions = {ref.key: (problem.precisions[problem.processor_index[ref.key]],) for ref in system.processors}
    limits = _limits(problem.limits, stands_for, at_most_s)
    relaxed = Problem(problem.graph, system, costs, limits, precisions_allowed=precisions)
    keys = {key: tuple(r.key for r in members[key]) if key in members else (key,) for key in sizes}
    return Relaxed(relaxed, keys)


def _set_of(board: Board, members: dict[str, tuple[ProcessorRef, ...]]) -> tuple[ProcessorRef, ...]:
    """The processors that take turns with the board's own, its own first; none where it works alone or has none."""
    return members.get(f"{board.name}/{board.processors[0].name}", ()) if board.processors else ()


def _board(problem: Problem, board: Board, members: dict[str, tuple[ProcessorRef, ...]]) -> Board:
    """The board with room for weights only, as much as the smallest of its set has."""
    group = _set_of(board, members)
    room = min(_room(problem, b) for b in [board, *(ref.board for ref in group)])
    return replace(board, firmware="", ram_bytes=_ROOM, flash_bytes=room, weights_in="flash", runtime_ram_bytes=0)


def _room(problem: Problem, board: Board) -> int:
    b = problem.board_index[board.name]
    flash = problem.tables.flash_limit[b]
    rooms = [_ROOM if flash is None else flash]
    if board.weights_in == "ram":
        rooms.append(max(0, int(problem.tables.ram_limit[b]) - board.runtime_ram_bytes))
    return min(rooms)


def _costs(problem: Problem, sizes: dict[str, int], extra_s: dict[tuple[str, str], float]) -> CostTable:
    boundaries = {
        key: BoundaryCost(b.s_per_byte / sizes[key], b.segment_s / sizes[key], b.provenance)
        for key, b in problem.costs.boundaries.items()
        if key in sizes
    }
    rows = {
        (name, key, precision): replace(cost, time_s=cost.time_s / sizes[key] + extra_s.get((name, key), 0.0))
        for (name, key, precision), cost in problem.costs.operators.items()
        if key in sizes
    }
    return CostTable(rows, boundaries, model_sha256=problem.costs.model_sha256)


def _at_the_ends(problem: Problem, members: dict[str, tuple[ProcessorRef, ...]]) -> dict[tuple[str, str], float]:
    """Seconds a frame, by operator and set, of the source's board dealing inputs out to the others of its set, and
    of the sink's board taking their outputs in."""
    graph, system, tables = problem.graph, problem.system, problem.tables
    extra: dict[tuple[str, str], float] = {}
    for key, group in members.items():
        boards = [ref.board.name for ref in group]
        q = problem.processor_index[key]
        for t, tensor in enumerate(graph.tensors):
            size = float(tables.tensor_bytes[t, q])
            if tensor.producer is None and len(tensor.consumers) == 1 and system.source in boards:
                routes = [system.route(system.source, b) for b in boards if b != system.source]
                ends = [_sending_s(problem.links[r[0]]) for r in routes if r]
                name = graph.operators[tensor.consumers[0]].name
            elif tensor.producer is not None and tensor.is_output and system.sink in boards:
                routes = [system.route(b, system.sink) for b in boards if b != system.sink]
                ends = [_receiving_s(problem.links[r[-1]]) for r in routes if r]
                name = graph.operators[tensor.producer].name
            else:
                continue
            share = min(ends, default=0.0) * size * (len(group) - 1) / len(group)
            extra[name, key] = extra.get((name, key), 0.0) + share
    return extra


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
    """Links between the sets: through the one switch where all boards hang on it, else one between any two."""
    star = _star(problem)
    if star is not None:
        ports = [(a, star, boards) for a, boards in names.items()] + [(star, a, boards) for a, boards in names.items()]
        return [link for a, b, boards in ports for link in _port(problem, a, b, boards)]
    found = []
    for a, sources in names.items():
        for b, targets in names.items():
            link = None if a == b else _joint(problem, sources, targets)
            if link is not None:
                own = link.name == link.medium  # else a medium that others use as well
                found.append(
                    replace(link, name=f"{a}->{b}", source=a, target=b, medium=f"{a}->{b}" if own else link.medium)
                )
    return found


def _star(problem: Problem) -> str | None:
    """The switch that every link leads to or from, where there is just one and no board has two ports."""
    switches = problem.system.switches
    ends = [(link.source, link.target) for link in problem.links]
    if len(switches) != 1 or len(set(ends)) < len(ends):
        return None
    return switches[0] if all(switches[0] in pair for pair in ends) else None


def _port(problem: Problem, a: str, b: str, boards: Sequence[str]) -> list[Link]:
    """The port of a set in one direction: each frame goes over that of one of its boards."""
    out = b in problem.system.switches
    ports = [link for link in problem.links if (link.source if out else link.target) in boards]
    if not ports:
        return []
    medium = ports[0].medium if len(boards) == 1 else f"{a}->{b}"
    share = len(boards)
    return [
        replace(
            _faster(_least(ports), share),
            name=f"{a}->{b}",
            source=a,
            target=b,
            medium=medium,
            send_s_per_byte=min(map(_sending_s, ports)) / share if out else 0.0,
            receive_s_per_byte=0.0 if out else min(map(_receiving_s, ports)) / share,
        )
    ]


def _joint(problem: Problem, sources: Sequence[str], targets: Sequence[str]) -> Link | None:
    """What every frame needs of some link between the sets, on average over the frames of a turn.

    Its name is that of its medium unless they share that with others.
    """
    routes = [problem.system.route(a, b) for a in sources for b in targets]
    ways = [[problem.links[i] for i in route] for route in routes if route is not None]
    if not ways:
        return None
    direct = all(len(way) == 1 for way in ways)
    return replace(
        _carrier(ways, direct, len(sources), len(targets)),
        send_s_per_byte=min(_sending_s(way[0]) for way in ways) / len(sources) if direct else 0.0,
        receive_s_per_byte=min(_receiving_s(way[-1]) for way in ways) / len(targets),
    )


def _carrier(ways: Sequence[Sequence[Link]], direct: bool, sources: int, targets: int) -> Link:
    if direct and len({way[0].medium for way in ways}) == 1 and len(ways) > 1:
        return replace(_faster(_least([way[0] for way in ways]), 1), name="", medium=ways[0][0].medium)
    if sources > 1:
        bottlenecks = [min(way, key=lambda link: link.bandwidth_bytes_per_s) for way in ways]
        found = _faster(_least(bottlenecks), math.lcm(sources, targets))
    else:
        shares = Counter(link.name for way in ways for link in way)
        every = [link for way in ways for link in way]
        busiest = max(every, key=lambda link: shares[link.name] / link.bandwidth_bytes_per_s)
        found = _faster(busiest, targets / shares[busiest.name])
        if len(ways) == 1 and direct:
            return replace(found, name="")  # a real link between two boards keeps its medium
    return replace(found, name=found.medium)


def _sending_s(link: Link) -> float:
    """Seconds a byte that sending surely takes of the processor at its start; a hop that does not overlap, too."""
    return link.send_s_per_byte + (0.0 if link.overlap else 1.0 / link.bandwidth_bytes_per_s)


def _receiving_s(link: Link) -> float:
    return link.receive_s_per_byte + (0.0 if link.overlap else 1.0 / link.bandwidth_bytes_per_s)


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
    """A link that takes so many times less for everything, and no time of a processor."""
    return replace(
        link,
        bandwidth_bytes_per_s=link.bandwidth_bytes_per_s * factor,
        setup_s=link.setup_s / factor,
        latency_s=0.0,
        overlap=True,
        send_s_per_byte=0.0,
        receive_s_per_byte=0.0,
    )
