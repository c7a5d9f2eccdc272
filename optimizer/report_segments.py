"""The rows of the plan's tables: segments, transfers, memory of the boards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from boards.board import System
from optimizer import report_format as fmt
from optimizer.graph import Graph
from optimizer.plan import MemoryUse, Plan, Segment, Transfer
from optimizer.replicas import copies
from optimizer.report_data import GanttBar, ReportData

__all__ = [
    "MemoryBar",
    "SegmentRow",
    "TransferRow",
    "board_of_segment",
    "boards_used",
    "memory_bars",
    "route_text",
    "segment_rows",
    "segment_seconds",
    "transfer_rows",
]


@dataclass(frozen=True)
class SegmentRow:
    """One segment; ``board_index`` chooses the colour, ``seconds`` is None without a timeline."""

    name: str
    board: str
    board_index: int
    processor: str
    precision: str
    operators: int
    first: str
    last: str
    seconds: float | None
    weight_bytes: int
    macs: int
    in_bytes: int
    out_bytes: int


@dataclass(frozen=True)
class TransferRow:
    """One crossing tensor."""

    tensor: str
    size_bytes: int
    producer: str
    consumers: str
    route: str
    hops: int
    depth: int


@dataclass(frozen=True)
class MemoryBar:
    """One kind of memory of one board: parts (label, css class, bytes) against what is available."""

    board: str
    board_index: int
    kind: str
    parts: tuple[tuple[str, str, int], ...]
    used_bytes: int
    available_bytes: int | None

    @property
    def share(self) -> float | None:
        """Used of available; None where storage is not a limit."""
        return self.used_bytes / self.available_bytes if self.available_bytes else None

    @property
    def scale_bytes(self) -> int:
        """What the full width of the bar stands for."""
        return max(self.available_bytes or 0, self.used_bytes, 1)

    @property
    def description(self) -> str:
        """One line for a screen reader or tooltip."""
        parts = ", ".join(f"{label} {fmt.size(n)}" for label, _, n in self.parts)
        if self.available_bytes is None:
            return f"{self.board} {self.kind}: {parts}; no limit given"
        limit = fmt.size(self.available_bytes)
        return f"{self.board} {self.kind}: {parts}; {fmt.size(self.used_bytes)} of {limit}"


def board_of_segment(segment: Segment) -> str:
    return segment.processor.split("/", 1)[0]


def boards_used(system: System, plan: Plan) -> tuple[str, ...]:
    """Boards that host a segment, relay, or are source or sink, in declared order."""
    used = {system.source, system.sink, *(board_of_segment(s) for s in copies(plan.segments))}
    for transfer in plan.transfers:
        used.update(transfer.boards)
    return tuple(b.name for b in system.boards if b.name in used)


def segment_seconds(timeline: Sequence[GanttBar]) -> dict[str, float]:
    """Seconds a frame by segment name."""
    seconds: dict[str, float] = {}
    for bar in timeline:
        if bar.activity.startswith("segment:"):
            seconds[bar.activity.removeprefix("segment:")] = bar.end_s - bar.start_s
    return seconds


def segment_rows(data: ReportData) -> tuple[SegmentRow, ...]:
    """Segments in pipeline order."""
    seconds = segment_seconds(data.timeline)
    board_index = {b.name: i for i, b in enumerate(data.system.boards)}
    rows = []
    for segment in data.plan.segments:
        ops = [data.graph.operators[v] for v in segment.operators]
        board, _, processor = segment.processor.partition("/")
        transfers = data.plan.transfers
        rows.append(
            SegmentRow(
                name=segment.name,
                board=board,
                board_index=board_index[board],
                processor=" + ".join((processor, *segment.replicas[1:])),
                precision=segment.precision,
                operators=len(ops),
                first=ops[0].name if ops else "",
                last=ops[-1].name if ops else "",
                seconds=seconds.get(segment.name),
                weight_bytes=_weight_bytes(data.graph, segment),
                macs=sum(op.macs for op in ops),
                in_bytes=sum(t.size_bytes for t in transfers if segment.name in t.consumers and t.first == 0),
                out_bytes=sum(t.size_bytes for t in transfers if t.producer == segment.name and t.first == 0),
            )
        )
    return tuple(rows)


def _weight_bytes(graph: Graph, segment: Segment) -> int:
    """Bytes of the constants in the model file, shared ones once."""
    held = {i for v in segment.operators for i in graph.operators[v].initializers}
    return sum(graph.initializers[i].size_bytes for i in held)


def route_text(system: System, links: Sequence[str]) -> str:
    """Boards along a tensor's links, branches apart: "left → hub → right; hub → third"."""
    by_name = {link.name: link for link in system.links}
    runs: list[list[str]] = []
    for name in links:
        link = by_name[name]
        if runs and runs[-1][-1] == link.source:
            runs[-1].append(link.target)
        else:
            runs.append([link.source, link.target])
    return "; ".join(" → ".join(run) for run in runs)


def transfer_rows(data: ReportData) -> tuple[TransferRow, ...]:
    """Crossing tensors, the model's input and output among them."""
    return tuple(_transfer_row(data.system, t) for t in data.plan.transfers)


def _transfer_row(system: System, transfer: Transfer) -> TransferRow:
    route = route_text(system, [hop.link for hop in transfer.hops])
    consumers = [*transfer.consumers, *(["sink"] if transfer.to_sink else [])]
    return TransferRow(
        tensor=transfer.label,
        size_bytes=transfer.size_bytes,
        producer=transfer.producer or "source",
        consumers=", ".join(consumers),
        route=route or f"stays on {transfer.boards[0] if transfer.boards else system.source}",
        hops=len(transfer.hops),
        depth=transfer.depth,
    )


def memory_bars(data: ReportData) -> tuple[MemoryBar, ...]:
    """RAM and, where it holds something, flash of every board that the plan uses."""
    used = set(boards_used(data.system, data.plan))
    bars = []
    for index, board in enumerate(data.system.boards):
        use = data.plan.score.memory_bytes.get(board.name)
        if use is None or board.name not in used:
            continue
        bars.append(_ram_bar(board.name, index, use))
        if use.flash_bytes and (use.flash_available_bytes is not None or board.weights_in == "flash"):
            parts = (("weights", "m-weights", use.flash_bytes),)
            bars.append(MemoryBar(board.name, index, "flash", parts, use.flash_bytes, use.flash_available_bytes))
    return tuple(bars)


def _ram_bar(board: str, index: int, use: MemoryUse) -> MemoryBar:
    """The parts that RAM holds; weights count only where they are copied to it."""
    rest = use.ram_bytes - use.arena_bytes - use.buffer_bytes - use.runtime_bytes
    parts = (
        ("weights", "m-weights", max(0, rest)),
        ("arena", "m-arena", use.arena_bytes),
        ("link buffers", "m-buffers", use.buffer_bytes),
        ("runtime", "m-runtime", use.runtime_bytes),
    )
    shown = tuple(p for p in parts if p[2] > 0)
    return MemoryBar(board, index, "RAM", shown, use.ram_bytes, use.ram_available_bytes)
