"""A simulation of frames going through a plan, sharing no code with evaluate(): it works from the plan's lists,
the system's raw figures and the cost rows alone."""

from __future__ import annotations

import math
from collections import deque

from boards.board import Link
from optimizer.plan import Plan
from optimizer.problem import Problem


class _Model:
    """What one frame does. With replicas another frame may do it elsewhere, and so has a model of its own."""

    def __init__(self, problem: Problem, plan: Plan, frame: int = 0) -> None:
        self.frame = frame
        self.home = {s.name: s.replicas[frame % len(s.replicas)] if s.replicas else s.processor for s in plan.segments}
        self.transfers = [t for t in plan.transfers if frame % t.every == t.first]
        self.duration: dict[str, float] = {}
        self.beside: dict[str, float] = {}  # what the processor goes on with after that, for messages
        self.needs: dict[str, list[tuple[str, float]]] = {}  # activity -> [(earlier activity, lag)]
        self.frees: dict[str, list[tuple[str, float, int]]] = {}  # activity -> [(activity of frame n - d, lag, d)]
        self.ends: list[tuple[str, float]] = []
        self._segments(problem, plan)
        self.relayed: dict[str, float] = {}  # by board
        self._tensors(problem, plan)
        self._relay(problem, plan)

    def _segments(self, problem: Problem, plan: Plan) -> None:
        rows = problem.costs.operators
        for s in plan.segments:
            seconds = 0.0
            for v in s.operators:
                seconds += rows[problem.graph.operators[v].name, self.home[s.name], s.precision].time_s
            boundary = problem.costs.boundaries.get(self.home[s.name])
            if boundary:
                touching = [t for t in self.transfers if t.producer == s.name or s.name in t.consumers]
                seconds += boundary.segment_s + boundary.s_per_byte * sum(t.size_bytes for t in touching)
            self.duration[f"segment:{s.name}"] = seconds
            self.needs[f"segment:{s.name}"] = []

    def _tensors(self, problem: Problem, plan: Plan) -> None:
        home = {name: key.split("/")[0] for name, key in self.home.items()}
        boards = {b.name for b in problem.system.boards}
        for t in self.transfers:
            tag = t.name if t.every == 1 else f"{t.name}#{t.first}"
            origin = problem.system.source if t.producer is None else home[t.producer]
            maker = None if t.producer is None else f"segment:{t.producer}"
            links = {h.link: problem.link_by_name[h.link] for h in t.hops}
            going: dict[str, list[str]] = {}
            for name, link in links.items():
                going.setdefault(link.source, []).append(name)
            arrival: dict[str, tuple[str, float]] = {}
            takers: list[str] = [] if maker is None else [maker]
            first_user = {home[c]: c for c in reversed(t.consumers)}
            at_origin: tuple[str, float] | None = (maker, 0.0) if maker else None
            sends = [(links[n], links[n].send_s_per_byte * t.size_bytes) for n in going.get(origin, [])]
            if maker:
                self._charge(maker, sends)
            else:
                at_origin = self._forward(tag, origin, sends, None)
                if at_origin:
                    takers.append(at_origin[0])
            queue = deque((n, at_origin) for n in going.get(origin, []))
            while queue:
                name, before = queue.popleft()
                link = links[name]
                hop = f"hop:{tag}@{name}"
                packets = 1 if link.mtu_bytes is None else max(1, -(-t.size_bytes // link.mtu_bytes))
                wire = max(t.size_bytes, link.min_payload_bytes) + packets * link.header_bytes
                self.duration[hop] = link.setup_s + wire / link.bandwidth_bytes_per_s
                self.needs[hop] = [before] if before else []
                if before is None:
                    takers.append(hop)
                after: tuple[str, float] = (hop, link.latency_s)
                if link.target in boards:
                    onward = [links[n] for n in going.get(link.target, [])]
                    work = [(child, child.send_s_per_byte * t.size_bytes) for child in onward]
                    received = [(link, link.receive_s_per_byte * t.size_bytes)]
                    if link.target in first_user:
                        self._charge(f"segment:{first_user[link.target]}", received)
                    else:
                        work += received
                    after = self._forward(tag, link.target, work, after) or after
                arrival[link.target] = after
                queue.extend((n, after) for n in going.get(link.target, []))
            gone: list[tuple[str, float]] = []
            for c in t.consumers:
                user = f"segment:{c}"
                gone.append((user, 0.0))
                if home[c] != origin:
                    self.needs[user].append(arrival[home[c]])
                elif maker:
                    self.needs[user].append((maker, 0.0))
                else:
                    takers.append(user)
            if t.to_sink and problem.system.sink != origin:
                gone.append(arrival[problem.system.sink])
                self.ends.append(arrival[problem.system.sink])
            for taker in takers:
                for activity, lag in gone:
                    self.frees.setdefault(taker, []).append((activity, lag, t.depth * t.every))

    def _charge(self, activity: str, work: list[tuple[Link, float]]) -> None:
        """Messages over polled links hold everything up, others go by the side."""
        for link, seconds in work:
            clock = self.beside if link.overlap else self.duration
            clock[activity] = clock.get(activity, 0.0) + seconds

    def _forward(
        self, tensor: str, board: str, work: list[tuple[Link, float]], before: tuple[str, float] | None
    ) -> tuple[str, float] | None:
        """An activity of its own for polled links alone; the rest goes by the side of what the board runs."""
        self.relayed[board] = self.relayed.get(board, 0.0) + sum(s for link, s in work if link.overlap)
        polled = sum(seconds for link, seconds in work if not link.overlap)
        if polled == 0:
            return None
        name = f"forward:{tensor}@{board}"
        self.duration[name] = polled
        self.needs[name] = [before] if before else []
        return name, 0.0

    def _relay(self, problem: Problem, plan: Plan) -> None:
        for board, seconds in self.relayed.items():
            first = f"{board}/{problem.system.board(board).processors[0].name}"
            here = [f"segment:{s.name}" for s in plan.segments if self.home[s.name] == first]
            if here:
                self.beside[here[-1]] = self.beside.get(here[-1], 0.0) + seconds
            elif seconds > 0:
                name = f"messages:{first}"
                self.duration[name], self.beside[name], self.needs[name] = 0.0, seconds, []


def _turn(plan: Plan) -> int:
    """Frames after which the replicas begin anew."""
    return math.lcm(*(max(1, len(s.replicas)) for s in plan.segments))


def _holders(problem: Problem, model: _Model, plan: Plan) -> dict[str, list[str]]:
    """Resources by activity in the model's frame: who lists it, but of replicas only the one whose turn it is."""
    found: dict[str, list[str]] = {}
    for resource, slots in plan.orders.items():
        for s in slots:
            kind, _, name = s.activity.partition(":")
            if s.activity in model.duration and (kind != "segment" or model.home[name] == resource):
                found.setdefault(s.activity, []).append(resource)
    return found


def simulate(
    problem: Problem, plan: Plan, frames: int, *, alone: bool = False, first: int = 0
) -> list[dict[str, float]]:
    """End times of every activity, a dict a frame; raises RuntimeError where nothing can go on.

    ``alone``: one frame, that of number ``first``, every resource serving by (stage, position).
    """
    models = [_Model(problem, plan, first + n) for n in range(_turn(plan))]
    held = [_holders(problem, model, plan) for model in models]

    def serves(resource: str, activity: str, frame: int) -> bool:
        return resource in held[frame % len(held)].get(activity, [])

    queues: dict[str, deque[tuple[str, int]]] = {}
    for resource, slots in plan.orders.items():
        if alone:
            ranked = sorted(range(len(slots)), key=lambda i: (slots[i].stage, i))
            queue = [(slots[i].activity, 0) for i in ranked]
        else:
            turns = frames + max(s.stage for s in slots)
            queue = [(s.activity, m - s.stage) for m in range(turns) for s in slots if 0 <= m - s.stage < frames]
        queues[resource] = deque((a, n) for a, n in queue if serves(resource, a, n))
    free = dict.fromkeys(queues, 0.0)
    end: list[dict[str, float]] = [{} for _ in range(frames)]
    moved = True
    while moved:
        moved = False
        for resource in queues:
            while queues[resource]:
                activity, frame = queues[resource][0]
                model, holders = models[frame % len(models)], held[frame % len(models)][activity]
                if any(queues[r][0] != (activity, frame) for r in holders):
                    break
                times = [free[r] for r in holders]
                waits = [(a, lag, frame) for a, lag in model.needs[activity]]
                waits += [(a, lag, frame - d) for a, lag, d in model.frees.get(activity, []) if frame - d >= 0]
                if any(a not in end[n] for a, _, n in waits):
                    break
                start = max(times + [end[n][a] + lag for a, lag, n in waits])
                end[frame][activity] = start + model.duration[activity]
                for r in holders:
                    queues[r].popleft()
                    free[r] = end[frame][activity] + model.beside.get(activity, 0.0)
                moved = True
    if any(queues.values()):
        raise RuntimeError("deadlock")
    return end


def measured_period(problem: Problem, plan: Plan) -> float:
    """Seconds a frame of the slowest activity between frames 240 and 480 and whatever completes the turns; inf for
    a deadlock."""
    turn = _turn(plan)
    low, high = 240 // turn * turn, 480 // turn * turn
    try:
        end = simulate(problem, plan, high + turn)
    except RuntimeError:
        return math.inf
    return max(end[high + f][a] - end[low + f][a] for f in range(turn) for a in end[high + f]) / (high - low)


def measured_latency(problem: Problem, plan: Plan) -> float:
    """Seconds of the frame that takes longest when it goes alone."""
    longest = 0.0
    for first in range(_turn(plan)):
        model = _Model(problem, plan, first)
        (end,) = simulate(problem, plan, 1, alone=True, first=first)
        longest = max([longest, *end.values(), *(end[a] + lag for a, lag in model.ends)])
    return longest
