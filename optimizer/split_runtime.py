"""ONNX Runtime as split uses it; importing this loads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_state

__all__ = ["EXACT_LEVELS", "LEVEL_ALL", "ORT_ERRORS", "open_session"]

EXACT_LEVELS = {
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "disable_all": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
}
LEVEL_ALL = ort.GraphOptimizationLevel.ORT_ENABLE_ALL

# ONNX Runtime's errors have no common base of their own.
ORT_ERRORS: tuple[type[Exception], ...] = tuple(
    found for found in vars(ort_state).values() if isinstance(found, type) and issubclass(found, Exception)
)


def open_session(path: Path, level: Any) -> ort.InferenceSession:
    """A session on one thread of the CPU: the same order of additions in every run. Raises one of ORT_ERRORS."""
    options = ort.SessionOptions()
    options.graph_optimization_level = level
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # On x86 ONNX Runtime turns int8 tensors between QuantizeLinear and DequantizeLinear into uint8, unless the
    # pair is parted by a cut; with the other kernels results differ by a quantum.
    options.add_session_config_entry("session.qdqisint8allowed", "1")
    return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
