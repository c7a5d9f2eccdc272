"""A plan as files that boards can run: one ONNX sub-model a segment, and a manifest.

``split_plan`` starts from a plan file, ``split`` from values. The bundle appears at once and whole, or not at
all: everything is written beside its place and moved there at the end.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from boards.board import Link, System
from optimizer.errors import PlanError
from optimizer.graph import Graph, Tensor
from optimizer.onnx_file import OnnxModel, load_onnx
from optimizer.onnx_model import model_input
from optimizer.onnx_nodes import RANDOM_OPERATORS
from optimizer.onnx_prepare import Prepared, prepare
from optimizer.plan import Plan, Segment, Transfer
from optimizer.plan_io import LoadedPlan, load_plan
from optimizer.plan_values import arena_to_dict
from optimizer.split_directory import bundle_directory
from optimizer.split_manifest import (
    MANIFEST,
    Bundle,
    BundleArena,
    BundleData,
    BundleHop,
    BundleSegment,
    BundleTensor,
    Power,
    Prediction,
    Verification,
    load_bundle,
    manifest_json,
)
from optimizer.split_models import build_submodel, link_data, whole_model
from optimizer.split_precision import check_precisions

__all__ = ["Bundle", "Crossing", "crossings", "load_bundle", "split", "split_plan"]

_Progress = Callable[[str], None]


@dataclass(frozen=True)
class Crossing:
    """A tensor that leaves its segment, enters as model input, or leaves as model output."""

    tensor: int
    producer: str | None
    consumers: tuple[str, ...]
    to_sink: bool


def split_plan(
    plan: str | Path | LoadedPlan,
    out_dir: str | Path,
    *,
    progress: _Progress | None = None,
    verify: bool = True,
) -> Bundle:
    """Split the model of a plan (its file, or loaded) into the bundle ``out_dir``.

    A bundle that stands there is replaced. Raises PlanError for a plan that does not fit its model or a place
    that cannot be written, ModelError for the model, InternalError where the check fails.
    """
    loaded = plan if isinstance(plan, LoadedPlan) else load_plan(plan)
    model = load_onnx(loaded.graph.source)
    return split(loaded.graph, model, loaded.plan, loaded.system, out_dir, progress=progress, verify=verify)


def split(
    graph: Graph,
    model: OnnxModel,
    plan: Plan,
    system: System,
    out_dir: str | Path,
    *,
    progress: _Progress | None = None,
    verify: bool = True,
) -> Bundle:
    """Write the bundle for the plan and return it. ``graph`` was loaded from the same file as ``model``."""
    _same_model(graph, model)
    _without_replicas(plan)
    check_precisions(graph, model, plan)
    found = crossings(graph, plan.segments)
    _transfers_fit(graph, plan, found)
    order = _running_order(plan.segments, found)
    target = Path(out_dir)
    with bundle_directory(target) as staging:
        prepared = prepare(model, graph.batch)
        segments = _write_segments(graph, prepared, plan, found, staging, progress)
        bundle = _bundle(graph, plan, system, segments, staging)
        if verify:
            bundle = replace(bundle, verification=_verify(prepared, bundle, order, staging, progress))
        text = json.dumps(manifest_json(bundle), indent=1, allow_nan=False)
        (staging / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return replace(bundle, directory=target)


def _without_replicas(plan: Plan) -> None:
    """The bench runs every frame of a segment on one board."""
    replicated = next((s for s in plan.segments if s.replicas), None)
    if replicated is not None:
        raise PlanError(
            f"segment {replicated.name} has replicas, and the bench cannot deal frames out to several boards yet",
            where="plan",
            expected="segments of one processor each",
            got=f"{replicated.name} on {', '.join(replicated.replicas)}",
            hint="Solve again without --replicate to run the plan.",
        )


def crossings(graph: Graph, segments: Sequence[Segment]) -> list[Crossing]:
    """The tensors that move between segments, ascending. Raises PlanError where the segments do not cover the
    graph, each operator once."""
    segment_of: dict[int, str] = {}
    for segment in segments:
        for op in segment.operators:
            if not 0 <= op < len(graph.operators) or op in segment_of:
                raise PlanError(
                    "an operator is placed twice or unknown", where=f"segment {segment.name!r}",
                    expected="every operator of the model once", got=f"operator {op}",
                    hint="Make the plan again for this model.",
                )  # fmt: skip
            segment_of[op] = segment.name
    if len(segment_of) < len(graph.operators):
        missing = next(op.name for op in graph.operators if op.index not in segment_of)
        raise PlanError(
            "operators are not placed", where="plan",
            expected=f"{len(graph.operators)} operators in segments",
            got=f"{len(segment_of)}; the first without a place is {missing!r}",
            hint="Make the plan again for this model.",
        )  # fmt: skip
    found = (_crossing(index, tensor, segment_of) for index, tensor in enumerate(graph.tensors))
    return [c for c in found if c.producer is None or c.consumers or c.to_sink]


def _crossing(index: int, tensor: Tensor, segment_of: Mapping[int, str]) -> Crossing:
    producer = None if tensor.producer is None else segment_of[tensor.producer]
    consumers = dict.fromkeys(segment_of[c] for c in tensor.consumers if segment_of[c] != producer)
    return Crossing(index, producer, tuple(consumers), tensor.is_output)


def _same_model(graph: Graph, model: OnnxModel) -> None:
    if graph.sha256 != model.sha256:
        raise PlanError(
            "the model has changed since the plan was made", where=model.source,
            expected=f"SHA-256 {graph.sha256}", got=model.sha256, hint="Make the plan again.",
        )  # fmt: skip


def _transfers_fit(graph: Graph, plan: Plan, found: Sequence[Crossing]) -> None:
    planned = {t.tensor: (t.producer, frozenset(t.consumers), t.to_sink) for t in plan.transfers}
    needed = {c.tensor: (c.producer, frozenset(c.consumers), c.to_sink) for c in found}
    for tensor in sorted(planned.keys() | needed.keys()):
        if planned.get(tensor) != needed.get(tensor):
            raise PlanError(
                f"the plan's transfers do not fit its segments at tensor {graph.tensors[tensor].name!r}",
                where="plan", expected=_words(needed.get(tensor)), got=_words(planned.get(tensor)),
                hint="Make the plan again.",
            )  # fmt: skip


def _words(transfer: tuple[str | None, frozenset[str], bool] | None) -> str:
    if transfer is None:
        return "no transfer"
    producer, consumers, to_sink = transfer
    targets = sorted(consumers) + ["the sink"] * to_sink
    return f"a transfer from {producer or 'the source'} to {', '.join(targets) or 'nobody'}"


def _write_segments(
    graph: Graph,
    prepared: Prepared,
    plan: Plan,
    found: Sequence[Crossing],
    folder: Path,
    progress: _Progress | None,
) -> tuple[BundleSegment, ...]:
    (folder / "segments").mkdir()
    ids = {crossing.tensor: number for number, crossing in enumerate(found)}
    written: list[BundleSegment] = []
    for segment in plan.segments:
        if progress is not None:
            progress(f"writing segment {segment.name} for {segment.processor}")
        inputs = [c.tensor for c in found if segment.name in c.consumers]
        outputs = [c.tensor for c in found if c.producer == segment.name]
        built = build_submodel(prepared, graph, segment.name, segment.operators, inputs, outputs)
        link_data(built.data, folder / "segments")
        content = built.proto.SerializeToString()
        file = f"segments/{segment.name}.onnx"
        (folder / file).write_bytes(content)
        written.append(
            BundleSegment(
                name=segment.name,
                board=segment.processor.partition("/")[0],
                processor=segment.processor,
                precision=segment.precision,
                file=file,
                sha256=hashlib.sha256(content).hexdigest(),
                size_bytes=len(content),
                inputs=tuple(ids[t] for t in inputs),
                outputs=tuple(ids[t] for t in outputs),
                data=tuple(BundleData(f"segments/{location}", path.stat().st_size) for location, path in built.data),
                arena=_arena(graph, plan, segment),
            )
        )
    return tuple(written)


def _arena(graph: Graph, plan: Plan, segment: Segment) -> BundleArena | None:
    """Of plans that are reported on their own."""
    layout = plan.arenas.get(segment.name)
    if layout is None:
        return None
    names = tuple(graph.operators[v].name for v in segment.operators)
    return BundleArena(names, arena_to_dict(graph, layout)["offsets"], layout.size_bytes)


def _bundle(graph: Graph, plan: Plan, system: System, segments: tuple[BundleSegment, ...], directory: Path) -> Bundle:
    links = {link.name: link for link in system.links}
    transfers = sorted(plan.transfers, key=lambda t: t.tensor)
    tensors = tuple(_bundle_tensor(number, graph.tensors[t.tensor], t, links) for number, t in enumerate(transfers))
    used = {s.board for s in segments} | {b for t in tensors for b in t.boards} | {system.source, system.sink}
    score = plan.score
    processors = {p.key: p.processor for p in system.processors if p.board.name in used}
    return Bundle(
        directory=directory,
        model_source=graph.source,
        model_sha256=graph.sha256,
        batch=graph.batch,
        source=system.source,
        sink=system.sink,
        boards=tuple(b.name for b in system.boards if b.name in used),
        inputs=tuple(t.id for t in tensors if t.producer is None),
        outputs=tuple(t.id for t in tensors if t.to_sink),
        tensors=tensors,
        segments=segments,
        orders=plan.orders,
        verification=Verification(checked=False),
        prediction=Prediction(
            score.period_s, score.throughput_per_s, score.latency_s, score.energy_j, score.occupancy_s
        ),
        power={key: Power(p.active_power_w, p.idle_power_w) for key, p in processors.items()},
    )


def _bundle_tensor(number: int, tensor: Tensor, transfer: Transfer, links: Mapping[str, Link]) -> BundleTensor:
    hops = tuple(BundleHop(h.link, links[h.link].source, links[h.link].target) for h in transfer.hops)
    return BundleTensor(
        id=number,
        name=tensor.name,
        dtype=tensor.dtype,
        shape=tensor.shape,
        size_bytes=tensor.size_bytes,
        producer=transfer.producer,
        consumers=transfer.consumers,
        to_sink=transfer.to_sink,
        hops=hops,
        boards=transfer.boards,
        depth=transfer.depth,
    )


def _running_order(segments: Sequence[Segment], found: Sequence[Crossing]) -> list[str]:
    """Segments so that each runs behind those it reads from; PlanError where they wait for each other."""
    reads = {s.name: {c.producer for c in found if s.name in c.consumers} for s in segments}
    waiting = [s.name for s in segments]
    order: list[str] = []
    while waiting:
        ready = [name for name in waiting if reads[name] <= {None, *order}]
        if not ready:
            raise PlanError(
                "segments wait for each other", where="plan", expected="segments that can run in turn",
                got=", ".join(waiting), hint="Make the plan again.",
            )  # fmt: skip
        order += ready
        waiting = [name for name in waiting if name not in ready]
    return order


def _verify(
    prepared: Prepared,
    bundle: Bundle,
    order: Sequence[str],
    folder: Path,
    progress: _Progress | None,
) -> Verification:
    from optimizer.split_verify import verify_chain  # loads ONNX Runtime

    random_operators = [n.name for n in prepared.nodes if n.op_type in RANDOM_OPERATORS]
    inputs = [model_input(prepared, name) for name in prepared.inputs]  # also those that lead nowhere
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        whole = whole_model(prepared.model, Path(scratch))
        segments = sorted(bundle.segments, key=lambda s: order.index(s.name))
        return verify_chain(whole, inputs, folder, segments, bundle.tensors, random_operators, progress=progress)
