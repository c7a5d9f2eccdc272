"""The graph coloured by board: one SVG of segment boxes that collapse, each drawn inside in up to three ways.

Python draws every way once and stacks the default ones; report.js stacks anew when a segment is opened or
closed, by the same rule (a browser test holds the two together).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from optimizer import report_format as fmt
from optimizer.graph import Graph
from optimizer.plan import Plan, Segment, Transfer
from optimizer.report_data import ReportData
from optimizer.report_groups import Group, gather_blocks, one_by_one
from optimizer.report_layout import Net, layered_layout
from optimizer.report_segments import SegmentRow, board_of_segment, route_text, segment_rows
from optimizer.report_stack import Face, Wire, block_rows, lanes_last, stack

__all__ = ["GraphDrawing", "draw_graph"]

_BLOCKS_FROM = 24
"""Segments of more operators are first shown in blocks."""
_OPEN_HEIGHT_PX = 2600.0
"""The drawing starts opened where it is no taller than this, else with all segments collapsed."""
_BOX_WIDTH, _HEADER_HEIGHT = 310.0, 54.0
_PILL_WIDTH, _PILL_HEIGHT = 170.0, 34.0
_PAD = 16.0
_TITLE_CHARACTERS = 25
_NAMES_IN_TIP = 30
_TIMES = "\N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class GraphDrawing:
    """``svg`` is the drawing in its default state; ``model_json`` is what report.js needs to restack it."""

    svg: str
    model_json: str
    has_blocks: bool


@dataclass(frozen=True)
class _Block:
    """A segment, or the source or sink pill (``segment`` None). Faces by name: closed, blocks, operators."""

    segment: Segment | None
    faces: dict[str, Face]


def draw_graph(data: ReportData) -> GraphDrawing:
    """Draw the chosen plan over the model's graph."""
    plan = data.plan
    end = len(plan.segments) + 1
    wires = lanes_last(_wires(data), end + 1)
    infos = segment_rows(data)
    blocks = [_Block(None, {"closed": _pill(0, wires, f"{data.system.source}: input")})]
    for k, (segment, info) in enumerate(zip(plan.segments, infos, strict=True), start=1):
        blocks.append(_segment_block(data.graph, plan, segment, info, k, wires))
    blocks.append(_Block(None, {"closed": _pill(end, wires, f"{data.system.sink}: output")}))
    rows = block_rows(end + 1, wires)
    states = _default_states(blocks, rows, wires)
    stacked = stack([b.faces[s] for b, s in zip(blocks, states, strict=True)], rows, wires)
    parts = [
        f'<svg id="graph" xmlns="http://www.w3.org/2000/svg" width="{stacked.width:.0f}" '
        f'height="{stacked.height:.0f}" viewBox="0 0 {stacked.width:.1f} {stacked.height:.1f}" '
        'role="group" aria-label="The network, coloured by board"><defs><marker id="tip" viewBox="0 0 8 8" '
        'refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z"/></marker>'
        '</defs><g id="wires">'
    ]
    for wire, path in zip(wires, stacked.paths, strict=True):
        css = "wire" if wire.crosses else "wire stays"
        parts.append(f'<path class="{css}" d="{path}" marker-end="url(#tip)"><title>{escape(wire.tip)}</title></path>')
    parts.append("</g>")
    for k, (block, state) in enumerate(zip(blocks, states, strict=True)):
        x, y = stacked.places[k]
        parts.append(_block_svg(k, block, state, x, y, infos[k - 1] if block.segment else None))
    parts.append('<g id="wire-labels">')
    for wire, (x, y) in zip(wires, stacked.labels, strict=True):
        parts.append(f'<text x="{x:.1f}" y="{y:.1f}">{escape(wire.label)}</text>')
    parts.append("</g></svg>")
    return GraphDrawing(
        "".join(parts), _model_json(blocks, states, rows, wires), any("blocks" in b.faces for b in blocks)
    )


def _wires(data: ReportData) -> tuple[Wire, ...]:
    """Crossing tensors joined by (producer, consumer): block 0 is the source, the last one the sink."""
    plan, system = data.plan, data.system
    block = {s.name: k for k, s in enumerate(plan.segments, start=1)}
    end = len(plan.segments) + 1
    home = {0: system.source, end: system.sink}
    home.update({block[s.name]: board_of_segment(s) for s in plan.segments})
    joined: dict[tuple[int, int], list[Transfer]] = {}
    for transfer in plan.transfers:
        if transfer.first > 0:
            continue  # the same tensor between other replicas
        source = block[transfer.producer] if transfer.producer else 0
        for target in (*(block[c] for c in transfer.consumers), *((end,) if transfer.to_sink else ())):
            joined.setdefault((source, target), []).append(transfer)
    into: dict[int, int] = {}
    for _, target in joined:
        into[target] = into.get(target, 0) + 1
    names = {k: name for name, k in block.items()} | {0: "input"}
    wires = []
    for (source, target), transfers in sorted(joined.items()):
        a, b = home[source], home[target]
        links = [system.links[i].name for i in system.route(a, b) or ()]
        where = route_text(system, links) if links else f"stays on {a}"
        total = fmt.size(sum(t.size_bytes for t in transfers))
        amount = total if len(transfers) == 1 else f"{len(transfers)} tensors, {total}"
        prefix = f"{names[source]}: " if into[target] > 1 else ""
        lines = [f"{t.name}: {fmt.size(t.size_bytes)}, depth {t.depth}" for t in transfers[:_NAMES_IN_TIP]]
        wires.append(
            Wire(
                source,
                target,
                f"{prefix}{amount}, {where}",
                "\n".join([where, *lines]),
                bool(links),
                tuple(t.tensor for t in transfers),
            )
        )
    return tuple(wires)


def _pill(block: int, wires: Sequence[Wire], text: str) -> Face:
    ins, outs = _even_ports(block, wires, _PILL_WIDTH)
    half = _PILL_HEIGHT / 2
    svg = (
        f'<rect class="pill" width="{_PILL_WIDTH:.0f}" height="{_PILL_HEIGHT:.0f}" rx="{half:.0f}"/>'
        f'<text class="pill-text" x="{_PILL_WIDTH / 2:.0f}" y="{half + 4:.0f}">'
        f"{escape(fmt.shorten(text, 24))}</text>"
    )
    return Face(_PILL_WIDTH, _PILL_HEIGHT, ins, outs, svg)


def _even_ports(block: int, wires: Sequence[Wire], width: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    def spread(count: int) -> tuple[float, ...]:
        return tuple(width * (i + 1) / (count + 1) for i in range(count))

    return (
        spread(sum(1 for w in wires if w.target == block)),
        spread(sum(1 for w in wires if w.source == block)),
    )


def _segment_block(
    graph: Graph, plan: Plan, segment: Segment, info: SegmentRow, block: int, wires: Sequence[Wire]
) -> _Block:
    ins, outs = _even_ports(block, wires, _BOX_WIDTH)
    faces = {"closed": Face(_BOX_WIDTH, _HEADER_HEIGHT, ins, outs, _frame(_BOX_WIDTH, _HEADER_HEIGHT))}
    if len(segment.operators) > _BLOCKS_FROM:
        groups = gather_blocks(graph, segment.operators)
        if len(groups) < len(segment.operators):
            faces["blocks"] = _open_face(graph, groups, block, wires)
    faces["operators"] = _open_face(graph, one_by_one(graph, segment.operators), block, wires)
    return _Block(segment, faces)


def _open_face(graph: Graph, groups: Sequence[Group], block: int, wires: Sequence[Wire]) -> Face:
    """Lay out the boxes between ports for the wires that enter (top) and leave (bottom)."""
    entering = [w for w in wires if w.target == block]
    leaving = [w for w in wires if w.source == block]
    n_in, n = len(entering), len(groups)
    node_of = {v: n_in + k for k, g in enumerate(groups) for v in g.operators}
    sizes = [(10.0, 0.0)] * n_in + [_box_size(g) for g in groups] + [(10.0, 0.0)] * len(leaving)
    nets = []
    for port, wire in enumerate(entering):
        users = {node_of[c] for t in wire.tensors for c in graph.tensors[t].consumers if c in node_of}
        nets.append(Net(port, tuple(sorted(users))))
    exits: dict[int, list[int]] = {}
    for port, wire in enumerate(leaving, start=n_in + n):
        for t in wire.tensors:
            exits.setdefault(t, []).append(port)
    for k, group in enumerate(groups):
        for v in group.operators:
            for t in graph.operators[v].outputs:
                inside = {node_of[c] for c in graph.tensors[t].consumers if c in node_of} - {n_in + k}
                targets = (*sorted(inside), *exits.get(t, ()))
                if targets:
                    nets.append(Net(n_in + k, targets))
    layout = layered_layout(sizes, nets, first=range(n_in), last=range(n_in + n, len(sizes)), gap_y=16.0)
    width = max(_BOX_WIDTH, layout.width + 2 * _PAD)
    dx, height = (width - layout.width) / 2, _HEADER_HEIGHT + layout.height + (0 if leaving else _PAD)
    paths = "".join(f'<path d="{d}"/>' for d in layout.paths if d)
    top = max((g.macs for g in groups), default=0)
    boxes = "".join(_box_svg(graph, g, *layout.nodes[n_in + k], *sizes[n_in + k], top) for k, g in enumerate(groups))
    centres = [x + size[0] / 2 + dx for (x, _), size in zip(layout.nodes, sizes, strict=True)]
    return Face(
        width,
        height,
        tuple(centres[:n_in]),
        tuple(centres[n_in + n :]),
        f'{_frame(width, height)}<g transform="translate({dx:.1f} {_HEADER_HEIGHT:.0f})">'
        f'<g class="nets">{paths}</g>{boxes}</g>',
    )


def _frame(width: float, height: float) -> str:
    box = f'width="{width:.1f}" height="{height:.1f}" rx="8"'
    if height <= _HEADER_HEIGHT:
        return f'<rect class="frame closed" {box}/>'
    band = f"M8 0H{width - 8:.1f}a8 8 0 0 1 8 8V{_HEADER_HEIGHT:.0f}H0V8a8 8 0 0 1 8 -8z"
    return f'<rect class="frame" {box}/><path class="band" d="{band}"/>'


def _box_size(group: Group) -> tuple[float, float]:
    if len(group.operators) == 1:
        return max(58.0, 7.0 * len(_box_text(group)) + 18), 24.0
    return max(120.0, 6.6 * len(_box_text(group)) + 26), 26.0


def _box_text(group: Group) -> str:
    label = fmt.shorten(group.label, 36)
    return f"{label} · {group.note}" if len(group.operators) > 1 else label


def _box_svg(graph: Graph, group: Group, x: float, y: float, w: float, h: float, top_macs: int) -> str:
    heat = 0 if not top_macs else sum(group.macs > top_macs * s for s in (0.02, 0.2, 0.5))
    css = f"box h{heat}" + ("" if len(group.operators) == 1 else " many")
    return (
        f'<g class="{css}"><title>{escape(_box_tip(graph, group))}</title>'
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{w:.0f}" height="{h:.0f}" rx="4"/>'
        f'<text x="{x + w / 2:.1f}" y="{y + h / 2 + 4:.1f}">{escape(_box_text(group))}</text></g>'
    )


def _box_tip(graph: Graph, group: Group) -> str:
    ops = [graph.operators[v] for v in group.operators]
    if len(ops) > 1:
        lines = [f"{op.name} ({op.op_type})" for op in ops[:_NAMES_IN_TIP]]
        if len(ops) > _NAMES_IN_TIP:
            lines.append(f"and {len(ops) - _NAMES_IN_TIP} more")
        return "\n".join([f"{group.label}: {group.note}", *lines])
    op = ops[0]
    lines = [f"{op.name} ({op.op_type})"]
    for t in op.outputs[:4]:
        tensor = graph.tensors[t]
        shape = f" {_TIMES} ".join(str(d) for d in tensor.shape) or "scalar"
        lines.append(f"out {shape} {tensor.dtype}, {fmt.size(tensor.size_bytes)}")
    if op.macs:
        lines.append(f"{fmt.count(op.macs)} MAC")
    if op.weight_bytes:
        lines.append(f"weights {fmt.size(op.weight_bytes)}")
    return "\n".join(lines)


def _default_states(blocks: Sequence[_Block], rows: Sequence[Sequence[int]], wires: Sequence[Wire]) -> list[str]:
    preference = ("blocks", "operators", "closed")
    opened: list[str] = [next(f for f in preference if f in b.faces) for b in blocks]
    height = stack([b.faces[s] for b, s in zip(blocks, opened, strict=True)], rows, wires).height
    return opened if height <= _OPEN_HEIGHT_PX else ["closed"] * len(blocks)


def _block_svg(k: int, block: _Block, state: str, x: float, y: float, info: SegmentRow | None) -> str:
    hidden = ' display="none"'
    faces = "".join(
        f'<g data-face="{name}"{"" if name == state else hidden}>{face.svg}</g>' for name, face in block.faces.items()
    )
    place = f'id="block{k}" transform="translate({x:.1f} {y:.1f})"'
    if info is None:
        return f"<g {place}>{faces}</g>"
    return f'<g class="segment b{info.board_index % 7}" {place}>{faces}{_header(k, block, state, info)}</g>'


def _header(k: int, block: _Block, state: str, info: SegmentRow) -> str:
    title = f"{info.name} · {info.board}/{info.processor} · {info.precision}"
    facts = [f"{info.operators} operators"]
    if info.seconds is not None:
        facts.append(fmt.time(info.seconds))
    facts.append(f"{fmt.size(info.weight_bytes)} weights")
    opened = "false" if state == "closed" else "true"
    header = (
        f'<g class="toggle" role="button" tabindex="0" aria-expanded="{opened}" data-block="{k}" '
        f'aria-label="{escape(title)}: open or close"><title>{escape(title)}</title>'
        f'<rect class="hit" width="{_BOX_WIDTH - 82:.0f}" height="{_HEADER_HEIGHT:.0f}" rx="8"/>'
        '<path class="chevron" d="M-3 -5L3 0L-3 5"/>'
        f'<text class="title" x="30" y="22">{escape(fmt.shorten(title, _TITLE_CHARACTERS))}</text></g>'
        f'<text class="facts" x="30" y="41">{escape(", ".join(facts))}</text>'
    )
    if "blocks" in block.faces:
        hidden = ' display="none"' if state == "closed" else ""
        word = "in blocks" if state == "operators" else "operators"
        header += (
            f'<g class="detail" role="button" tabindex="0" data-block="{k}"{hidden} '
            f'transform="translate({_BOX_WIDTH - 82:.0f} 8)"><rect width="74" height="20" rx="10"/>'
            f'<text x="37" y="14">{word}</text></g>'
        )
    return header


def _model_json(
    blocks: Sequence[_Block], states: Sequence[str], rows: Sequence[Sequence[int]], wires: Sequence[Wire]
) -> str:
    """Numbers only, so nothing in it can end the script element."""
    model = {
        "rows": [list(row) for row in rows],
        "states": list(states),
        "blocks": [
            {
                name: [round(f.width, 1), round(f.height, 1), _rounded(f.ins), _rounded(f.outs)]
                for name, f in b.faces.items()
            }
            for b in blocks
        ],
        "wires": [[w.source, w.target] for w in wires],
    }
    return json.dumps(model, separators=(",", ":"))


def _rounded(values: Sequence[float]) -> list[float]:
    return [round(v, 1) for v in values]
