"""Agents on pinned cores and small bundles, shared by the benchmarks of the bench."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from onnx import TensorProto, helper

from firmware_interface.keys import read_key, write_key
from hil.lab_types import Lab, LabTarget

__all__ = ["pinned_lab", "two_part_bundle"]


@contextmanager
def pinned_lab(folder: Path, names: Sequence[str]) -> Iterator[Lab]:
    """Agents of these names as processes on loopback, one core each."""
    key_file = folder / "lab.key"
    write_key(key_file)
    cores = sorted(os.sched_getaffinity(0))
    targets: dict[str, LabTarget] = {}
    with ExitStack() as stack:
        for number, name in enumerate(names):
            command = [sys.executable, "-m", "hil.agent_cli", "--name", name, "--key-file", str(key_file)]
            command += ["--core", str(cores[number % len(cores)]), "--exit-with-parent", str(os.getpid())]
            process = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
            stack.callback(process.terminate)
            if process.stdout is None:
                raise RuntimeError("no standard output")
            ready = json.loads(process.stdout.readline())
            targets[name] = LabTarget(name, "network_agent", ready["host"], ready["port"])
        yield Lab(folder / "lab.yaml", "benchmark", read_key(key_file), True, "none", targets)


def two_part_bundle(folder: Path, size_bytes: int, first: str, second: str) -> Path:
    """Two segments of one trivial operator each, a tensor of ``size_bytes`` between them, on one or two boards."""
    (folder / "segments").mkdir(parents=True)
    elements = size_bytes // 4
    segments = [
        _segment(folder, "s0", first, ("x", [16]), ("t", [elements]), [0], [1]),
        _segment(folder, "s1", second, ("t", [elements]), ("y", [16]), [1], [2]),
    ]
    hops = [] if first == second else [{"link": f"{first}->{second}", "from": first, "to": second}]
    orders: dict[str, list[dict[str, Any]]] = {}
    for segment in segments:
        slot = {"activity": f"segment:{segment['name']}", "stage": 0}
        orders.setdefault(segment["processor"], []).append(slot)
    for hop in hops:
        orders[hop["link"]] = [{"activity": f"hop:t@{hop['link']}", "stage": 0}]
    manifest = {
        "schema": "edgecut/bundle/1",
        "model": {"source": "benchmark", "sha256": "0" * 64, "batch": 1},
        "source": first,
        "sink": second,
        "boards": sorted({first, second}),
        "inputs": [0],
        "outputs": [2],
        "tensors": [
            _tensor(0, "x", [16], None, ["s0"], [], [first]),
            _tensor(1, "t", [elements], "s0", ["s1"], hops, sorted({first, second})),
            _tensor(2, "y", [16], "s1", [], [], [second]),
        ],
        "segments": segments,
        "orders": orders,
        "verification": {"checked": False},
        "prediction": {
            "period_s": 1.0,
            "throughput_per_s": 1.0,
            "latency_s": 1.0,
            "energy_j": 0.0,
            "occupancy_s": {},
        },
        "power": {},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def _segment(
    folder: Path,
    name: str,
    board: str,
    source: tuple[str, list[int]],
    result: tuple[str, list[int]],
    inputs: list[int],
    outputs: list[int],
) -> dict[str, Any]:
    """x of 16 values is repeated to fill t, or the first 16 of t become y: no arithmetic worth its name."""
    nodes = []
    weights = []
    if result[1][0] >= source[1][0]:
        weights.append(helper.make_tensor("times", TensorProto.INT64, [1], [result[1][0] // source[1][0]]))
        nodes.append(helper.make_node("Tile", [source[0], "times"], [result[0]]))
    else:
        for key, value in (("start", 0), ("end", result[1][0])):
            weights.append(helper.make_tensor(key, TensorProto.INT64, [1], [value]))
        nodes.append(helper.make_node("Slice", [source[0], "start", "end"], [result[0]]))
    inputs_info = [helper.make_tensor_value_info(source[0], TensorProto.FLOAT, source[1])]
    outputs_info = [helper.make_tensor_value_info(result[0], TensorProto.FLOAT, result[1])]
    used = {i for n in nodes for i in n.input}
    graph = helper.make_graph(nodes, name, inputs_info, outputs_info, [w for w in weights if w.name in used])
    data = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    (folder / "segments" / f"{name}.onnx").write_bytes(data)
    return {
        "name": name,
        "board": board,
        "processor": f"{board}/cpu",
        "precision": "fp32",
        "file": f"segments/{name}.onnx",
        "sha256": hashlib.sha256(data).hexdigest(),
        "size_bytes": len(data),
        "inputs": inputs,
        "outputs": outputs,
    }


def _tensor(
    number: int,
    name: str,
    shape: list[int],
    producer: str | None,
    consumers: list[str],
    hops: list[dict[str, str]],
    boards: list[str],
) -> dict[str, Any]:
    return {
        "id": number,
        "name": name,
        "dtype": "float32",
        "shape": shape,
        "size_bytes": 4 * shape[0],
        "producer": producer,
        "consumers": consumers,
        "to_sink": not consumers,
        "hops": hops,
        "boards": boards,
        "depth": 2,
    }
