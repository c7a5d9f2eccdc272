"""Microcontroller benches for tests: boards played by processes of this machine, and plans made by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import pytest

from boards.board import System
from boards.catalog import load_system
from hil.emulate import emulate
from hil.lab_types import Lab
from optimizer.cost_models.roofline import roofline_costs
from optimizer.onnx_file import load_onnx
from optimizer.onnx_model import load_graph
from optimizer.problem import Problem
from optimizer.search.pool import Pool
from optimizer.split import split
from optimizer.split_manifest import Bundle
from tests.needs import needs_program

Array = npt.NDArray[Any]
SYSTEM = "mcu-emulated"


def bundle_of(folder: Path, model: str, boards: Sequence[str], *, system: System | str | Path = SYSTEM) -> Bundle:
    """A bundle of a zoo model whose operators, in the graph's order, are dealt out to ``boards`` in equal shares."""
    graph = load_graph(model)
    bench = system if isinstance(system, System) else load_system(system)
    problem = Problem(graph, bench, roofline_costs(graph, bench))
    keys = [ref.board.name for ref in problem.processors]
    share = -(-len(graph.operators) // len(boards))
    where = np.array([keys.index(boards[i // share]) for i in range(len(graph.operators))], dtype=np.int64)
    plan = Pool(problem).score(where)
    assert plan is not None
    return split(graph, load_onnx(model), plan, bench, folder, verify=False)


@contextmanager
def played(monkeypatch: pytest.MonkeyPatch, system: System | str | Path = SYSTEM) -> Iterator[Lab]:
    """A bench whose boards are processes, as where no emulator is installed."""
    needs_program("make", "apt-get install make")
    needs_program("cc", "apt-get install gcc libc6-dev")
    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setattr("hil.emulate_mcu.QEMU", "no-emulator-here")
    with emulate(system) as lab:
        yield lab


def expected_outputs(bundle: Bundle, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """What ONNX Runtime makes of the bundle's chain, frame by frame: (frames, *shape) by output name."""
    tensors = {t.id: t for t in bundle.tensors}
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    sessions = {s.name: ort.InferenceSession(str(bundle.directory / s.file), options) for s in bundle.segments}
    found: dict[str, list[Array]] = {tensors[t].name: [] for t in bundle.outputs}
    for frame in range(len(next(iter(inputs.values())))):
        values = {t: inputs[tensors[t].name][frame] for t in bundle.inputs}
        waiting = list(bundle.segments)
        while waiting:
            segment = next(s for s in waiting if all(t in values for t in s.inputs))
            waiting.remove(segment)
            session = sessions[segment.name]
            feed = {i.name: values[t] for i, t in zip(session.get_inputs(), segment.inputs, strict=True)}
            values |= dict(zip(segment.outputs, session.run(None, feed), strict=True))
        for tensor in bundle.outputs:
            found[tensors[tensor].name].append(values[tensor])
    return {name: np.stack(frames) for name, frames in found.items()}
