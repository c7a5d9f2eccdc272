"""Hand-made plans for the report's tests: a residual network over a chain of boards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

from boards.board import Board, Link, Processor, System
from optimizer.graph import Graph, Initializer, Operator, Tensor
from optimizer.plan import Certificate, Front, Hop, MemoryUse, Plan, Score, Segment, Transfer
from optimizer.report_data import Baseline, DemoRow, GanttBar, Measured, ReportData

CLASS = "contiguous plans, any board order"


def residual_graph(blocks: int, name: str = "resnet") -> Graph:
    """A stem of 3 operators, ``blocks`` residual blocks of 8 operators, a head of 3."""
    return _Maker(name).build(blocks)


class _Maker:
    def __init__(self, name: str) -> None:
        self.name = name
        self.rows: list[tuple[str, str, tuple[int, ...], tuple[int, ...], int, int]] = []
        self.shapes: list[tuple[int, ...]] = [(1, 3, 224, 224)]

    def add(self, path: str, kind: str, inputs: tuple[int, ...], shape: tuple[int, ...], macs: int, w: int) -> int:
        self.rows.append((path, kind, inputs, shape, macs, w))
        self.shapes.append(shape)
        return len(self.rows)

    def build(self, blocks: int) -> Graph:
        big, head = (1, 64, 56, 56), (1, 1000)
        x = self.add("/conv1/Conv", "Conv", (0,), (1, 64, 112, 112), 118_013_952, 37_888)
        x = self.add("/relu/Relu", "Relu", (x,), (1, 64, 112, 112), 0, 0)
        x = self.add("/maxpool/MaxPool", "MaxPool", (x,), big, 0, 0)
        for b in range(blocks):
            x = self.block(f"/layer{1 + b % 4}/layer{1 + b % 4}.{b}", x, big)
        x = self.add("/avgpool/GlobalAveragePool", "GlobalAveragePool", (x,), (1, 64, 1, 1), 0, 0)
        x = self.add("/Flatten", "Flatten", (x,), (1, 64), 0, 0)
        self.add("/fc/Gemm", "Gemm", (x,), head, 64_000, 260_000)
        return self.graph()

    def block(self, path: str, x: int, shape: tuple[int, ...]) -> int:
        y = x
        for k in (1, 2, 3):
            y = self.add(f"{path}/conv{k}/Conv", "Conv", (y,), shape, 12_845_056 * k, 16_640 * k)
            if k < 3:
                y = self.add(f"{path}/relu_{k}/Relu", "Relu", (y,), shape, 0, 0)
        side = self.add(f"{path}/downsample/Conv", "Conv", (x,), shape, 12_845_056, 16_640)
        y = self.add(f"{path}/Add", "Add", (y, side), shape, 0, 0)
        return self.add(f"{path}/relu_3/Relu", "Relu", (y,), shape, 0, 0)

    def graph(self) -> Graph:
        consumers: dict[int, list[int]] = {}
        for v, row in enumerate(self.rows):
            for t in row[2]:
                consumers.setdefault(t, []).append(v)
        names = ["input", *(f"{row[0]}_output_0" for row in self.rows)]
        tensors = tuple(
            Tensor(
                name,
                shape,
                "float32",
                4 * _product(shape),
                None if t == 0 else t - 1,
                tuple(consumers.get(t, ())),
                t == len(self.rows),
            )
            for t, (name, shape) in enumerate(zip(names, self.shapes, strict=True))
        )
        held = [v for v, row in enumerate(self.rows) if row[5]]
        operators = tuple(
            Operator(
                v,
                path,
                kind,
                inputs,
                (v + 1,),
                (held.index(v),) if weights else (),
                weights,
                macs,
                nodes=(v,),
            )
            for v, (path, kind, inputs, _, macs, weights) in enumerate(self.rows)
        )
        return Graph(
            name=self.name,
            source=f"zoo:{self.name}",
            sha256="5f1c" * 16,
            batch=1,
            opset=17,
            operators=operators,
            tensors=tensors,
            initializers=tuple(Initializer(f"w{v}", self.rows[v][5], "float32") for v in held),
            inputs=(0,),
            outputs=(len(self.rows),),
        )


def _product(shape: Sequence[int]) -> int:
    result = 1
    for d in shape:
        result *= d
    return result


def chain_system(names: Sequence[str]) -> System:
    """Boards in a chain, neighbours joined by a link each way; input and output at the first."""
    boards = tuple(
        Board(
            name=name,
            model="inline",
            processors=(Processor("cpu", "cpu", {"fp32": 8e9}, 4e9, 1e-5, 4.0, 1.5),),
            ram_bytes=64 << 20,
            flash_bytes=None if k % 2 == 0 else 32 << 20,
            weights_in="ram" if k % 2 == 0 else "flash",
            in_place=True,
            runtime="onnxruntime",
            runtime_ram_bytes=9 << 20,
            removable=True,
        )
        for k, name in enumerate(names)
    )
    links = tuple(Link(f"{a}->{b}", a, b, f"{a}->{b}", 12.5e6) for x, y in pairwise(names) for a, b in ((x, y), (y, x)))
    return System("demo", boards, links, names[0], names[0])


def contiguous_plan(graph: Graph, system: System, cuts: Sequence[int], order: Sequence[str]) -> Plan:
    """Segments between ``cuts`` on the boards of ``order``, with the transfers that follow from them."""
    edges = [0, *cuts, len(graph.operators)]
    segments = tuple(
        Segment(f"s{k}", f"{board}/cpu", "fp32", tuple(range(edges[k], edges[k + 1]))) for k, board in enumerate(order)
    )
    home = {v: k for k, s in enumerate(segments) for v in s.operators}
    transfers = tuple(
        transfer
        for t in range(len(graph.tensors))
        if (transfer := _transfer(graph, system, t, home, order)) is not None
    )
    period = 0.0223
    share = [len(s.operators) / len(graph.operators) for s in segments]
    occupancy = {s.processor: period * (0.55 + 0.45 * x / max(share)) for s, x in zip(segments, share, strict=True)}
    occupancy.update({hop.link: 0.0071 for t in transfers for hop in t.hops})
    score = Score(
        period_s=period,
        throughput_per_s=1 / period,
        latency_s=0.0583,
        energy_j=0.311,
        link_bytes=sum(len(t.hops) * t.size_bytes for t in transfers),
        memory_bytes={b.name: _memory(b, k) for k, b in enumerate(system.boards)},
        occupancy_s=occupancy,
    )
    return Plan(segments, transfers, {}, score, "proven (throughput)")


def _transfer(graph: Graph, system: System, t: int, home: dict[int, int], order: Sequence[str]) -> Transfer | None:
    tensor = graph.tensors[t]
    made = None if tensor.producer is None else home[tensor.producer]
    users = sorted({home[c] for c in tensor.consumers} - {made})
    if not users and not tensor.is_output:
        return None
    origin = system.source if made is None else order[made]
    targets = [order[u] for u in users] + ([system.sink] if tensor.is_output else [])
    links = list(dict.fromkeys(i for target in targets for i in system.route(origin, target) or ()))
    boards = dict.fromkeys([origin, *(system.links[i].target for i in links)])
    return Transfer(
        tensor=t,
        name=tensor.name,
        size_bytes=tensor.size_bytes,
        producer=None if made is None else f"s{made}",
        consumers=tuple(f"s{u}" for u in users),
        to_sink=tensor.is_output,
        hops=tuple(Hop(t, system.links[i].name) for i in links),
        boards=tuple(boards),
        depth=2,
    )


def _memory(board: Board, k: int) -> MemoryUse:
    weights, arena, buffers = (6 + 9 * k) << 20, (11 - 2 * k) << 20, 3 << 20
    in_ram = weights if board.weights_in == "ram" else 0
    return MemoryUse(
        ram_bytes=in_ram + arena + buffers + board.runtime_ram_bytes,
        ram_available_bytes=board.ram_bytes,
        flash_bytes=weights,
        flash_available_bytes=board.flash_bytes,
        weights_bytes=weights,
        arena_bytes=arena,
        buffer_bytes=buffers,
        runtime_bytes=board.runtime_ram_bytes,
    )


def timeline_of(plan: Plan) -> tuple[GanttBar, ...]:
    """Plausible bars: segments one after the other, wrapping; each hop where its producer ends."""
    period, at, bars = plan.score.period_s, 0.0, []
    for segment in plan.segments:
        length = plan.score.occupancy_s[segment.processor]
        start, stage = at % period, int(at / period)
        bars.append(GanttBar(segment.processor, f"segment:{segment.name}", segment.name, start, start + length, stage))
        at += length
        for transfer in plan.transfers:
            if transfer.producer == segment.name:
                for hop in transfer.hops:
                    start, stage = at % period, int(at / period)
                    name = f"hop:{transfer.name}@{hop.link}"
                    bars.append(GanttBar(hop.link, name, transfer.name, start, start + 0.0035, stage))
                    at += 0.0035
    return tuple(bars)


def front_of(plan: Plan, count: int = 14) -> Front:
    """``plan`` as the best throughput, and a trade-off towards low latency and low energy."""
    plans = [plan]
    for k in range(1, count):
        x = k / max(1, count - 1)
        score = replace(
            plan.score,
            period_s=plan.score.period_s * (1 + 1.1 * x),
            throughput_per_s=plan.score.throughput_per_s / (1 + 1.1 * x),
            latency_s=plan.score.latency_s * (1 - 0.25 * x**0.6),
            energy_j=plan.score.energy_j * (1 - 0.3 * x + 0.22 * x * x),
        )
        proven = k in (count - 1, count // 2)
        plans.append(replace(plan, score=score, status="proven (latency)" if proven else "heuristic"))
    best = min(p.score.latency_s for p in plans)
    energy = min(p.score.energy_j for p in plans)
    top = plan.score.throughput_per_s
    certificates = {
        "throughput": Certificate(top, top, 0.0, "1/s", "proven", CLASS, "CP-SAT, all board orders", 1.21),
        "latency": Certificate(best, best * 0.987, 0.013, "s", "bounded", CLASS, "CP-SAT", 0.9),
        "energy": Certificate(energy, None, None, "J", "heuristic", CLASS, "NSGA-II", 0.4),
    }
    return Front(tuple(plans), certificates, 0, "throughput", 0, 3.42, 18_240, {"cpsat": 2.1})


def sample(blocks: int = 4, boards: Sequence[str] = ("left", "right"), measured: bool = False) -> ReportData:
    """A whole report over a residual network of 6 + 8 x ``blocks`` operators."""
    graph = residual_graph(blocks)
    system = chain_system(boards)
    n, k = len(graph.operators), len(boards)
    plan = contiguous_plan(graph, system, [n * (i + 1) // k for i in range(k - 1)], list(boards))
    return ReportData(
        graph=graph,
        system=system,
        front=front_of(plan),
        timeline=timeline_of(plan),
        baselines=(
            Baseline(f"{boards[0]}/cpu", 26.1, 0.0383, 0.291, True),
            Baseline(f"{boards[1]}/cpu", None, None, None, False, "needs 71.2 MiB of RAM, 64 MiB available"),
        ),
        limits_text=("latency at most 80 ms", "right: flash at most 32 MiB"),
        versions={"edgecut": "0.1.0", "ortools": "9.15", "onnx": "1.23.2"},
        created="2026-11-21 12:40",
        measured=measured_sample() if measured else None,
        warnings=("2 operators of unknown type got a byte-based cost: Foo, Bar",),
    )


def measured_sample() -> Measured:
    """Three configurations, one of them without measured figures."""
    return Measured(
        rows=(
            DemoRow("left alone", 26.1, 25.2, 0.0383, 0.0397, 0.291, 0.3),
            DemoRow("right alone", 24.0, None, 0.04, None, 0.3, None, note="agent went away"),
            DemoRow("the plan", 44.8, 43.1, 0.0583, 0.0601, 0.311, 0.322, True, "", (42.7, 43.6)),
        ),
        emulated=True,
        quick=True,
        method="6 windows of 2 s after warm-up, median",
    )
