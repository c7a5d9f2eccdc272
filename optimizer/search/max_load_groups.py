"""Exact coarsening of a max-load problem: every optimum of the groups is an optimum of the nodes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx

from optimizer.max_load import MEMORY_TOLERANCE, LoadNode, MaxLoadProblem, PlanClass

__all__ = ["Group", "Groups", "Net", "coarsen"]


@dataclass(frozen=True)
class Group:
    """Nodes that share a device in some optimum. Times in milliseconds."""

    members: tuple[int, ...]
    accelerator_ms: float
    cpu_ms: float
    size_bytes: float
    supported: bool


@dataclass(frozen=True)
class Net:
    """An output, or several with the same users: each accelerator that holds some of the ends but not all pays."""

    ends: tuple[int, ...]
    """Groups, the producer first; at least two."""
    ms: float


@dataclass(frozen=True)
class Groups:
    """The coarse problem; groups are numbered in an order that the precedences allow."""

    problem: MaxLoadProblem
    groups: tuple[Group, ...]
    nets: tuple[Net, ...]
    precedences: tuple[tuple[int, int], ...]
    """(earlier, later) of contiguous plans; none for non-contiguous ones."""

    def placement(self, devices: Sequence[int]) -> tuple[int, ...]:
        """Device by node, from device by group."""
        placed = [0] * len(self.problem.nodes)
        for group, device in zip(self.groups, devices, strict=True):
            for node in group.members:
                placed[node] = device
        return tuple(placed)

    def devices(self, placement: Sequence[int]) -> list[int]:
        """Device by group, from a placement that keeps the groups together."""
        return [placement[group.members[0]] for group in self.groups]


def coarsen(problem: MaxLoadProblem, plan_class: PlanClass) -> Groups:
    """Merge colocation classes, cycles among them (contiguous plans), and nodes without work into a neighbour."""
    parent = list(range(len(problem.nodes)))

    def find(u: int) -> int:
        while parent[u] != u:
            parent[u] = parent[parent[u]]
            u = parent[u]
        return u

    classes: dict[int, int] = {}
    for i, node in enumerate(problem.nodes):
        if node.colocation is not None:
            parent[find(i)] = find(classes.setdefault(node.colocation, i))
    if plan_class == "contiguous":
        ordered: nx.DiGraph[int] = nx.DiGraph()
        ordered.add_edges_from((find(u), find(v)) for u, v in problem.edges if _binds(problem.nodes, u, v))
        for cycle in nx.strongly_connected_components(ordered):
            first, *rest = cycle
            for other in rest:
                parent[other] = first
    labels = [find(i) for i in range(len(problem.nodes))]
    memory_free = sum(n.size_bytes for n in problem.nodes) <= problem.memory_bytes * (1 + MEMORY_TOLERANCE / 2)
    while True:
        coarse = _build(problem, labels, plan_class)
        merged = _idle_merges(coarse, memory_free)
        if not merged:
            return coarse
        for gone, into in merged:
            target = labels[coarse.groups[into].members[0]]
            for member in coarse.groups[gone].members:
                labels[member] = target


def _binds(nodes: Sequence[LoadNode], u: int, v: int) -> bool:
    return not (nodes[u].backward or nodes[v].backward)


def _build(problem: MaxLoadProblem, labels: Sequence[int], plan_class: PlanClass) -> Groups:
    nodes = problem.nodes
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(dict.fromkeys(labels))
    bound = {(labels[u], labels[v]) for u, v in problem.edges if labels[u] != labels[v] and _binds(nodes, u, v)}
    if plan_class == "contiguous":
        graph.add_edges_from(sorted(bound))
        order = list(nx.lexicographical_topological_sort(graph))
    else:
        order = _loose_order(problem, labels)
        bound = set()
    number = {label: i for i, label in enumerate(order)}
    members: list[list[int]] = [[] for _ in order]
    for i, label in enumerate(labels):
        members[number[label]].append(i)
    costs: dict[tuple[int, ...], float] = defaultdict(float)
    for i, consumers in enumerate(problem.consumers):
        users = {number[labels[v]] for v in consumers} - {number[labels[i]]}
        if users and nodes[i].out_ms > 0:
            costs[(number[labels[i]], *sorted(users))] += nodes[i].out_ms
    groups = tuple(
        Group(
            tuple(m),
            sum(nodes[i].accelerator_ms for i in m),
            sum(nodes[i].cpu_ms for i in m),
            sum(nodes[i].size_bytes for i in m),
            all(nodes[i].supported for i in m),
        )
        for m in members
    )
    nets = tuple(Net(ends, ms) for ends, ms in costs.items())
    return Groups(problem, groups, nets, tuple(sorted((number[u], number[v]) for u, v in bound)))


def _loose_order(problem: MaxLoadProblem, labels: Sequence[int]) -> list[int]:
    """Labels by first member in a topological order of the nodes: near neighbours stand near."""
    graph: nx.DiGraph[int] = nx.DiGraph()
    graph.add_nodes_from(range(len(problem.nodes)))
    graph.add_edges_from(problem.edges)
    return list(dict.fromkeys(labels[i] for i in nx.topological_sort(graph)))


def _idle_merges(coarse: Groups, memory_free: bool) -> list[tuple[int, int]]:
    """Groups without work that may join a neighbour, as (group, neighbour); none of them touch each other.

    Exchange argument: take a plan that keeps group u apart from v, and move u to v's device. u has no work, and its
    bytes do not matter, so only transfers change.
    *Into its only consumer*, where its output costs at least as much as its inputs: the device of u, and that of v,
    each lose the output and gain at most the inputs; nobody else gains. u moves later, which its producers allow.
    *Into its only producer*, where what it reads alone costs at least as much as its output: likewise; u moves
    earlier, which its consumers allow. *Into anything*, where it neither reads nor is read. CPUs pay no transfers.
    """
    count = len(coarse.groups)
    inputs: list[list[Net]] = [[] for _ in range(count)]
    outputs: list[list[Net]] = [[] for _ in range(count)]
    for net in coarse.nets:
        outputs[net.ends[0]].append(net)
        for user in net.ends[1:]:
            inputs[user].append(net)
    before: list[set[int]] = [set() for _ in range(count)]
    after: list[set[int]] = [set() for _ in range(count)]
    for u, v in coarse.precedences:
        before[v].add(u)
        after[u].add(v)
    merges: list[tuple[int, int]] = []
    busy: set[int] = set()
    dearest = max(range(count), key=lambda g: coarse.groups[g].cpu_ms)
    for u, group in enumerate(coarse.groups):
        if group.accelerator_ms or group.cpu_ms or not (memory_free or group.size_bytes == 0):
            continue
        neighbour = _into_consumer(u, inputs[u], outputs[u], before[u], after[u])
        if neighbour is None and count > 1 and not (inputs[u] or outputs[u] or before[u] or after[u]):
            neighbour = dearest if u != dearest else None
        if neighbour is None:
            neighbour = _into_producer(u, inputs[u], outputs[u], before[u], after[u])
        if neighbour is None or u in busy or neighbour in busy:
            continue
        if group.supported or not coarse.groups[neighbour].supported:
            merges.append((u, neighbour))
            busy |= {u, neighbour}
    return merges


def _into_consumer(u: int, inputs: list[Net], outputs: list[Net], before: set[int], after: set[int]) -> int | None:
    users = {user for net in outputs for user in net.ends[1:]} | after
    if len(users) != 1 or sum(n.ms for n in inputs) > sum(n.ms for n in outputs):
        return None
    (user,) = users
    return user if not before or user in after else None


def _into_producer(u: int, inputs: list[Net], outputs: list[Net], before: set[int], after: set[int]) -> int | None:
    makers = {net.ends[0] for net in inputs} | before
    private = sum(net.ms for net in inputs if len(net.ends) == 2)
    if len(makers) != 1 or sum(n.ms for n in outputs) > private:
        return None
    (maker,) = makers
    return maker if not after or maker in before else None
