"""Binding the symbolic batch dimension of a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from onnx import GraphProto, TensorShapeProto, ValueInfoProto

from optimizer.errors import ModelError

__all__ = ["bind_batch"]

_Dimension = TensorShapeProto.Dimension


def bind_batch(graph: GraphProto, inputs: Sequence[ValueInfoProto], batch: int, source: str) -> list[str]:
    """Give the symbolic batch dimension its value, in place; return warnings.

    The batch is a symbol whose name says so ("batch", "batch_size", "N"), else every symbolic first dimension
    of an input; an unnamed first dimension is always the batch. Raises ModelError for other symbolic
    dimensions and where a batch is asked for that the model does not allow.
    """
    if batch < 1:
        raise ModelError("impossible batch", where=source, expected="a whole number from 1", got=str(batch))
    for value in inputs:
        if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
            raise ModelError(
                f"input {value.name!r} has no shape", where=source, expected="a dense tensor of known rank",
                got=value.type.WhichOneof("value") or "no type",
                hint="Export the model with example inputs, or set the input's shape.",
            )  # fmt: skip
    symbols = _batch_symbols(inputs)
    bound = 0
    unknown: list[str] = []
    for value in inputs:
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            if dimension.dim_value > 0:
                continue
            if dimension.dim_param in symbols or (axis == 0 and not dimension.dim_param):
                dimension.dim_value = batch
                bound += 1
            else:
                unknown.append(f"{dimension.dim_param or '?'} (input {value.name!r}, dimension {axis})")
    if unknown:
        raise ModelError(
            "only the batch may be symbolic",
            where=source,
            expected="fixed dimensions",
            got=", ".join(unknown),
            hint="Fix them, for example with `python -m onnxruntime.tools.make_dynamic_shape_fixed`.",
        )
    if batch != 1 and not bound:
        raise ModelError(
            "the model's batch is fixed",
            where=source,
            expected=f"a symbolic first dimension to set to {batch}",
            got=", ".join(f"{v.name} {_shape(v)}" for v in inputs) or "no inputs",
            hint="Leave the batch at 1, or export the model with a dynamic batch.",
        )
    for dimension in _other_dimensions(graph):
        if dimension.dim_param in symbols:
            dimension.dim_value = batch
        elif dimension.HasField("dim_param"):
            dimension.ClearField("dim_param")
    if len(symbols) > 1:
        return [f"the symbols {', '.join(sorted(symbols))} were all taken for the batch and set to {batch}"]
    return []


def _batch_symbols(inputs: Sequence[ValueInfoProto]) -> set[str]:
    dimensions = [list(v.type.tensor_type.shape.dim) for v in inputs]
    named = {d.dim_param for dims in dimensions for d in dims if _says_batch(d.dim_param)}
    return named or {dims[0].dim_param for dims in dimensions if dims and dims[0].dim_param}


def _says_batch(symbol: str) -> bool:
    return "batch" in symbol.lower() or symbol in ("N", "n", "B", "b", "bs")


def _other_dimensions(graph: GraphProto) -> Iterator[_Dimension]:
    for value in (*graph.output, *graph.value_info):
        yield from value.type.tensor_type.shape.dim


def _shape(value: ValueInfoProto) -> list[int]:
    return [d.dim_value for d in value.type.tensor_type.shape.dim]
