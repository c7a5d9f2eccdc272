"""Costs from a profile of the whole model on the board: kernel times mapped to operators by output tensor.

ONNX Runtime runs an optimised graph: operators are fused, folded away, laid out anew. What stays the same are
the tensors' names. A kernel belongs to the operator that makes its output; at level "all" the output is a new
one ("reorder_token_3"), but the kernel's own name is the last fused operator's output plus "_nchwc". Kernels
without such a trace (layout changes, reshapes around a Gemm) belong to the kernel that uses their result.

An operator without a kernel of its own was fused into the next one that has one. They share its time by their
work; so a cut between Conv and Relu is priced as Conv here and Relu there, and what the lost fusion costs on
top is the boundary's (:func:`fit_boundary`). Profiling slows the model by 3 to 25 %: the times are scaled to
the model's time without the profiler.

No hardware here: `hil.profile` fetches, this maps.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

from boards.board import Link, ProcessorRef
from optimizer.costs import BoundaryCost, LinkCost, OperatorCost
from optimizer.errors import CostError
from optimizer.graph import Graph, Operator

__all__ = [
    "CutTimes",
    "Kernel",
    "LinkTimes",
    "OperatorTime",
    "fit_boundary",
    "fit_link",
    "map_profile",
    "profile_precision",
    "profiled_costs",
    "read_kernels",
]

_KERNEL_SUFFIX = "_kernel_time"
_SLOWEST_DROPPED = 0.25
"""Share of a kernel's runs, the slowest, that are left out: other work of the machine, not the kernel's."""
_VIEWS = frozenset({"Cast", "Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that the runtime drops or turns into a view of the same bytes: without a kernel they are free."""
_LEAST_OPERATORS_SHARE = 0.5
"""Of the model's time, what its operators take at least, however large a noisy boundary fit is."""
_NO_KERNEL = "profile: no kernel"


@dataclass(frozen=True)
class Kernel:
    """One node of the optimised graph as it ran; ``time_s`` is the mean of the faster three quarters."""

    name: str
    op_type: str
    time_s: float


@dataclass(frozen=True)
class OperatorTime:
    """Kernel seconds of one operator, as profiled; ``fused_into`` names the one whose kernel it shares."""

    time_s: float
    has_kernel: bool
    fused_into: str | None = None


@dataclass(frozen=True)
class CutTimes:
    """A cut of the model in two, timed: ``halves_s`` is the sum of both, ``whole_s`` the model uncut."""

    crossing_bytes: int
    halves_s: float
    whole_s: float


@dataclass(frozen=True)
class LinkTimes:
    """What was measured of one directed link; bytes are payload, one message a round trip.

    ``round_trip_s`` is that of an empty message and an empty answer. Processor seconds are of the burst.
    """

    round_trip_s: float
    burst_bytes: int
    burst_s: float
    send_processor_s: float
    receive_processor_s: float


def read_kernels(trace: bytes) -> tuple[Kernel, ...]:
    """Kernels of an ONNX Runtime profile (its JSON file), in the order they ran. Raises CostError."""
    try:
        events = json.loads(trace)
    except ValueError as e:
        raise _bad_trace(str(e)) from e
    if not isinstance(events, list):
        raise _bad_trace(f"a JSON {type(events).__name__}")
    runs: dict[tuple[str, str, str], list[float]] = {}
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(_KERNEL_SUFFIX):
            facts = event.get("args", {})
            op_type, position = str(facts.get("op_name", "")), str(facts.get("node_index", ""))
            key = (name.removesuffix(_KERNEL_SUFFIX), op_type, position)
            runs.setdefault(key, []).append(float(event.get("dur", 0)) * 1e-6)
    if not runs:
        raise _bad_trace("no event of category Node")
    return tuple(Kernel(name, op_type, _typical(times)) for (name, op_type, _), times in runs.items())


def map_profile(graph: Graph, trace: bytes, optimised_model: bytes) -> tuple[OperatorTime, ...]:
    """Kernel seconds of every operator, by its position in ``graph``. Raises CostError.

    ``optimised_model`` is the ONNX graph that the runtime says it ran, weights not needed.
    """
    nodes = _read_nodes(optimised_model)
    times = _node_times(nodes, read_kernels(trace))
    owners = _owners(graph, nodes)
    kernel_s = [0.0] * len(graph.operators)
    has_kernel = [False] * len(graph.operators)
    for owner, time_s in zip(owners, times, strict=True):
        if owner is not None and time_s is not None:
            kernel_s[owner] += time_s
            has_kernel[owner] = True
    if not any(kernel_s):
        raise CostError(
            "no kernel of the profile belongs to an operator of the model",
            where=graph.source,
            expected="a profile of this model",
            got=f"kernels such as {next((n.name for n in nodes), 'none')!r}",
        )
    return _share(graph, kernel_s, has_kernel)


def profile_precision(processor: ProcessorRef) -> str:
    """Precision under which a float32 model's profile is entered for a processor."""
    rates = processor.processor.macs_per_s
    return "fp32" if "fp32" in rates else next(iter(rates))


def profiled_costs(
    graph: Graph,
    processor: ProcessorRef,
    times: Sequence[OperatorTime],
    whole_s: float,
    boundary: BoundaryCost | None,
    provenance: str,
) -> dict[tuple[str, str, str], OperatorCost]:
    """Cost entries of one processor, scaled so that the whole model as one segment takes ``whole_s``."""
    target_s = whole_s
    if boundary is not None:
        ends = {*graph.inputs, *graph.outputs}
        end_bytes = sum(graph.tensors[t].size_bytes for t in ends)
        target_s = whole_s - boundary.segment_s - boundary.s_per_byte * end_bytes
        target_s = max(target_s, whole_s * _LEAST_OPERATORS_SHARE)
    scale = target_s / sum(time.time_s for time in times)
    precision = profile_precision(processor)
    costs: dict[tuple[str, str, str], OperatorCost] = {}
    for operator, time in zip(graph.operators, times, strict=True):
        source = provenance
        if not time.has_kernel:
            source = _NO_KERNEL if time.fused_into is None else f"{provenance}; fused into {time.fused_into}"
        time_s = time.time_s * scale
        energy_j = time_s * processor.processor.active_power_w
        costs[operator.name, processor.key, precision] = OperatorCost(time_s, energy_j, source)
    return costs


def fit_boundary(cuts: Sequence[CutTimes], provenance: str) -> BoundaryCost:
    """The boundary term that explains best what the cuts cost; neither part negative.

    Cutting once adds one segment, and the crossing bytes leave one segment and enter another:
    halves - whole = segment_s + s_per_byte x 2 x crossing bytes, in the least squares sense.
    """
    if not cuts:
        raise CostError("no cut to fit the boundary term to", expected="at least one timed cut", got="none")
    xs = [2.0 * cut.crossing_bytes for cut in cuts]
    ys = [cut.halves_s - cut.whole_s for cut in cuts]
    candidates = [(0.0, 0.0), (0.0, max(0.0, sum(ys) / len(ys)))]
    square = sum(x * x for x in xs)
    if square > 0:
        candidates.append((max(0.0, sum(x * y for x, y in zip(xs, ys, strict=True)) / square), 0.0))
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    spread = sum((x - mean_x) ** 2 for x in xs)
    if spread > 0:
        slope = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / spread
        intercept = mean_y - slope * mean_x
        if slope >= 0 and intercept >= 0:
            candidates.append((slope, intercept))

    def residual(candidate: tuple[float, float]) -> float:
        slope, intercept = candidate
        return sum((slope * x + intercept - y) ** 2 for x, y in zip(xs, ys, strict=True))

    slope, intercept = min(candidates, key=residual)
    return BoundaryCost(s_per_byte=slope, segment_s=intercept, provenance=provenance)


def fit_link(link: Link, times: LinkTimes, provenance: str) -> LinkCost:
    """A link's figures from its measurement.

    The bandwidth is that of wire bytes as ``link`` counts them (headers and all). Of an empty message's
    one-way time, what the system file calls latency stays latency; the rest counts as set-up.
    """
    if times.burst_bytes <= 0 or times.burst_s <= 0 or times.round_trip_s < 0:
        raise CostError(
            "the measurement of a link makes no sense",
            where=link.name,
            expected="a burst of more than 0 bytes in more than 0 s",
            got=f"{times.burst_bytes} bytes in {times.burst_s:g} s",
        )
    one_way_s = times.round_trip_s / 2
    latency_s = min(link.latency_s, one_way_s)
    return LinkCost(
        bandwidth_bytes_per_s=link.wire_bytes(times.burst_bytes) / times.burst_s,
        setup_s=one_way_s - latency_s,
        latency_s=latency_s,
        send_s_per_byte=times.send_processor_s / times.burst_bytes,
        receive_s_per_byte=times.receive_processor_s / times.burst_bytes,
        provenance=provenance,
    )


@dataclass(frozen=True)
class _Node:
    """A node of the optimised graph."""

    name: str
    op_type: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def _read_nodes(optimised_model: bytes) -> tuple[_Node, ...]:
    try:
        model = onnx.ModelProto.FromString(optimised_model)
    except DecodeError as e:
        raise CostError("the optimised model of the profile cannot be read", got=str(e)) from e
    return tuple(_Node(n.name, n.op_type, tuple(n.input), tuple(n.output)) for n in model.graph.node)


def _node_times(nodes: Sequence[_Node], kernels: Sequence[Kernel]) -> list[float | None]:
    """Time of every node; None for nodes that never ran.

    By name and type; where several nodes have no name (the runtime then makes one up) or the same one, in
    their order. Kernels of sub-graphs (bodies of If, Loop) fit no node: the outer kernel's time holds theirs.
    """
    named = {(node.name, node.op_type) for node in nodes if node.name}
    waiting: dict[tuple[str, str], deque[float]] = {}
    for kernel in kernels:
        key = (kernel.name, kernel.op_type)
        if key not in named and kernel.name.startswith(f"{kernel.op_type}_"):
            key = ("", kernel.op_type)
        waiting.setdefault(key, deque()).append(kernel.time_s)
    times: list[float | None] = []
    for node in nodes:
        found = waiting.get((node.name, node.op_type))
        times.append(found.popleft() if found else None)
    return times


def _owners(graph: Graph, nodes: Sequence[_Node]) -> list[int | None]:
    """The operator that each node of the optimised graph stands for."""
    known = {op.name: op.index for op in graph.operators}
    known |= {t.name: t.producer for t in graph.tensors if t.producer is not None}
    owners: list[int | None] = []
    for node in nodes:
        made = [known[name] for name in node.outputs if name in known]
        owners.append(max(made) if made else _owner_by_name(node, known))
    users: dict[str, int] = {}
    for position in range(len(nodes) - 1, -1, -1):  # users stand behind: what they own is settled first
        node = nodes[position]
        if owners[position] is None:
            owners[position] = next((users[name] for name in node.outputs if name in users), None)
        owner = owners[position]
        if owner is not None:
            users.update(dict.fromkeys(node.inputs, owner))
    makers: dict[str, int] = {}
    for position, node in enumerate(nodes):  # the very last ones have no user: they follow their maker
        if owners[position] is None:
            owners[position] = next((makers[name] for name in node.inputs if name in makers), None)
        owner = owners[position]
        if owner is not None:
            makers.update(dict.fromkeys(node.outputs, owner))
    return owners


def _owner_by_name(node: _Node, known: Mapping[str, int]) -> int | None:
    """The longest known tensor or operator name that the node's own names continue: X of X_nchwc, X/Fused."""
    best = ""
    for name in (node.name, *node.outputs):
        for end in range(len(name), len(best), -1):
            if (end == len(name) or name[end] in "_/") and name[:end] in known:
                best = name[:end]
                break
    return known[best] if best else None


def _share(graph: Graph, kernel_s: Sequence[float], has_kernel: Sequence[bool]) -> tuple[OperatorTime, ...]:
    """Spread each kernel's time over the operators fused into it, by their work."""
    leaders = _leaders(graph, has_kernel)
    work = [0.0] * len(graph.operators)
    for operator in graph.operators:
        is_idle = not has_kernel[operator.index] and operator.op_type in _VIEWS
        if leaders[operator.index] is not None and not is_idle:
            work[operator.index] = _work(graph, operator)
    total = [0.0] * len(graph.operators)
    for index, leader in enumerate(leaders):
        if leader is not None:
            total[leader] += work[index]
    times: list[OperatorTime] = []
    for index, leader in enumerate(leaders):
        if leader is None or work[index] == 0:
            times.append(OperatorTime(0.0, has_kernel=False))
            continue
        time_s = kernel_s[leader] * work[index] / total[leader]
        fused_into = None if leader == index else graph.operators[leader].name
        times.append(OperatorTime(time_s, has_kernel[index], fused_into))
    return tuple(times)


def _leaders(graph: Graph, has_kernel: Sequence[bool]) -> list[int | None]:
    """For each operator the one whose kernel runs it: itself, else a neighbour it was fused with.

    A fused kernel is known by its last operator, so an operator without one belongs to the next that has one.
    But activations and sums in front of a Conv or MatMul ride on the kernel before them.
    """
    leaders: list[int | None] = [op.index if has_kernel[op.index] else None for op in graph.operators]
    _follow_users(graph, leaders, into_products=False)
    for operator in graph.operators:
        if leaders[operator.index] is None:
            makers = sorted(m for t in operator.inputs if (m := graph.tensors[t].producer) is not None)
            leaders[operator.index] = _first(leaders[maker] for maker in reversed(makers))
    _follow_users(graph, leaders, into_products=True)
    return leaders


def _follow_users(graph: Graph, leaders: list[int | None], *, into_products: bool) -> None:
    """Give operators without a leader that of a user; ``into_products``: even if only the user multiplies."""
    for operator in reversed(graph.operators):
        if leaders[operator.index] is None:
            users = sorted({c for t in operator.outputs for c in graph.tensors[t].consumers})
            fit = (u for u in users if into_products or operator.macs or not graph.operators[u].macs)
            leaders[operator.index] = _first(leaders[user] for user in fit)


def _first(values: Iterable[int | None]) -> int | None:
    return next((value for value in values if value is not None), None)


def _work(graph: Graph, operator: Operator) -> float:
    """A measure for sharing one kernel's time: multiplications, and a step for every byte that is written."""
    return operator.macs + sum(graph.tensors[t].size_bytes for t in operator.outputs) + 1.0


def _typical(times: Sequence[float]) -> float:
    kept = sorted(times)[: max(1, len(times) - int(len(times) * _SLOWEST_DROPPED))]
    return sum(kept) / len(kept)


def _bad_trace(got: str) -> CostError:
    expected = "ONNX Runtime's profile with kernel times"
    return CostError("the profile cannot be used", expected=expected, got=got)
