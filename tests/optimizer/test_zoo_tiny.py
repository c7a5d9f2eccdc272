"""The small networks: published figures, what int8 keeps of float32, real labels, and plans for microcontrollers."""

from __future__ import annotations

import hashlib
import math
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, numpy_helper

from optimizer.graph import Graph
from optimizer.inspect_model import inspection_values
from optimizer.onnx_model import load_graph, load_onnx
from optimizer.plan import Front
from optimizer.request import SolveRequest, solve_request
from optimizer.split import split
from optimizer.zoo import is_stub, load_zoo_model, materialize, seeded_elements, stub_elements, tiny_names, zoo_names
from optimizer.zoo_digits import digits_pictures, digits_test
from optimizer.zoo_weights import INT8_LOCATION, SEED_LOCATION
from tests.optimizer.onnx_builders import split_over

FIGURES = {
    # MACs, weights and biases with batch normalisation folded, operators of the int8 form.
    "tiny_autoencoder": (264_192, 265_864, 10),
    "tiny_digits": (23_680, 1_898, 6),
    "tiny_dscnn": (2_656_768, 22_604, 13),
    "tiny_mobilenet_v1_025": (7_489_664, 210_850, 31),
    "tiny_mobilenet_v2_035": (10_782_128, 517_188, 65),
    "tiny_resnet8": (12_501_632, 77_706, 16),
}
PUBLISHED_MMAC = {
    # Silicon Labs' MLTK, model summaries of the MLPerf Tiny reference models (mltk/models/tinyml); of
    # MobileNetV2-0.35 at 96 px (11 million) the table in tensorflow/models, research/slim/nets/mobilenet, where
    # the head has 1000 classes: 1.152 million MACs more than ours.
    "tiny_autoencoder": (0.264192, 1e-9),
    "tiny_dscnn": (2.657, 0.0005),
    "tiny_mobilenet_v1_025": (7.490, 0.0005),
    "tiny_mobilenet_v2_035": (11.0 - 1.152, 1.0),
    "tiny_resnet8": (12.502, 0.0005),
}
LEAST_SQNR_DB = 12.0
"""Rounding noise may be a quarter of what differs between inputs; what all inputs have in common does not count."""
DIGESTS = {
    "weight": "f6079652339e89a6",
    "scale": "0755dc393f2f1674",
    "bias-scale": "771cb95198965698",
}
"""First 16 digits of SHA-256."""
NAMES = tuple(FIGURES)


def with_both_precisions(names: tuple[str, ...]) -> list[str]:
    return [form for name in names for form in (name, f"{name}_int8")]


@cache
def graph_of(name: str) -> Graph:
    return load_graph(f"zoo:{name}")


def session(name: str) -> ort.InferenceSession:
    return ort.InferenceSession(load_zoo_model(name).SerializeToString(), providers=["CPUExecutionProvider"])


def step_of(name: str, tensor: str) -> tuple[np.float32, int]:
    """Scale and zero point of an int8 tensor."""
    found = {t.name: t for t in load_zoo_model(name).graph.initializer}
    scale, zero = (numpy_helper.to_array(found[f"{tensor}.{part}"]) for part in ("scale", "zero_point"))
    return np.float32(scale), int(zero)


def pictures(shape: tuple[int, ...], count: int) -> npt.NDArray[np.float32]:
    """Noise with equal power in every octave; mean 0, spread 1."""
    channels, height, width = shape[1:] if len(shape) == 4 else (1, 5, shape[1] // 5)
    rng = np.random.default_rng(7)
    total = np.zeros((count, channels, height, width), np.float32)
    for cells in (4, 8, 16, 32, 64, 128):
        rows, columns = (np.arange(n) * cells // n for n in (height, width))
        total += rng.standard_normal((count, channels, cells, cells), np.float32)[:, :, rows[:, None], columns]
    return (total / np.float32(math.sqrt(6))).reshape(count, *shape[1:])


def outputs(name: str, batch: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    run = session(name)
    return np.concatenate([run.run(None, {"input": x[np.newaxis]})[0] for x in batch])


def test_both_forms_of_all_six_are_there_and_the_other_zoo_is_as_it_was() -> None:
    assert set(tiny_names()) == set(with_both_precisions(NAMES))
    assert not set(tiny_names()) & set(zoo_names())


@pytest.mark.parametrize("name", NAMES)
def test_macs_and_parameters(name: str) -> None:
    macs, parameters, _ = FIGURES[name]
    assert (graph_of(name).macs, graph_of(f"{name}_int8").macs) == (macs, macs)
    assert sum(math.prod(t.dims) for t in load_zoo_model(name, weights=False).graph.initializer if t.dims) == parameters
    if name in PUBLISHED_MMAC:
        published, tolerance = PUBLISHED_MMAC[name]
        assert macs / 1e6 == pytest.approx(published, abs=tolerance)


def test_parameters_match_the_reference_models() -> None:
    """Keras counts a scale, a shift, a mean and a variance for each channel of a batch normalisation."""
    normalised = {"tiny_resnet8": 240, "tiny_dscnn": 576, "tiny_mobilenet_v1_025": 2736}
    counts = {name: FIGURES[name][1] + 4 * channels for name, channels in normalised.items()}
    assert counts == {"tiny_resnet8": 78_666, "tiny_dscnn": 24_908, "tiny_mobilenet_v1_025": 221_794}
    # Keras' MobileNetV2 of width 0.35 has 410,208 without its head; 3 a channel more than weights and a bias.
    model = load_zoo_model("tiny_mobilenet_v2_035", weights=False)
    biases = sum(t.dims[0] for t in model.graph.initializer if t.name.endswith("bias")) - 100
    assert FIGURES["tiny_mobilenet_v2_035"][1] - (1280 * 100 + 100) + 3 * biases == 410_208


@pytest.mark.parametrize("name", NAMES)
def test_int8_weights_are_symmetric_by_channel_and_activations_int8(name: str) -> None:
    model = load_zoo_model(f"{name}_int8")
    onnx.checker.check_model(model, full_check=True)
    found = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    weights = [n for n in found if n.endswith(".weight")]
    assert weights
    for weight in weights:
        rows = found[weight].astype(int).reshape(len(found[weight]), -1)
        assert found[weight].dtype == np.int8
        assert (np.abs(rows).max(axis=1) == 127).all()
        assert found[f"{weight}.scale"].shape == (len(rows),)
        assert not found[f"{weight}.zero_point"].any()
    ends = (*model.graph.input, *model.graph.output)
    assert {v.type.tensor_type.elem_type for v in ends} == {TensorProto.INT8}
    graph = graph_of(f"{name}_int8")
    assert {t.dtype for t in graph.tensors} == {"int8"}
    assert len(graph.operators) == FIGURES[name][2]


@pytest.mark.parametrize("name", [n for n in NAMES if n != "tiny_digits"])
def test_int8_weights_are_the_float_ones_rounded(name: str) -> None:
    floats = {t.name: stub_elements(t) for t in load_zoo_model(name, weights=False).graph.initializer if is_stub(t)}
    int8 = {t.name: stub_elements(t) for t in load_zoo_model(f"{name}_int8", weights=False).graph.initializer
            if is_stub(t)}  # fmt: skip
    for weight, exact in floats.items():
        scales = int8[f"{weight}.scale"].reshape(-1, *[1] * (exact.ndim - 1))
        assert np.abs(int8[weight] * scales - exact).max() <= 0.501 * scales.max()


@pytest.mark.parametrize("name", NAMES)
def test_int8_outputs_carry_the_information_of_float32(name: str) -> None:
    shape = tuple(d.dim_value for d in load_zoo_model(name, weights=False).graph.input[0].type.tensor_type.shape.dim)
    batch = digits_pictures(digits_test()[0][:32]) if name == "tiny_digits" else pictures(shape, 32)
    scale, zero = step_of(f"{name}_int8", "input")
    fed = np.clip(np.rint(batch / scale) + zero, -128, 127).astype(np.int8)
    exact, rounded = outputs(name, batch), outputs(f"{name}_int8", fed)
    scale, zero = step_of(f"{name}_int8", "output")
    noise = (rounded.astype(np.float32) - np.float32(zero)) * scale - exact
    signal = exact - exact.mean(axis=0)
    assert np.isfinite(exact).all()
    assert 10 * math.log10(float((signal**2).mean() / (noise**2).mean())) > LEAST_SQNR_DB


@pytest.mark.parametrize("form", ["tiny_digits", "tiny_digits_int8"])
def test_digits_are_recognised(form: str) -> None:
    pixels, labels = digits_test()
    assert pixels.shape == (360, 1, 8, 8) and set(labels) == set(range(10))
    found = outputs(form, pixels if form.endswith("int8") else digits_pictures(pixels)).argmax(axis=1)
    assert (found == labels).mean() == pytest.approx(0.975, abs=0.003)


def test_quantized_elements_never_change() -> None:
    """The stream and the rounding are part of the file format: these figures were written down once."""
    digests = {}
    for part, dims, dtype in (
        ("weight", [3, 5], TensorProto.INT8),
        ("scale", [3], TensorProto.FLOAT),
        ("bias-scale", [3], TensorProto.FLOAT),
    ):
        stub = TensorProto(name=f"quantized {part}", dims=dims, data_type=dtype)
        entries = {"location": INT8_LOCATION, "part": part, "weight": "layer.weight", "dims": "3,5"}
        for key, value in (entries | {"centre": "0.25", "span": "0.5", "input_scale": "0.125"}).items():
            stub.external_data.add(key=key, value=value)
        digests[part] = hashlib.sha256(stub_elements(stub).tobytes()).hexdigest()[:16]
    seeded = TensorProto(name="layer.weight", dims=[3, 5], data_type=TensorProto.FLOAT)
    for key, value in (("location", SEED_LOCATION), ("centre", "0.25"), ("span", "0.5")):
        seeded.external_data.add(key=key, value=value)
    largest = np.abs(seeded_elements(seeded)).max(axis=1)
    assert hashlib.sha256((largest / np.float32(127)).tobytes()).hexdigest()[:16] == digests["scale"]
    assert digests == DIGESTS


def test_weightless_form_fits_its_declared_types() -> None:
    for name in tiny_names():
        for tensor in load_zoo_model(name, weights=False).graph.initializer:
            if is_stub(tensor):
                elements = stub_elements(tensor)
                assert elements.shape == tuple(tensor.dims)
                assert onnx.helper.np_dtype_to_tensor_dtype(elements.dtype) == tensor.data_type


def test_materialized_int8_file_is_the_model(tmp_path: Path) -> None:
    path = materialize("tiny_resnet8_int8", tmp_path / "net.onnx")
    assert onnx.load(path) == load_zoo_model("tiny_resnet8_int8")


@pytest.mark.parametrize("form", with_both_precisions(NAMES))
def test_inspection_and_split_over_three_boards(form: str, tmp_path: Path) -> None:
    """Cut in three by operators; ``split`` compares the chain with the whole model bit for bit."""
    graph = graph_of(form)
    assert graph.warnings == ()
    assert inspection_values(graph, 3)["macs"] == FIGURES[form.removesuffix("_int8")][0]
    count = len(graph.operators)
    bundle = split_over(graph, [3 * position // count for position in range(count)], tmp_path / "bundle")
    assert len(bundle.segments) == 3


def check_solving_and_splitting(form: str, out: Path) -> None:
    """Plans for a chain of microcontrollers, whose runtime has int8 only; the int8 form is split and checked."""
    result = solve_request(SolveRequest(f"zoo:{form}", "mcu-chain", time_limit_s=5.0))
    assert isinstance(result.outcome, Front)
    problem, plan = result.problem, result.outcome.plans[result.outcome.chosen]
    assert {s.precision for s in plan.segments} == {"int8"}
    if not form.endswith("_int8"):
        return
    bundle = split(problem.graph, load_onnx(f"zoo:{form}"), plan, problem.system, out)
    assert {s.processor for s in bundle.segments} == {s.processor for s in plan.segments}


@pytest.mark.parametrize("form", ["tiny_digits", "tiny_digits_int8"])
def test_digits_are_planned_for_microcontrollers(form: str, tmp_path: Path) -> None:
    check_solving_and_splitting(form, tmp_path / "bundle")


@pytest.mark.integration
@pytest.mark.parametrize("form", with_both_precisions(tuple(n for n in NAMES if n != "tiny_digits")))
def test_others_are_planned_for_microcontrollers(form: str, tmp_path: Path) -> None:
    check_solving_and_splitting(form, tmp_path / "bundle")
