"""Plans, scores and certificates as JSON values, and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from optimizer.graph import Graph
from optimizer.plan import ArenaLayout, Certificate, Hop, MemoryUse, Plan, Score, Segment, Slot, Transfer

__all__ = [
    "SCRATCH_SUFFIX",
    "WIRE_SUFFIX",
    "arena_to_dict",
    "certificate_from_dict",
    "certificate_to_dict",
    "plan_from_dict",
    "precisions_from_dict",
    "schedule_to_dict",
    "score_from_dict",
    "score_to_dict",
]


WIRE_SUFFIX = "@wire"
"""Behind a tensor's name: its buffer as it is on the wire, where a microcontroller turns it."""
SCRATCH_SUFFIX = "@scratch"
"""Behind an operator's name: what a microcontroller's kernel needs beside tensors while it runs."""


def schedule_to_dict(graph: Graph, plan: Plan) -> dict[str, Any]:
    """Segments, transfers and orders, operators by name."""
    return {
        "segments": [
            {
                "name": s.name,
                "processor": s.processor,
                "precision": s.precision,
                "operators": [graph.operators[v].name for v in s.operators],
                **({"replicas": list(s.replicas)} if s.replicas else {}),
            }
            for s in plan.segments
        ],
        "transfers": [
            {
                "tensor": t.name,
                "size_bytes": t.size_bytes,
                "producer": t.producer,
                "consumers": list(t.consumers),
                "to_sink": t.to_sink,
                "hops": [{"link": h.link} for h in t.hops],
                "boards": list(t.boards),
                "depth": t.depth,
                **({"every": t.every, "first": t.first} if t.every > 1 else {}),
            }
            for t in plan.transfers
        ],
        "orders": {
            resource: [{"activity": s.activity, "stage": s.stage} for s in slots]
            for resource, slots in plan.orders.items()
        },
    }


def plan_from_dict(graph: Graph, data: Mapping[str, Any]) -> Plan:
    """The plan in a plan.json. Raises KeyError, TypeError, ValueError or AttributeError."""
    operators = graph.operator_by_name
    return Plan(
        segments=tuple(
            Segment(
                _text(s["name"]),
                _text(s["processor"]),
                _text(s["precision"]),
                tuple(operators[name].index for name in s["operators"]),
                tuple(_text(key) for key in s.get("replicas", ())),
            )
            for s in data["segments"]
        ),
        transfers=tuple(_transfer(graph, t) for t in data["transfers"]),
        orders={
            r: tuple(Slot(_text(s["activity"]), int(s["stage"])) for s in slots) for r, slots in data["orders"].items()
        },
        score=score_from_dict(data["score"]),
        status=str(data["status"]),
        arenas={_text(name): _arena(graph, layout) for name, layout in data.get("arenas", {}).items()},
    )


def _transfer(graph: Graph, data: Mapping[str, Any]) -> Transfer:
    tensor = graph.tensor_index[data["tensor"]]
    return Transfer(
        tensor=tensor,
        name=data["tensor"],
        size_bytes=int(data["size_bytes"]),
        producer=data["producer"],
        consumers=tuple(data["consumers"]),
        to_sink=bool(data["to_sink"]),
        hops=tuple(Hop(tensor, h["link"]) for h in data["hops"]),
        boards=tuple(data["boards"]),
        depth=int(data["depth"]),
        every=int(data.get("every", 1)),
        first=int(data.get("first", 0)),
    )


def arena_to_dict(graph: Graph, layout: ArenaLayout) -> dict[str, Any]:
    """Sizes in bytes, offsets by name of the buffer."""
    return {
        "size_bytes": layout.size_bytes,
        "peak_bytes": layout.peak_bytes,
        "excess_bytes": layout.excess_bytes,
        "alignment": layout.alignment,
        "offsets": {_buffer_name(graph, t): offset for t, offset in layout.offsets.items()},
    }


def _arena(graph: Graph, data: Mapping[str, Any]) -> ArenaLayout:
    return ArenaLayout(
        size_bytes=int(data["size_bytes"]),
        peak_bytes=int(data["peak_bytes"]),
        alignment=int(data["alignment"]),
        offsets={_buffer(graph, name): int(offset) for name, offset in data["offsets"].items()},
    )


def _buffer_name(graph: Graph, number: int) -> str:
    """Name of a buffer: a tensor, one as it is on the wire, or scratch (see optimizer.mcu_memory)."""
    kind, index = divmod(number, len(graph.tensors))
    if kind == 0:
        return graph.tensors[index].name
    if kind == 1:
        return f"{graph.tensors[index].name}{WIRE_SUFFIX}"
    return f"{graph.operators[number - 2 * len(graph.tensors)].name}{SCRATCH_SUFFIX}"


def _buffer(graph: Graph, name: str) -> int:
    if name in graph.tensor_index:
        return graph.tensor_index[name]
    if name.endswith(SCRATCH_SUFFIX):
        return 2 * len(graph.tensors) + graph.operator_by_name[name.removesuffix(SCRATCH_SUFFIX)].index
    return len(graph.tensors) + graph.tensor_index[name.removesuffix(WIRE_SUFFIX)]


def score_to_dict(score: Score) -> dict[str, Any]:
    return {
        "period_s": score.period_s,
        "throughput_per_s": score.throughput_per_s,
        "latency_s": score.latency_s,
        "energy_j": score.energy_j,
        "energy_source": "model",
        "link_bytes": score.link_bytes,
        "boards_used": score.boards_used,
        "accuracy_loss": score.accuracy_loss,
        "memory_share": score.memory_share,
        "memory_bytes": {name: dataclasses.asdict(use) for name, use in score.memory_bytes.items()},
        "occupancy_s": dict(score.occupancy_s),
    }


def score_from_dict(data: Mapping[str, Any]) -> Score:
    """The inverse of ``score_to_dict``. Raises KeyError, TypeError or ValueError."""
    return Score(
        period_s=float(data["period_s"]),
        throughput_per_s=float(data["throughput_per_s"]),
        latency_s=float(data["latency_s"]),
        energy_j=float(data["energy_j"]),
        link_bytes=int(data["link_bytes"]),
        memory_bytes={name: MemoryUse(**use) for name, use in data["memory_bytes"].items()},
        occupancy_s={name: float(v) for name, v in data["occupancy_s"].items()},
        boards_used=int(data["boards_used"]),
        accuracy_loss=None if data["accuracy_loss"] is None else float(data["accuracy_loss"]),
    )


def certificate_to_dict(certificate: Certificate) -> dict[str, Any]:
    """``value`` and ``bound`` are the minimised quantity: for "throughput" the period in seconds."""
    fields = dataclasses.asdict(certificate)
    fields["class"] = fields.pop("plan_class")
    return fields


def certificate_from_dict(data: Mapping[str, Any]) -> Certificate:
    """The inverse of ``certificate_to_dict``. Raises TypeError or ValueError."""
    fields = {"plan_class" if k == "class" else k: v for k, v in data.items()}
    fields.setdefault("seconds", 0.0)  # reproducible plans say no wall times
    for key in ("value", "bound", "gap", "seconds"):
        if fields[key] is not None:
            fields[key] = float(fields[key])
    return Certificate(**fields)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, got {value!r}")
    return value


def precisions_from_dict(data: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """By processor key; older files say none and mean the defaults."""
    return {_text(key): (_text(precision),) for key, precision in data.get("precisions", {}).items()}
