"""Small random problems, made without ONNX files or the catalog."""

from __future__ import annotations

import random
from dataclasses import replace

from boards.board import Board, Link, Processor, System
from optimizer.costs import BoundaryCost, CostTable, OperatorCost
from optimizer.graph import Graph, Initializer, Operator, Tensor
from optimizer.problem import Limits, Problem


def make_processor(name: str = "cpu", active_w: float = 2.0, idle_w: float = 0.5) -> Processor:
    return Processor(name, "cpu", {"fp32": 1e9}, 1e9, 0.0, active_w, idle_w)


def make_board(name: str, **changes: object) -> Board:
    board = Board(
        name=name,
        model="inline",
        processors=(make_processor(),),
        ram_bytes=10**9,
        flash_bytes=None,
        weights_in="ram",
        in_place=True,
        runtime="onnxruntime",
        runtime_ram_bytes=0,
        removable=True,
    )
    return replace(board, **changes)  # type: ignore[arg-type]


def make_graph(edges: list[tuple[int, int]], n: int, sizes: list[int], weights: list[int] | None = None) -> Graph:
    """Operator i makes tensor i + 1; tensor 0 is the input, read by operators without predecessors.

    ``sizes`` has n + 1 entries. Operators without successors make outputs.
    """
    after: dict[int, list[int]] = {}
    before: dict[int, list[int]] = {}
    for u, v in edges:
        after.setdefault(u, []).append(v)
        before.setdefault(v, []).append(u)
    roots = tuple(v for v in range(n) if v not in before)
    tensors = [Tensor("in", (sizes[0],), "uint8", sizes[0], None, roots, False)]
    for v in range(n):
        users = tuple(sorted(set(after.get(v, []))))
        tensors.append(Tensor(f"t{v}", (sizes[v + 1],), "uint8", sizes[v + 1], v, users, not users))
    held = weights or [0] * n
    operators = tuple(
        Operator(
            index=v,
            name=f"op{v}",
            op_type="Any",
            inputs=tuple(u + 1 for u in sorted(set(before.get(v, [])))) or (0,),
            outputs=(v + 1,),
            initializers=(v,) if held[v] else (),
            weight_bytes=held[v],
            macs=0,
        )
        for v in range(n)
    )
    return Graph(
        name="made",
        source="made",
        sha256="0" * 64,
        batch=1,
        opset=17,
        operators=operators,
        tensors=tuple(tensors),
        initializers=tuple(Initializer(f"w{v}", held[v], "uint8") for v in range(n)),
        inputs=(0,),
        outputs=tuple(v + 1 for v in range(n) if v not in after),
    )


def random_graph(rng: random.Random, n: int) -> Graph:
    edges = []
    for v in range(1, n):
        for u in rng.sample(range(v), k=min(v, rng.choice([1, 1, 1, 2, 2, 3]))):
            if rng.random() < 0.9:
                edges.append((u, v))
    sizes = [rng.choice([10, 100, 300, 1000]) for _ in range(n + 1)]
    return make_graph(edges, n, sizes, [rng.choice([0, 50, 200]) for _ in range(n)])


def random_system(rng: random.Random, k: int, kind: str = "mesh") -> System:
    """``kind``: mesh (a link each way a pair), line, switch, shared (one medium for all), polled (no overlap), or busy
    (a line whose messages keep the processors at work)."""
    boards = tuple(
        make_board(
            f"b{i}",
            removable=rng.random() < 0.5,
            processors=(make_processor(active_w=rng.uniform(1, 5), idle_w=rng.uniform(0.1, 1)),),
        )
        for i in range(k)
    )
    switches: tuple[str, ...] = ()
    pairs = [(f"b{i}", f"b{j}") for i in range(k) for j in range(k) if i != j]
    if kind in ("line", "busy"):
        pairs = [(a, b) for a, b in pairs if abs(int(a[1:]) - int(b[1:])) == 1]
    if kind == "switch":
        switches = ("sw",)
        pairs = [p for i in range(k) for p in ((f"b{i}", "sw"), ("sw", f"b{i}"))]
    links = tuple(
        Link(
            name=f"{a}->{b}",
            source=a,
            target=b,
            medium="air" if kind == "shared" else f"{a}->{b}",
            bandwidth_bytes_per_s=rng.uniform(200, 5000),
            setup_s=rng.choice([0.0, 0.01]),
            latency_s=rng.choice([0.0, 0.02]),
            mtu_bytes=rng.choice([None, 128]),
            header_bytes=rng.choice([0, 8]),
            energy_j_per_byte=rng.uniform(0, 1e-3),
            overlap=kind != "polled",
            send_s_per_byte=rng.choice([1e-4, 5e-4] if kind == "busy" else [0.0, 1e-5]),
            receive_s_per_byte=rng.choice([1e-4, 5e-4] if kind == "busy" else [0.0, 1e-5]),
        )
        for a, b in pairs
    )
    return System("made", boards, links, "b0", rng.choice([b.name for b in boards]), switches)


def random_problem(seed: int, n: int = 7, k: int = 2, kind: str = "mesh", limits: Limits | None = None) -> Problem:
    rng = random.Random(seed)
    graph = random_graph(rng, n)
    system = random_system(rng, k, kind)
    speed = [rng.uniform(0.3, 1.5) for _ in range(k)]
    rows = {}
    for op in graph.operators:
        base = rng.choice([0.0, 0.05, 0.2, 1.0])
        for i, ref in enumerate(system.processors):
            seconds = base * speed[i] * rng.uniform(0.7, 1.3)
            rows[op.name, ref.key, "fp32"] = OperatorCost(seconds, seconds * ref.processor.active_power_w, "made")
    boundaries = {}
    if rng.random() < 0.5:
        boundaries = {ref.key: BoundaryCost(1e-5, 0.01, "made") for ref in system.processors}
    return Problem(graph, system, CostTable(rows, boundaries), limits or Limits())
