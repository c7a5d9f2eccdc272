"""What ``optimizer inspect`` says of a model, as JSON values and as tables."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from optimizer.graph import Cut, Graph, LiveSet, cut_points, live_ranges, live_sets

__all__ = ["inspection_tables", "inspection_values", "widest_live_sets"]


def widest_live_sets(graph: Graph, top: int) -> list[LiveSet]:
    """The ``top`` steps of the graph's order with the most bytes in memory, widest first."""
    return sorted(live_sets(graph), key=lambda s: (-s.size_bytes, s.step))[:top]


def inspection_values(graph: Graph, top: int) -> dict[str, Any]:
    """Everything known of the model; schema "edgecut/inspect/1". Bytes and MACs are of one batch.

    ``live`` of a tensor is the first and last position in ``operators`` at which it is in memory.
    """
    ranges = live_ranges(graph)
    return {
        "schema": "edgecut/inspect/1",
        "name": graph.name,
        "source": graph.source,
        "sha256": graph.sha256,
        "batch": graph.batch,
        "opset": graph.opset,
        "macs": graph.macs,
        "parameters": graph.parameters,
        "parameters_bytes": graph.parameters_bytes,
        "inputs": [graph.tensors[t].name for t in graph.inputs],
        "outputs": [graph.tensors[t].name for t in graph.outputs],
        "operators": [_operator(graph, index) for index in range(len(graph.operators))],
        "tensors": [
            {
                "name": t.name,
                "dtype": t.dtype,
                "shape": list(t.shape),
                "size_bytes": t.size_bytes,
                "live": list(live),
            }
            for t, live in zip(graph.tensors, ranges, strict=True)
        ],
        "cuts": [
            {
                "tensor": cut.name,
                "size_bytes": cut.size_bytes,
                "operators_before": cut.operators_before,
                "macs_before": cut.macs_before,
            }
            for cut in cut_points(graph)
        ],
        "widest": [
            {
                "operator": graph.operators[s.operator].name,
                "size_bytes": s.size_bytes,
                "tensors": [graph.tensors[t].name for t in s.tensors],
            }
            for s in widest_live_sets(graph, top)
        ],
        "warnings": list(graph.warnings),
    }


def _operator(graph: Graph, index: int) -> dict[str, Any]:
    op = graph.operators[index]
    overwrites = None if op.in_place_input is None else graph.tensors[op.in_place_input].name
    return {
        "name": op.name,
        "op_type": op.op_type,
        "macs": op.macs,
        "weight_bytes": op.weight_bytes,
        "input_bytes": sum(graph.tensors[t].size_bytes for t in op.inputs),
        "output_bytes": sum(graph.tensors[t].size_bytes for t in op.outputs),
        "inputs": [graph.tensors[t].name for t in op.inputs],
        "outputs": [graph.tensors[t].name for t in op.outputs],
        "in_place_input": overwrites,
    }


def inspection_tables(graph: Graph, top: int) -> RenderableType:
    """Totals, cut points and the widest live sets for a terminal; ``top`` rows a table."""
    cuts = cut_points(graph)
    parts: list[RenderableType] = [_totals(graph, len(cuts))]
    parts += [Text(f"warning: {warning}", style="yellow") for warning in graph.warnings]
    parts += [_operators_table(graph, top), _cuts_table(graph, cuts, top), _live_table(graph, top)]
    return Group(*parts)


def _totals(graph: Graph, cuts: int) -> Table:
    table = Table(title=f"{graph.source}, batch {graph.batch}, opset {graph.opset}", show_header=False)
    table.add_column(style="bold")
    table.add_column()
    table.add_row("operators", f"{len(graph.operators)}")
    table.add_row("MACs", f"{graph.macs / 1e6:,.1f} M")
    table.add_row("parameters", f"{graph.parameters:,} ({_size(graph.parameters_bytes)})")
    table.add_row("single-tensor cuts", f"{cuts}")
    for label, indices in (("input", graph.inputs), ("output", graph.outputs)):
        for tensor in (graph.tensors[i] for i in indices):
            shape = "x".join(str(d) for d in tensor.shape) or "scalar"
            table.add_row(label, f"{tensor.name}: {tensor.dtype} {shape} ({_size(tensor.size_bytes)})")
    return table


def _operators_table(graph: Graph, top: int) -> Table:
    table = Table(title=f"Dearest operators ({min(top, len(graph.operators))} of {len(graph.operators)})")
    table.add_column("operator", overflow="fold")
    table.add_column("type")
    for header in ("MACs", "weights", "output"):
        table.add_column(header, justify="right")
    for op in sorted(graph.operators, key=lambda o: (-o.macs, -o.weight_bytes, o.index))[:top]:
        output = sum(graph.tensors[t].size_bytes for t in op.outputs)
        table.add_row(op.name, op.op_type, f"{op.macs / 1e6:,.2f} M", _size(op.weight_bytes), _size(output))
    return table


def _cuts_table(graph: Graph, cuts: list[Cut], top: int) -> Table:
    table = Table(title=f"Smallest cut points ({min(top, len(cuts))} of {len(cuts)}), in running order")
    table.add_column("tensor", overflow="fold")
    for header in ("size", "operators before", "MACs before"):
        table.add_column(header, justify="right")
    smallest = sorted(cuts, key=lambda c: (c.size_bytes, c.operators_before))[:top]
    for cut in sorted(smallest, key=lambda c: c.operators_before):
        share = cut.macs_before / graph.macs if graph.macs else 0.0
        table.add_row(cut.name, _size(cut.size_bytes), str(cut.operators_before), f"{share:.1%}")
    return table


def _live_table(graph: Graph, top: int) -> Table:
    table = Table(title="Widest live sets (activations in memory while an operator runs)")
    table.add_column("operator", overflow="fold")
    table.add_column("tensors", justify="right")
    table.add_column("size", justify="right")
    for found in widest_live_sets(graph, top):
        name = graph.operators[found.operator].name
        table.add_row(name, str(len(found.tensors)), _size(found.size_bytes))
    return table


def _size(size_bytes: int) -> str:
    if size_bytes < 1024:
        return f"{size_bytes} B"
    return f"{size_bytes / 1024:,.1f} KiB" if size_bytes < 1024**2 else f"{size_bytes / 1024**2:,.1f} MiB"
