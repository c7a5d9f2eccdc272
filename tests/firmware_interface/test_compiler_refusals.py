"""What does not become an image, and why: the node, its operator and what is taken are named."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from firmware_interface.board_client import BoardClient
from firmware_interface.compiler import SegmentLayout, compile_segment, lower
from firmware_interface.errors import CompileError, RemoteError
from firmware_interface.image import ImageTensor, build_image
from optimizer.zoo import load_zoo_model
from tests.firmware_interface.compiled import run_on_kernels
from tests.firmware_interface.kernel_host import KernelHost
from tests.firmware_interface.one_operator import OneOperator, build_model
from tests.firmware_interface.posix_board import PosixBoard, build


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BoardClient]:
    build("posix")
    with PosixBoard(tmp_path_factory.mktemp("board"), sanitized=False) as board, board.client() as client:
        yield client


def one(
    op_type: str, shape: tuple[int, ...] = (1, 3, 8, 8), kind: int = TensorProto.FLOAT, **attributes: object
) -> ModelProto:
    ends = [helper.make_tensor_value_info(n, kind, shape) for n in ("x", "y")]
    graph = helper.make_graph(
        [helper.make_node(op_type, ["x"], ["y"], name="odd", **attributes)], "g", ends[:1], ends[1:]
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("model", "problem", "takes"),
    [
        (one("Softplus"), "no kernel for it", "Conv"),
        (one("Softmax", axis=2), "axis 2 of 4", "the channels of an image, or the last axis"),
        (one("Relu", kind=TensorProto.DOUBLE), "is double", "int8, uint8 or float32"),
        (one("AveragePool", (1, 3, 8), kernel_shape=[3], pads=[1, 1]), "an input of 3 axes", "four axes"),
    ],
    ids=["operator", "attribute", "dtype", "axes"],
)
def test_an_operator_is_refused_by_name(model: ModelProto, problem: str, takes: str) -> None:
    with pytest.raises(CompileError) as refused:
        compile_segment(model, board="")
    assert (refused.value.node, refused.value.op_type) == ("odd", model.graph.node[0].op_type)
    assert problem in refused.value.problem
    assert takes in refused.value.takes


def test_weights_with_zero_points_are_refused() -> None:
    case = OneOperator("conv", "Conv", [(1, 2, 4, 4)], {1: np.ones((3, 2, 1, 1), np.float32)})
    model = build_model(case, quantized=True)
    zero = next(t for t in model.graph.initializer if t.name == "c1_zero")
    zero.CopyFrom(numpy_helper.from_array(np.ones(3, np.int8), "c1_zero"))
    with pytest.raises(CompileError, match=r"Conv 'op'.*zero point of 0"):
        compile_segment(model, board="")


def test_a_layout_in_which_tensors_overlap_is_refused() -> None:
    model = load_zoo_model("tiny_digits_int8")
    layout = lower(model).layout
    spoilt = replace(layout, offsets={**layout.offsets, "conv1.relu": layout.arena_bytes - 512})
    with pytest.raises(CompileError, match=r"'conv1\.relu' and '\w+' overlap"):
        compile_segment(model, board="", layout=spoilt)
    for wrong in (
        replace(layout, arena_bytes=layout.arena_bytes - 4),
        replace(layout, offsets={k: v for k, v in layout.offsets.items() if k != "pool1"}),
        replace(layout, offsets={**layout.offsets, "input": 2}),
        SegmentLayout(layout.operators[::-1], layout.offsets, layout.arena_bytes),
    ):
        with pytest.raises(CompileError, match="layout"):
            compile_segment(model, board="", layout=wrong)


def test_a_layout_whose_scratch_meets_a_tensor_is_refused() -> None:
    model = load_zoo_model("tiny_digits_int8")
    layout = lower(model).layout
    behind = {"conv1@scratch": layout.arena_bytes, "conv2@scratch": layout.arena_bytes + 20}
    good = replace(layout, offsets={**layout.offsets, **behind}, arena_bytes=layout.arena_bytes + 200)
    assert compile_segment(model, board="", layout=good).scratch_in_arena
    for place in (layout.offsets["input"], layout.arena_bytes + 2, layout.arena_bytes + 184):
        with pytest.raises(CompileError, match=r"Conv 'conv1'.*scratch from \d+ to \d+.*plan again"):
            compile_segment(model, board="", layout=replace(good, offsets={**good.offsets, "conv1@scratch": place}))
    with pytest.raises(CompileError, match="scratch from -1"):
        compile_segment(
            model, board="", layout=replace(good, offsets={**layout.offsets, "conv1@scratch": layout.arena_bytes})
        )


def test_tensors_are_turned_where_the_other_end_has_channels_first() -> None:
    model = one("Sigmoid", (1, 3, 4, 5))
    segment = compile_segment(model, board="", wire={"x": "nchw", "y": "nchw"})
    assert (segment.transposes, [t.layout for t in (*segment.inputs, *segment.outputs)]) == (2, ["nchw", "nchw"])
    assert segment.records == ("x", "odd", "y")
    values = np.random.default_rng(0).standard_normal((1, 3, 4, 5)).astype(np.float32)
    with KernelHost() as host:
        made = run_on_kernels(host, lower(model, wire={"x": "nchw", "y": "nchw"}), [values.tobytes()])
    np.testing.assert_allclose(
        np.frombuffer(made[0], np.float32).reshape(values.shape), 1 / (1 + np.exp(-values)), atol=1e-6
    )
    flat = compile_segment(one("Sigmoid", (1, 3, 1, 1)), board="", wire={"x": "nchw"})
    assert flat.transposes == 0, "one pixel is the same either way"


@pytest.mark.parametrize(("flags", "scratch"), [(True, 80), (2, 16)], ids=["scratch beyond the arena", "unknown flag"])
def test_the_firmware_refuses_flags_that_make_no_sense(client: BoardClient, flags: int, scratch: int) -> None:
    image = build_image(
        inputs=[ImageTensor(0, 64)], outputs=[ImageTensor(0, 64)], arena_bytes=64, scratch_bytes=scratch,
        scratch_in_arena=flags is True,
    )  # fmt: skip
    if flags is not True:
        head = image[:58] + struct.pack("<H", flags) + image[60:72]
        image = head + struct.pack("<I", zlib.crc32(head)) + image[76:]
    with pytest.raises(RemoteError, match="BAD_IMAGE"):
        client.write_image(image)
