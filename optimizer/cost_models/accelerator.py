"""Costs of an accelerator from ZigZag's model of it (Mei et al., IEEE Transactions on Computers 2021).

ZigZag (`pip install edgecut[accelerator]`) takes a description of the array and its memories and searches the
mapping of each layer with the least latency. Convolutions and matrix products get its cycles over the clock, and
its energy; for all else an accelerator model has no answer, and the roofline's rows stand in, marked as such. Each
kind of layer is modelled once, in processes of their own, some seconds each; what is modelled can be kept, so that a
run that was ended is taken up (see ``layer_store``).
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import logging
import math
import tempfile
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from boards.board import ProcessorRef, System
from optimizer.cost_models.layer_store import LayerStore
from optimizer.cost_models.roofline import roofline_costs
from optimizer.costs import CostTable, OperatorCost, OperatorKey
from optimizer.errors import CostError
from optimizer.graph import Graph
from optimizer.layer_loops import Loops, layer_loops

__all__ = ["Accelerator", "accelerator_costs", "find_accelerator"]

Progress = Callable[[int, int], None]
"""Called with how many kinds of layers are done, and how many there are."""
_BITS = {"int8": 8, "fp16": 16, "fp32": 32}
_PICOJOULE = 1e-12  # the unit of ZigZag's energies, by its own descriptions
_EQUATION = "O[b][g][k][oy][ox]+=W[g][k][c][fy][fx]*I[b][g][c][iy][ix]"


@dataclass(frozen=True)
class Accelerator:
    """What ZigZag is given. ``description`` and ``mapping`` are its YAML files."""

    description: Path
    mapping: Path
    clock_hz: float
    loop_limit: int = 6
    """How many factors of loops are ordered exhaustively: more is slower and may find a better mapping."""


def find_accelerator(name: str, mapping: str | None, clock_hz: float, loop_limit: int = 6) -> Accelerator:
    """An accelerator by file, or by the name of one that ZigZag ships ("eyeriss_like"). Raises CostError."""
    if importlib.util.find_spec("zigzag") is None:
        raise CostError(
            "ZigZag is not installed",
            expected="the package zigzag-dse",
            got="none",
            hint="Install it: pip install 'edgecut[accelerator]'.",
        )
    if not (math.isfinite(clock_hz) and clock_hz > 0):
        raise CostError("the clock is not usable", expected="more than 0 Hz", got=f"{clock_hz} Hz")
    folder = _inputs()
    description = _file(name, folder / "hardware", "accelerator")
    own = folder / "mapping" / f"{description.stem}.yaml"
    chosen = _file(mapping, folder / "mapping", "mapping") if mapping else own if own.is_file() else None
    return Accelerator(description, chosen or folder / "mapping" / "default.yaml", clock_hz, loop_limit)


def _inputs() -> Path:
    spec = importlib.util.find_spec("zigzag")
    if spec is None or not spec.submodule_search_locations:
        raise CostError("ZigZag's files are not found", expected="an installed package", got=repr(spec))
    return Path(next(iter(spec.submodule_search_locations))) / "inputs"


def _file(name: str, ready: Path, what: str) -> Path:
    for path in (Path(name), ready / f"{name}.yaml"):
        if path.is_file():
            return path.resolve()
    known = ", ".join(sorted(p.stem for p in ready.glob("*.yaml")))
    raise CostError(f"no such {what}", where=name, expected=f"a YAML file, or one of {known}", got="nothing there")


def accelerator_costs(
    graph: Graph,
    system: System,
    processor: str,
    accelerator: Accelerator,
    *,
    workers: int | None = None,
    progress: Progress | None = None,
    keep: Path | None = None,
) -> CostTable:
    """Rows of every operator on one processor, at each precision it has.

    ``keep``: a file for the layers modelled so far, which a later call takes up; it is there until the caller is done
    with the table. Raises CostError where the processor is unknown or ZigZag cannot model a layer.
    """
    ref = _processor(system, processor)
    roofline = roofline_costs(graph, system)
    loops = layer_loops(graph.source, graph.batch)
    kinds = {(lo, _BITS[p]) for lo in loops.values() for p in ref.processor.macs_per_s}
    store = None if keep is None else LayerStore(keep, _says_all(accelerator))
    figures = _model_layers(sorted(kinds, key=repr), accelerator, workers, progress, store)
    rows: dict[OperatorKey, OperatorCost] = {}
    for precision in ref.processor.macs_per_s:
        for operator in graph.operators:
            key = (operator.name, processor, precision)
            rows[key] = _row(loops.get(operator.name), _BITS[precision], figures, accelerator, roofline.operators[key])
    return CostTable(rows, {processor: roofline.boundaries[processor]}, model_sha256=graph.sha256)


def _processor(system: System, key: str) -> ProcessorRef:
    for ref in system.processors:
        if ref.key == key:
            return ref
    names = ", ".join(r.key for r in system.processors)
    raise CostError("unknown processor", expected=f"one of {names}", got=key)


@dataclass(frozen=True)
class _Figures:
    cycles: float
    energy_pj: float


def _row(
    loops: Loops | None,
    bits: int,
    figures: Mapping[tuple[Loops, int], _Figures],
    accelerator: Accelerator,
    roofline: OperatorCost,
) -> OperatorCost:
    if loops is None:
        return OperatorCost(
            roofline.time_s, roofline.energy_j, f"{roofline.provenance}; no layer of an accelerator model"
        )
    found = figures[loops, bits]
    text = (
        f"zigzag: {accelerator.description.stem}, {bits} bit, {found.cycles:.0f} cycles at {accelerator.clock_hz:g} Hz"
    )
    return OperatorCost(found.cycles / accelerator.clock_hz, found.energy_pj * _PICOJOULE, text)


def _says_all(accelerator: Accelerator) -> list[str]:
    """What decides on the figures of a layer."""
    files = [path.read_text(encoding="utf-8") for path in (accelerator.description, accelerator.mapping)]
    return [*files, str(accelerator.loop_limit), importlib.metadata.version("zigzag-dse")]


def _model_layers(
    kinds: list[tuple[Loops, int]],
    accelerator: Accelerator,
    workers: int | None,
    progress: Progress | None,
    store: LayerStore | None,
) -> dict[tuple[Loops, int], _Figures]:
    found: dict[tuple[Loops, int], _Figures] = {}
    for kind in kinds:
        known = None if store is None else store.get(kind)
        if known is not None:
            found[kind] = _Figures(*known)
    if progress is not None:
        progress(len(found), len(kinds))
    context = get_context("spawn")  # ZigZag sets up logging and plotting for its whole process
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        jobs = {pool.submit(_model_layer, *kind, accelerator): kind for kind in kinds if kind not in found}
        try:
            for job in as_completed(jobs):
                figures = found[jobs[job]] = job.result()
                if store is not None:
                    store.add(jobs[job], (figures.cycles, figures.energy_pj))
                if progress is not None:
                    progress(len(found), len(kinds))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return found


def _model_layer(loops: Loops, bits: int, accelerator: Accelerator) -> _Figures:
    """In a worker process. ZigZag raises what it likes; it becomes a CostError that names the layer.

    A layer that the array does in one cycle leaves no loops to order, which ZigZag cannot take: two frames of it
    are modelled, and counted as two.
    """
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    try:
        try:
            return _run_zigzag(loops, bits, accelerator)
        except ValueError:
            two = _run_zigzag(replace(loops, batch=2 * loops.batch), bits, accelerator)
            return _Figures(two.cycles / 2, two.energy_pj / 2)
    except Exception as e:
        raise CostError(
            f"ZigZag cannot model a layer: {type(e).__name__}: {e}",
            where=f"{accelerator.description}, {accelerator.mapping}",
            expected="a description and a mapping that ZigZag takes, with room for the layer",
            got=str(loops),
        ) from e


def _run_zigzag(loops: Loops, bits: int, accelerator: Accelerator) -> _Figures:
    from zigzag.api import get_hardware_performance_zigzag

    with tempfile.TemporaryDirectory(prefix="edgecut-zigzag-") as folder:
        energy_pj, cycles, *_ = get_hardware_performance_zigzag(
            [_layer(loops, bits)],
            str(accelerator.description),
            str(accelerator.mapping),
            opt="latency",
            dump_folder=folder,
            lpf_limit=accelerator.loop_limit,
            loma_show_progress_bar=False,
        )
    return _Figures(float(cycles), float(energy_pj))


def _layer(loops: Loops, bits: int) -> dict[str, Any]:
    """ZigZag's own form of a layer (zigzag-dse 3.9, documentation of the workload format)."""
    (rows, columns), (top, left, bottom, right) = loops.input_size, loops.padding
    return {
        "id": 0,
        "name": "layer",
        "operator_type": "Conv",
        "equation": _EQUATION,
        "operand_source": {"I": 0, "W": 0},
        "loop_dims": ["B", "K", "G", "OX", "OY", "C", "FX", "FY"],
        "loop_sizes": [
            loops.batch,
            loops.output_channels,
            loops.groups,
            loops.output_size[1],
            loops.output_size[0],
            loops.input_channels,
            loops.kernel[1],
            loops.kernel[0],
        ],
        "dimension_relations": [
            f"ix={loops.stride[1]}*ox+{loops.dilation[1]}*fx",
            f"iy={loops.stride[0]}*oy+{loops.dilation[0]}*fy",
        ],
        "operand_precision": {"W": bits, "I": bits, "O": min(32, 2 * bits), "O_final": bits},
        "pr_loop_dims": ["IX", "IY"],
        "pr_loop_sizes": [columns, rows],
        "padding": [[left, right], [top, bottom]],
    }
