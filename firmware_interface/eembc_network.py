"""A network for the firmware that answers standard benchmark runners: an int8 model as a C source, and the build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from firmware_interface.compiler import CompiledSegment, compile_segment
from firmware_interface.errors import CompileError, FirmwareBuildError
from firmware_interface.firmware_build import run_make

__all__ = ["SUITE", "Task", "build_benchmark_firmware", "network_source"]

BYTES_A_LINE = 32


@dataclass(frozen=True)
class Task:
    """What the suite asks of a model: elements of its input and output, and how a stimulus becomes the input."""

    inputs: int
    outputs: int
    stimulus: str
    """Of ``enum eembc_stimulus``."""
    error: bool = False
    """The result is the mean squared difference of input and output."""


SUITE = {
    "ic01": Task(3072, 10, "STIMULUS_PIXELS"),
    "kws01": Task(490, 12, "STIMULUS_INT8"),
    "vww01": Task(27648, 2, "STIMULUS_PIXELS"),
    "ad01": Task(640, 640, "STIMULUS_FLOAT", error=True),
}


@dataclass(frozen=True)
class _Scale:
    scale: float
    zero: int


def network_source(model: onnx.ModelProto, task: str, *, board: str = "") -> str:
    """The C file that ``src/eembc_image.h`` describes.

    ``model`` is int8 between its first DequantizeLinear and its last QuantizeLinear, one input and one output of the
    suite's sizes. Raises CompileError, KeyError for a task that the suite has not.
    """
    wanted = SUITE[task]
    compiled = compile_segment(model, board=board)
    _check(compiled, wanted, task)
    source, target = _scale(model, compiled.inputs[0].name, 0), _scale(model, compiled.outputs[0].name, 1)
    rows = (compiled.image[at : at + BYTES_A_LINE] for at in range(0, len(compiled.image), BYTES_A_LINE))
    return "\n".join(
        [
            "/* Made by firmware_interface/eembc_network.py. */",
            '#include "eembc_image.h"',
            "",
            f"static _Alignas(16) const uint8_t image[{len(compiled.image)}] = {{",
            *("    " + ", ".join(str(byte) for byte in row) + "," for row in rows),
            "};",
            "",
            "const struct eembc_network eembc_network = {",
            "    .image = image,",
            "    .image_bytes = sizeof image,",
            f"    .stimulus = {wanted.stimulus},",
            f"    .error = {int(wanted.error)},",
            f"    .input_scale = {_c_float(source.scale)},",
            f"    .input_zero = {source.zero},",
            f"    .output_scale = {_c_float(target.scale)},",
            f"    .output_zero = {target.zero},",
            "};",
            "",
        ]
    )


def _check(compiled: CompiledSegment, wanted: Task, task: str) -> None:
    found = tuple(
        [(t.dtype, int(np.prod(t.shape))) for t in tensors] for tensors in (compiled.inputs, compiled.outputs)
    )
    expected = ([("int8", wanted.inputs)], [("int8", wanted.outputs)])
    if found != expected:
        raise CompileError("", "model", f"inputs {found[0]}, outputs {found[1]}", f"{expected} for {task}")


def _scale(model: onnx.ModelProto, tensor: str, side: int) -> _Scale:
    """Of a DequantizeLinear that reads the tensor (side 0), or the QuantizeLinear that makes it (side 1)."""
    constants = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    for node in model.graph.node:
        kind = ("DequantizeLinear", "QuantizeLinear")[side]
        if node.op_type == kind and tensor in (node.input[:1], node.output[:1])[side]:
            zero = int(constants[node.input[2]]) if len(node.input) > 2 else 0
            return _Scale(float(constants[node.input[1]]), zero)
    raise CompileError("", "model", f"no scale of {tensor}", "int8 between its first and its last operator")


def _c_float(value: float) -> str:
    return float(np.float32(value)).hex() + "f"


def build_benchmark_firmware(
    build: Path, boards: Sequence[str], task: str, model: onnx.ModelProto, *, options: Sequence[str] = ()
) -> Path:
    """Build the variant for some board types with this network; the folder that holds a folder for each.

    Raises CompileError, FirmwareBuildError, KeyError for a task that the suite has not.
    """
    text = network_source(model, task)
    file = build.absolute() / f"eembc-{task}-network" / "network.c"
    if not file.exists() or file.read_text("utf-8") != text:
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, "utf-8")
        except OSError as e:
            raise FirmwareBuildError(", ".join(boards), f"cannot write {file}: {e.strerror}") from e
    variables = (f"EEMBC_MODEL={task}", f"EEMBC_NETWORK={file}", f"EEMBC_BOARDS={' '.join(boards)}")
    run_make(build, ", ".join(boards), (*variables, *options, "eembc"))
    return file.parent
