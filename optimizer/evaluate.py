"""evaluate(problem, schedule) -> Score: the only cost function. It invents nothing: the schedule says it all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from optimizer.cycle_ratio import Arc, has_deadlock, maximum_cycle_ratio
from optimizer.events import Events, UnroutableError, build_events, served
from optimizer.graph import Graph
from optimizer.memory import arena_peak_bytes
from optimizer.plan import MemoryUse, Plan, Score, Segment, Slot, Transfer
from optimizer.problem import Problem
from optimizer.replicas import copies, every_frame
from optimizer.restrictions import colocation_faults

__all__ = ["Schedule", "evaluate", "latency_s", "memory_use", "order_arcs", "period_s", "start_times"]

_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Schedule:
    """The part of a plan that decides: segments, transfers with depths, and the order on every resource."""

    segments: tuple[Segment, ...]
    transfers: tuple[Transfer, ...]
    orders: Mapping[str, tuple[Slot, ...]]

    @classmethod
    def of(cls, plan: Plan) -> Schedule:
        return cls(plan.segments, plan.transfers, plan.orders)


def evaluate(problem: Problem, schedule: Schedule) -> Score:
    """Score of a schedule: see docs/concepts.md for the model.

    A schedule that can never run (a deadlock) has period and latency inf; broken limits are listed in
    ``violations`` and the figures stand all the same.
    """
    try:
        events = build_events(problem, schedule.segments, schedule.transfers)
    except UnroutableError as error:
        return _unroutable(str(error))
    occupancy = resource_occupancy_s(events)
    period = period_s(events, schedule)
    interval = problem.limits.interval_s(period)
    latency = latency_s(events, schedule)
    memory = memory_use(problem, schedule)
    energy, wire_bytes = _energy(problem, schedule, events, occupancy, interval)
    boards, loss = len(used_boards(problem, schedule)), _accuracy_loss(problem, schedule)
    return Score(
        period_s=period,
        throughput_per_s=1.0 / period if period > 0 else math.inf,
        latency_s=latency,
        energy_j=energy,
        link_bytes=wire_bytes,
        memory_bytes=memory,
        occupancy_s=occupancy,
        boards_used=boards,
        accuracy_loss=loss,
        violations=(
            *_violations(problem, schedule, period, latency, energy, memory),
            *_further_violations(problem, wire_bytes, loss),
        ),
    )


def _unroutable(reason: str) -> Score:
    return Score(math.inf, 0.0, math.inf, math.inf, 0, {}, {}, violations=(reason,))


def resource_occupancy_s(events: Events) -> dict[str, float]:
    """Busy seconds a frame by resource; the largest is a lower bound on the period."""
    busy: dict[str, float] = {}
    for duration, resources in zip(events.duration_s, events.resources, strict=True):
        for resource in resources:
            busy[resource] = busy.get(resource, 0.0) + duration
    return {resource: seconds / events.frames for resource, seconds in busy.items()}


def order_arcs(events: Events, orders: Mapping[str, Sequence[Slot]]) -> list[Arc]:
    """Arcs of the cyclic lists: in turn m a resource serves frame m - stage of each entry, in list order."""
    arcs: list[Arc] = []
    for resource, slots in orders.items():
        entries = served(events, resource, slots)
        for (i, stage_i), (j, stage_j) in itertools.pairwise(entries):
            arcs.append((i, j, events.duration_s[i], stage_i - stage_j))
        if entries:
            (last, last_stage), (first, first_stage) = entries[-1], entries[0]
            arcs.append((last, first, events.duration_s[last], last_stage - first_stage + 1))
    return arcs


def data_arcs(events: Events) -> list[Arc]:
    return [(i, j, events.duration_s[i] + lag, 0) for i, j, lag in events.arcs]


def depth_arcs(events: Events, depths: Sequence[int]) -> list[Arc]:
    """Arcs of the buffer depths; ``depths`` by transfer position."""
    if events.frames > 1:
        return _depth_arcs_of_turn(events, depths)
    return [(i, j, events.duration_s[i] + lag, depths[t]) for i, j, lag, t in events.depth_arcs]


def _depth_arcs_of_turn(events: Events, depths: Sequence[int]) -> list[Arc]:
    """Frame k of those that a transfer carries in a turn waits for frame k - depth, which may be turns ago."""
    arcs: list[Arc] = []
    while len(arcs) < len(events.depth_arcs):
        begin = len(arcs)
        _, _, lag, t = events.depth_arcs[begin]
        ends, takers, _, _ = zip(*events.depth_arcs[begin : begin + events.rings[t]], strict=True)
        for k, taker in enumerate(takers):
            turns, earlier = divmod(k - depths[t], len(ends))
            arcs.append((ends[earlier], taker, events.duration_s[ends[earlier]] + lag, -turns))
    return arcs


def period_s(events: Events, schedule: Schedule) -> float:
    """Maximum cycle ratio of the event graph that orders and depths make, a frame; inf for a deadlock."""
    arcs = data_arcs(events) + order_arcs(events, schedule.orders)
    arcs += depth_arcs(events, [t.depth for t in schedule.transfers])
    nodes = len(events.names)
    if has_deadlock(nodes, arcs):
        return math.inf
    bound = max(resource_occupancy_s(events).values(), default=0.0)
    return maximum_cycle_ratio(nodes, arcs, at_least=bound * events.frames) / events.frames


def start_times(events: Events, orders: Mapping[str, Sequence[Slot]]) -> list[float] | None:
    """Earliest starts of one frame alone, every resource serving by (stage, position); None for a deadlock."""
    successors: list[list[tuple[int, float]]] = [[] for _ in events.names]
    waiting = [0] * len(events.names)
    arcs = [(i, j, events.duration_s[i] + lag) for i, j, lag in events.arcs]
    for slots in orders.values():
        ranked = sorted(range(len(slots)), key=lambda k: (slots[k].stage, k))
        sequence = [events.index[slots[k].activity] for k in ranked]
        arcs += [(i, j, events.duration_s[i]) for i, j in itertools.pairwise(sequence)]
    for i, j, length in arcs:
        successors[i].append((j, length))
        waiting[j] += 1
    start = [0.0] * len(events.names)
    ready = [i for i, count in enumerate(waiting) if count == 0]
    done = 0
    while ready:
        i = ready.pop()
        done += 1
        for j, length in successors[i]:
            start[j] = max(start[j], start[i] + length)
            waiting[j] -= 1
            if waiting[j] == 0:
                ready.append(j)
    return start if done == len(events.names) else None


def latency_s(events: Events, schedule: Schedule) -> float:
    """Completion of one frame alone: the makespan, arrival of the outputs at the sink included.

    With replicas that of the frame that takes longest.
    """
    if events.alone:
        return max(
            latency_s(frame, Schedule(schedule.segments, schedule.transfers, _lists_of_frame(frame, schedule.orders)))
            for frame in events.alone
        )
    start = start_times(events, schedule.orders)
    if start is None:
        return math.inf
    ends = [s + d for s, d in zip(start, events.duration_s, strict=True)]
    ends += [ends[i] + lag for i, lag in _arrivals(events)]
    return max(ends, default=0.0)


def _lists_of_frame(frame: Events, orders: Mapping[str, Sequence[Slot]]) -> dict[str, tuple[Slot, ...]]:
    """The lists without what serves other frames."""
    present = {(name, r) for name, resources in zip(frame.names, frame.resources, strict=True) for r in resources}
    return {r: tuple(s for s in slots if (s.activity, r) in present) for r, slots in orders.items()}


def _arrivals(events: Events) -> list[tuple[int, float]]:
    return [(i, lag) for i, _, lag, _ in events.depth_arcs]


def _energy(
    problem: Problem, schedule: Schedule, events: Events, occupancy: Mapping[str, float], interval_s: float
) -> tuple[float, int]:
    """Joules and wire bytes of one inference, on average over the frames of a turn."""
    tables, frames = problem.tables, events.frames
    segments = every_frame(schedule.segments, frames)
    active = 0.0
    for segment in segments:
        q = problem.processor_index[segment.processor]
        active += float(tables.energy_j[list(segment.operators), q].sum())
    compute: dict[str, float] = {}
    for resources, seconds in zip(events.resources, events.compute_s, strict=True):
        if seconds > 0:
            compute[resources[0]] = compute.get(resources[0], 0.0) + seconds / frames
    in_operators: dict[str, float] = {}
    for segment in segments:
        q = problem.processor_index[segment.processor]
        seconds = float(tables.time_s[list(segment.operators), q].sum())
        in_operators[segment.processor] = in_operators.get(segment.processor, 0.0) + seconds / frames
    used = used_boards(problem, schedule)
    active /= frames
    idle = 0.0
    for ref in problem.processors:
        beside = compute.get(ref.key, 0.0) - in_operators.get(ref.key, 0.0)
        active += ref.processor.active_power_w * max(0.0, beside)
        if ref.board.name in used:
            idle += ref.processor.idle_power_w * max(0.0, interval_s - occupancy.get(ref.key, 0.0))
        elif not ref.board.removable:
            idle += ref.processor.idle_power_w * interval_s
    wire = energy_links = 0.0
    for t in schedule.transfers:
        for hop in t.hops:
            link = problem.link_by_name[hop.link]
            size = link.wire_bytes(t.size_bytes)
            wire += size / t.every
            energy_links += size / t.every * link.energy_j_per_byte
    return active + idle + energy_links, round(wire)


def _accuracy_loss(problem: Problem, schedule: Schedule) -> float | None:
    """Losses of all operators at the precisions of their segments; None without a sensitivity table."""
    table = problem.tables.loss
    if table is None:
        return None
    return math.fsum(table[v, problem.processor_index[s.processor]] for s in schedule.segments for v in s.operators)


def used_boards(problem: Problem, schedule: Schedule) -> set[str]:
    """Boards that host a segment, relay, or are source or sink."""
    used = {problem.system.source, problem.system.sink}
    used |= {problem.processors[problem.processor_index[s.processor]].board.name for s in copies(schedule.segments)}
    for t in schedule.transfers:
        used.update(t.boards)
    return used


def arena_tensors(problem: Problem, segment: Segment, leaving: Collection[int]) -> dict[int, int]:
    """Bytes of the tensors that live in a segment's arena: made there and not leaving."""
    q = problem.processor_index[segment.processor]
    sizes = problem.tables.tensor_bytes
    operators = problem.graph.operators
    return {t: int(sizes[t, q]) for v in segment.operators for t in operators[v].outputs if t not in leaving}


def _segment_peak(problem: Problem, segment: Segment, transfers: Sequence[Transfer]) -> int:
    """Arena peak of a segment, remembered: searches meet the same segments again and again."""
    leaving = tuple(t.tensor for t in transfers if t.producer == segment.name)
    key = (segment.processor, segment.operators, leaving)
    if key not in problem.peaks:
        board = problem.processors[problem.processor_index[segment.processor]].board
        sizes = arena_tensors(problem, segment, leaving)
        problem.peaks[key] = arena_peak_bytes(problem.graph, segment.operators, sizes, in_place=board.in_place)
    return problem.peaks[key]


def memory_use(problem: Problem, schedule: Schedule) -> dict[str, MemoryUse]:
    """Memory of every board, unused ones included (they hold nothing of ours)."""
    graph: Graph = problem.graph
    tables = problem.tables
    arenas: dict[str, dict[str, int]] = {}
    weights: dict[str, dict[int, int]] = {}
    for segment in copies(schedule.segments):
        q = problem.processor_index[segment.processor]
        board = problem.processors[q].board
        peak = _segment_peak(problem, segment, schedule.transfers)
        by_processor = arenas.setdefault(board.name, {})
        by_processor[segment.processor] = max(by_processor.get(segment.processor, 0), peak)
        held = weights.setdefault(board.name, {})
        for v in segment.operators:
            for i in graph.operators[v].initializers:
                held[i] = max(held.get(i, 0), int(tables.initializer_bytes[i, q]))
    buffers: dict[str, int] = {}
    for t in schedule.transfers:
        for name in t.boards:
            buffers[name] = buffers.get(name, 0) + t.depth * t.size_bytes
    used = used_boards(problem, schedule)
    result = {}
    for b, board in enumerate(problem.system.boards):
        arena = sum(arenas.get(board.name, {}).values())
        held_bytes = sum(weights.get(board.name, {}).values())
        buffer = buffers.get(board.name, 0)
        runtime = board.runtime_ram_bytes if board.name in used else 0
        in_ram = held_bytes if board.weights_in == "ram" else 0
        result[board.name] = MemoryUse(
            ram_bytes=arena + buffer + runtime + in_ram,
            ram_available_bytes=int(tables.ram_limit[b]),
            flash_bytes=held_bytes,
            flash_available_bytes=tables.flash_limit[b],
            weights_bytes=held_bytes,
            arena_bytes=arena,
            buffer_bytes=buffer,
            runtime_bytes=runtime,
        )
    return result


def _further_violations(problem: Problem, wire_bytes: int, loss: float | None) -> Iterator[str]:
    limits = problem.limits
    if limits.max_link_bytes is not None and wire_bytes > limits.max_link_bytes:
        yield f"{wire_bytes} B cross the links, {limits.max_link_bytes} B allowed"
    allowed = limits.max_accuracy_loss
    if allowed is not None and loss is not None and loss > allowed * (1 + _TOLERANCE):
        yield f"accuracy loss {loss:.6g} exceeds the limit {allowed:.6g}"


def _violations(
    problem: Problem,
    schedule: Schedule,
    period: float,
    latency: float,
    energy: float,
    memory: Mapping[str, MemoryUse],
) -> list[str]:
    limits = problem.limits
    found = []
    if math.isinf(period) or math.isinf(latency):
        found.append("the orders deadlock: some activities wait for each other for ever")
    for label, value, limit, unit in (
        ("period", period, limits.max_period_s, "s"),
        ("latency", latency, limits.max_latency_s, "s"),
        ("energy", energy, limits.max_energy_j, "J"),
    ):
        if limit is not None and value > limit * (1 + _TOLERANCE):
            found.append(f"{label} {value:.6g} {unit} exceeds the limit {limit:.6g} {unit}")
    for name, use in memory.items():
        if use.ram_bytes > use.ram_available_bytes:
            found.append(f"{name} needs {use.ram_bytes} B of RAM, {use.ram_available_bytes} B available")
        if use.flash_available_bytes is not None and use.flash_bytes > use.flash_available_bytes:
            found.append(f"{name} needs {use.flash_bytes} B of flash, {use.flash_available_bytes} B available")
    if limits.max_boards is not None:
        count = len(used_boards(problem, schedule))
        if count > limits.max_boards:
            found.append(f"{count} boards used, {limits.max_boards} allowed")
    for segment in copies(schedule.segments):
        q = problem.processor_index[segment.processor]
        wrong = [v for v in segment.operators if not problem.tables.allowed[v, q]]
        found.extend(f"{problem.graph.operators[v].name} may not run on {segment.processor}" for v in wrong)
    found.extend(colocation_faults(problem.graph, problem.colocated, schedule.segments))
    return found
