"""Max-load placement: the problem of Tarnawski et al. (NeurIPS 2020), with its own semantics.

A graph is shared among k identical accelerators and l identical CPUs that work as a pipeline; the dearest device
sets the time per sample. An accelerator pays its operators' times and, once an operator whose output crosses its
border (produced here and used elsewhere, or the reverse), that output's transfer time. A CPU pays its operators'
times only: the data are in its memory already. The sizes on one accelerator must fit its memory; nodes of one
colocation class share a device; devices may stay empty.

Classes of plans. *Non-contiguous*: any placement. *Contiguous*: the devices can be put in an order (any order) in
which no forward edge goes backwards, so that each device holds the difference of two nested downsets. Backward nodes
(training) are bound by their colocation classes only, as in the paper's integer program.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import networkx as nx

__all__ = ["MEMORY_TOLERANCE", "LoadNode", "MaxLoadProblem", "MaxLoadResult", "PlanClass", "max_load", "violations"]

PlanClass = Literal["contiguous", "non-contiguous"]
MEMORY_TOLERANCE = 1e-9
"""Relative: sizes are floats in the files, and their sum depends on its order."""


@dataclass(frozen=True)
class LoadNode:
    """One operator. Times in milliseconds; ``out_ms`` is the time to move its output over one border."""

    name: str
    accelerator_ms: float
    cpu_ms: float
    size_bytes: float
    out_ms: float = 0.0
    supported: bool = True
    """Whether an accelerator can run it."""
    backward: bool = False
    colocation: int | None = None


@dataclass(frozen=True)
class MaxLoadProblem:
    """Nodes, edges (producer, consumer) by node index, and the devices: accelerators first, then CPUs."""

    name: str
    nodes: tuple[LoadNode, ...]
    edges: tuple[tuple[int, int], ...]
    accelerators: int
    cpus: int
    memory_bytes: float = math.inf
    """Of one accelerator."""

    @property
    def devices(self) -> int:
        return self.accelerators + self.cpus

    @cached_property
    def consumers(self) -> tuple[frozenset[int], ...]:
        """Consumers by node."""
        found: list[set[int]] = [set() for _ in self.nodes]
        for u, v in self.edges:
            found[u].add(v)
        return tuple(frozenset(c) for c in found)


@dataclass(frozen=True)
class MaxLoadResult:
    """What a search found and proved for one class of plans.

    ``value_ms`` and ``placement`` (device by node) are None where no plan is known; ``bound_ms`` holds for every plan
    of the class and is inf where it has none.
    """

    plan_class: PlanClass
    value_ms: float | None
    bound_ms: float
    status: Literal["optimal", "feasible", "infeasible", "unknown"]
    placement: tuple[int, ...] | None
    method: str
    seconds: float

    @property
    def gap(self) -> float | None:
        """(value - bound) / value."""
        if self.value_ms is None:
            return None
        return max(0.0, (self.value_ms - self.bound_ms) / self.value_ms) if self.value_ms > 0 else 0.0


def max_load(problem: MaxLoadProblem, placement: Sequence[int]) -> float:
    """Milliseconds of the dearest device; the one cost function of this problem."""
    loads: list[list[float]] = [[] for _ in range(problem.devices)]
    for index, (node, device) in enumerate(zip(problem.nodes, placement, strict=True)):
        loads[device].append(node.accelerator_ms if device < problem.accelerators else node.cpu_ms)
        users = {placement[v] for v in problem.consumers[index]} | {device}
        if len(users) > 1:
            for user in users:
                if user < problem.accelerators:
                    loads[user].append(node.out_ms)
    return max((math.fsum(parts) for parts in loads), default=0.0)


def violations(problem: MaxLoadProblem, placement: Sequence[int], plan_class: PlanClass) -> list[str]:
    """What forbids this placement, in words; empty if it may be used."""
    found = []
    home: dict[int, int] = {}
    sizes: list[list[float]] = [[] for _ in range(problem.accelerators)]
    for node, device in zip(problem.nodes, placement, strict=True):
        if device < problem.accelerators:
            sizes[device].append(node.size_bytes)
            if not node.supported:
                found.append(f"{node.name} cannot run on an accelerator")
        if node.colocation is not None and home.setdefault(node.colocation, device) != device:
            found.append(f"colocation class {node.colocation} is parted")
    for device, parts in enumerate(sizes):
        used = math.fsum(parts)
        if used > problem.memory_bytes * (1 + MEMORY_TOLERANCE):
            found.append(f"accelerator {device} holds {used:.0f} of {problem.memory_bytes:.0f} bytes")
    if plan_class == "contiguous" and not _ordered(problem, placement):
        found.append("the devices cannot be put in an order")
    return found


def _ordered(problem: MaxLoadProblem, placement: Sequence[int]) -> bool:
    between: nx.DiGraph[int] = nx.DiGraph()
    for u, v in problem.edges:
        forward = not (problem.nodes[u].backward or problem.nodes[v].backward)
        if forward and placement[u] != placement[v]:
            between.add_edge(placement[u], placement[v])
    return bool(nx.is_directed_acyclic_graph(between))
