"""ONNX Runtime on the board: sessions, and runs from and into buffers that exist already."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as _state

from firmware_interface.messages import ErrorCode
from hil.agent_store import AgentError

__all__ = ["ORT_ERRORS", "Array", "Runner", "aligned", "open_session", "session_options"]

Array = npt.NDArray[Any]

ORT_ERRORS: tuple[type[Exception], ...] = (
    RuntimeError,
    ValueError,
    *(v for v in vars(_state).values() if isinstance(v, type) and issubclass(v, Exception)),
)
"""What a session may raise: ONNX Runtime's own classes share no base but Exception."""

_LEVEL = {
    "disable": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_ALIGNMENT_BYTES = 64  # a cache line, and what vector kernels like best


def aligned(shape: Sequence[int], dtype: str) -> Array:
    """A zeroed array whose data starts on a cache line."""
    kind = np.dtype(dtype)
    size = math.prod(shape) * kind.itemsize
    raw = np.zeros(size + _ALIGNMENT_BYTES, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT_BYTES
    return raw[start : start + size].view(kind).reshape(shape)


def session_options(level: str, threads: int, *, arena: bool = True) -> Any:
    """Options that all sessions of an agent share. Raises AgentError for an unknown level."""
    if level not in _LEVEL:
        raise AgentError(ErrorCode.BAD_MESSAGE, f"level {level!r}; expected one of {', '.join(_LEVEL)}")
    options = ort.SessionOptions()
    options.graph_optimization_level = _LEVEL[level]
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.enable_cpu_mem_arena = arena
    options.enable_mem_pattern = arena
    options.log_severity_level = 3
    # Threads that spin between two frames take the core from the threads that move tensors.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Otherwise x86 turns quantized int8 into uint8, and the parts differ from the whole by a quantum.
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    return options


def open_session(path: Path, options: Any) -> Any:
    """An inference session. Raises AgentError MODEL."""
    try:
        return ort.InferenceSession(os.fspath(path), options, providers=["CPUExecutionProvider"])
    except ORT_ERRORS as error:
        raise AgentError(ErrorCode.MODEL, f"ONNX Runtime cannot load the model: {error}") from error


class Runner:
    """A session that runs from and into preallocated slots: no array is made and nothing is copied.

    ``inputs`` and ``outputs`` map tensor names to their slots; frame n uses slot n modulo their number.
    """

    def __init__(
        self, session: Any, inputs: Mapping[str, Sequence[Array]], outputs: Mapping[str, Sequence[Array]]
    ) -> None:
        self._session = session
        self._inputs, self._outputs = inputs, outputs
        self._check_names()
        counts = [len(slots) for slots in (*inputs.values(), *outputs.values())]
        self._cycle = math.lcm(*counts) if counts else 1
        self._bindings: dict[int, Any] = {}

    def _check_names(self) -> None:
        have = {i.name for i in self._session.get_inputs()}
        makes = {o.name for o in self._session.get_outputs()}
        if have != set(self._inputs) or not set(self._outputs) <= makes:
            raise AgentError(
                ErrorCode.MODEL,
                f"the segment's model takes {sorted(have)} and makes {sorted(makes)}, the deployment says "
                f"{sorted(self._inputs)} and {sorted(self._outputs)}",
            )

    def run(self, frame: int) -> None:
        """Run one frame. Raises one of ORT_ERRORS."""
        index = frame % self._cycle
        binding = self._bindings.get(index)
        if binding is None:
            binding = self._bindings[index] = self._bind(index)
        self._session.run_with_iobinding(binding)

    def _bind(self, frame: int) -> Any:
        binding = self._session.io_binding()
        for name, slots in self._inputs.items():
            a = slots[frame % len(slots)]
            binding.bind_input(name, "cpu", 0, a.dtype.type, a.shape, a.ctypes.data)
        for name, slots in self._outputs.items():
            a = slots[frame % len(slots)]
            binding.bind_output(name, "cpu", 0, a.dtype.type, a.shape, a.ctypes.data)
        return binding
