"""Whether a model file has the precisions that a plan asks for: splitting cuts a model, it does not quantize it."""

from __future__ import annotations

from optimizer.errors import PlanError
from optimizer.graph import Graph
from optimizer.onnx_file import OnnxModel
from optimizer.plan import Plan

__all__ = ["check_precisions"]

_QUANTIZED = frozenset({"QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger"})


def check_precisions(graph: Graph, model: OnnxModel, plan: Plan) -> None:
    """Raises PlanError for the first segment whose precision the model file does not have.

    fp32 is the file as it is, whatever it holds; int8 asks for quantized operators, fp16 for float16 tensors.
    """
    has = {"fp32"}
    if any(node.op_type in _QUANTIZED for node in model.proto.graph.node):
        has.add("int8")
    if any(t.dtype == "float16" for t in graph.tensors):
        has.add("fp16")
    for segment in plan.segments:
        if segment.precision not in has:
            raise PlanError(
                f"segment {segment.name} is planned at {segment.precision}, which the model file does not have",
                where=model.source,
                expected=f"segments at {' or '.join(sorted(has))}, or a model that is quantized already",
                got=f"{segment.name} on {segment.processor} at {segment.precision}",
                hint="Splitting does not quantize: quantize the model first and plan the result, or solve with "
                f"--precision {segment.processor}=fp32 if the processor works at it.",
            )
