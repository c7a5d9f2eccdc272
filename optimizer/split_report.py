"""What ``optimizer split`` says of the bundle it wrote."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table

from optimizer.split_manifest import Bundle, Verification

__all__ = ["bundle_table"]


def bundle_table(bundle: Bundle) -> RenderableType:
    """Segments with what they receive and send, and the outcome of the check, for a terminal."""
    table = Table(title=f"Bundle {bundle.directory}")
    for header in ("segment", "processor", "sub-model"):
        table.add_column(header, overflow="fold")
    for header in ("size", "receives", "sends"):
        table.add_column(header, justify="right")
    sizes = [tensor.size_bytes for tensor in bundle.tensors]
    for segment in bundle.segments:
        table.add_row(
            segment.name,
            segment.processor,
            segment.file,
            f"{(segment.size_bytes + sum(d.size_bytes for d in segment.data)) / 1024:,.1f} KiB",
            f"{sum(sizes[i] for i in segment.inputs):,} B",
            f"{sum(sizes[i] for i in segment.outputs):,} B",
        )
    return Group(table, _outcome(bundle.verification))


def _outcome(check: Verification) -> str:
    if not check.checked:
        return "not verified: told not to compare the sub-models with the whole model"
    how = (
        f"equal to the whole model bit for bit at ONNX Runtime level {check.ort_level}"
        if check.bit_exact
        else f"within {check.max_abs:.1e} of the whole model at level {check.ort_level} (half precision)"
    )
    return f"verified on {check.runs} random inputs: {how}, within {check.ort_level_all_max_relative:.1e} at all"
