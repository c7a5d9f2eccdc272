"""The zoo against published figures, and the promise that its weights are the same everywhere."""

from __future__ import annotations

import csv
import hashlib
import math
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from optimizer.errors import ModelError
from optimizer.onnx_model import load_graph
from optimizer.zoo import (
    SEED_LOCATION,
    fill_weights,
    is_stub,
    load_zoo_model,
    materialize,
    seeded_elements,
    zoo_names,
    zoo_sha256,
)

ROOT = Path(__file__).parents[2]

PUBLISHED_PARAMETERS = {
    # torchvision's documentation; googlenet and inception_v3 without their auxiliary classifiers.
    "densenet121": 7_978_856,
    "efficientnet_b0": 5_288_548,
    "googlenet": 6_624_904,
    "inception_v3": 23_834_568,
    "mobilenet_v2": 3_504_872,
    "mobilenet_v3_large": 5_483_032,
    "regnet_x_400mf": 5_495_976,
    "resnet152": 60_192_808,
    "resnet50": 25_557_032,
    "squeezenet1_1": 1_235_496,
    "vgg16": 138_357_544,
    "vgg19": 143_667_240,
    "vit_b_16": 86_567_656,
}
PUBLISHED_GMAC = {
    # torchvision's documentation ("GFLOPS", which counts a multiply-accumulate once).
    "densenet121": 2.83,
    "efficientnet_b0": 0.39,
    "googlenet": 1.50,
    "inception_v3": 5.71,
    "mobilenet_v2": 0.30,
    "mobilenet_v3_large": 0.22,
    "regnet_x_400mf": 0.41,
    "resnet152": 11.51,
    "resnet50": 4.09,
    "squeezenet1_1": 0.35,
    "vgg16": 15.47,
    "vgg19": 19.63,
    "vit_b_16": 17.56,
}
PRODUCTS = {
    # (convolutions, matrix products with weights): what the papers' tables add up to.
    "densenet121": (120, 1),
    "efficientnet_b0": (81, 1),
    "googlenet": (57, 1),
    "inception_v3": (94, 1),
    "mobilenet_v2": (52, 1),
    "mobilenet_v3_large": (62, 2),
    "regnet_x_400mf": (71, 1),
    "resnet152": (155, 1),
    "resnet50": (53, 1),
    "squeezenet1_1": (26, 0),
    "vgg16": (13, 3),
    "vgg19": (16, 3),
    "vit_b_16": (1, 49),
}
NODES = {
    "densenet121": 372,
    "efficientnet_b0": 239,
    "googlenet": 139,
    "inception_v3": 215,
    "mobilenet_v2": 170,
    "mobilenet_v3_large": 140,
    "regnet_x_400mf": 163,
    "resnet152": 360,
    "resnet50": 122,
    "squeezenet1_1": 65,
    "vgg16": 38,
    "vgg19": 44,
    "vit_b_16": 1016,
}
RUN = (
    "squeezenet1_1",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "regnet_x_400mf",
    "googlenet",
)
RUN_LARGE = ("densenet121", "inception_v3", "resnet50", "resnet152", "vgg16", "vgg19", "vit_b_16")


def test_all_thirteen_networks_are_there() -> None:
    assert set(zoo_names()) == set(PUBLISHED_PARAMETERS)


def test_zoo_takes_less_than_150_kilobytes() -> None:
    assert sum(p.stat().st_size for p in (ROOT / "optimizer" / "zoo_data").iterdir()) < 150_000


def test_unknown_name_lists_the_networks() -> None:
    with pytest.raises(ModelError, match=r"no network 'resnet51'.*resnet50.*vit_b_16"):
        load_zoo_model("resnet51")


@pytest.mark.parametrize("name", zoo_names())
def test_node_counts(name: str) -> None:
    graph = load_zoo_model(name, weights=False).graph
    weights = {t.name for t in graph.initializer}
    products = Counter(n.op_type for n in graph.node if len(n.input) > 1 and n.input[1] in weights)
    assert len(graph.node) == NODES[name]
    assert (products["Conv"], products["Gemm"] + products["MatMul"]) == PRODUCTS[name]
    assert len({n.name for n in graph.node}) == len(graph.node)


@pytest.mark.parametrize("name", zoo_names())
def test_parameters_match_the_published_count(name: str) -> None:
    graph = load_zoo_model(name, weights=False).graph
    dims = {t.name: tuple(t.dims) for t in graph.initializer}
    elements = sum(math.prod(d) for d in dims.values())
    # A folded batch normalisation had a scale and a shift a channel and left a bias; the exporter names what
    # it folds "onnx::Conv_...". One that is left brings its mean and variance, which are no parameters.
    folded = sum(
        dims[n.input[1]][0] for n in graph.node if n.op_type == "Conv" and n.input[1].startswith("onnx::Conv_")
    )
    statistics = sum(2 * dims[n.input[3]][0] for n in graph.node if n.op_type == "BatchNormalization")
    assert elements + folded - statistics == PUBLISHED_PARAMETERS[name]


@pytest.mark.parametrize("name", zoo_names())
def test_graph_counts_the_published_macs(name: str) -> None:
    graph = load_graph(f"zoo:{name}")
    assert graph.macs / 1e9 == pytest.approx(PUBLISHED_GMAC[name], abs=0.005)
    assert graph.warnings == ()


@pytest.mark.parametrize("name", zoo_names())
def test_graph_counts_weight_bytes_without_weights(name: str) -> None:
    elements = sum(math.prod(t.dims) for t in load_zoo_model(name, weights=False).graph.initializer)
    # The graph also counts what stands in Constant nodes: bounds of Clip, shapes.
    assert 0 <= load_graph(f"zoo:{name}").parameters_bytes - 4 * elements < 10_000


@pytest.mark.parametrize("name", zoo_names())
def test_weightless_form_keeps_shapes_and_holds_no_weights(name: str) -> None:
    model = load_zoo_model(name, weights=False)
    large = [t for t in model.graph.initializer if math.prod(t.dims) > 8]
    assert large
    assert all(is_stub(t) and not t.raw_data and t.data_type == onnx.TensorProto.FLOAT for t in large)
    inferred = onnx.shape_inference.infer_shapes(model, strict_mode=True)
    assert [d.dim_value for d in inferred.graph.output[0].type.tensor_type.shape.dim] == [1, 1000]


def test_seeded_elements_never_change() -> None:
    """The stream is part of the file format: these figures were written down once."""
    stub = onnx.TensorProto(name="layer.weight", dims=[3, 5], data_type=onnx.TensorProto.FLOAT)
    for key, value in (("location", SEED_LOCATION), ("centre", "0.25"), ("span", "0.5")):
        stub.external_data.add(key=key, value=value)
    elements = seeded_elements(stub)
    assert elements.shape == (3, 5)
    assert elements.dtype == np.float32
    assert (elements >= 0).all() and (elements < 0.5).all()
    assert (
        hashlib.sha256(elements.tobytes()).hexdigest()
        == "30739ce89fe5796008a1db83e910a3c347d83e338a6289bddd14e697f4ab182c"
    )


def test_large_tensors_continue_the_stream_of_small_ones() -> None:
    def drawn(count: int) -> np.ndarray:
        stub = onnx.TensorProto(name="w", dims=[count], data_type=onnx.TensorProto.FLOAT)
        for key, value in (("location", SEED_LOCATION), ("centre", "0"), ("span", "1")):
            stub.external_data.add(key=key, value=value)
        return seeded_elements(stub)

    large = drawn((1 << 20) + 4097)
    np.testing.assert_array_equal(drawn(4097), large[:4097])
    assert abs(float(large.mean())) < 0.01
    assert float(large.std()) == pytest.approx(1 / math.sqrt(12), rel=0.01)
    assert not np.array_equal(large[:4097], large[-4097:])


def test_weights_are_the_same_each_time() -> None:
    first, second = (load_zoo_model("squeezenet1_1").SerializeToString(deterministic=True) for _ in range(2))
    assert first == second


def test_only_named_weights_are_filled() -> None:
    model = load_zoo_model("squeezenet1_1", weights=False)
    fill_weights(model, {"features.0.weight"})
    filled = [t.name for t in model.graph.initializer if not is_stub(t)]
    assert filled == ["features.0.weight"]


def test_materialized_file_is_a_complete_model(tmp_path: Path) -> None:
    path = materialize("squeezenet1_1", tmp_path / "net.onnx")
    onnx.checker.check_model(str(path), full_check=True)
    assert onnx.load(path) == load_zoo_model("squeezenet1_1")
    assert [p.name for p in tmp_path.iterdir()] == ["net.onnx"]


def test_materialized_file_of_a_network_with_inline_constants(tmp_path: Path) -> None:
    path = materialize("mobilenet_v2", tmp_path / "net.onnx")
    assert onnx.load(path) == load_zoo_model("mobilenet_v2")


def test_materialize_writes_the_cached_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    path = materialize("squeezenet1_1")
    assert path.is_relative_to(tmp_path)
    assert zoo_sha256("squeezenet1_1")[:16] in path.name
    before = path.stat().st_mtime_ns
    assert materialize("squeezenet1_1") == path
    assert path.stat().st_mtime_ns == before


def run_twice(name: str) -> tuple[np.ndarray, np.ndarray]:
    session = ort.InferenceSession(load_zoo_model(name).SerializeToString(), providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(7)
    inputs = [rng.standard_normal(session.get_inputs()[0].shape, dtype=np.float32) for _ in range(2)]
    first, second = (session.run(None, {"input": x})[0] for x in inputs)
    return first, second


def check_outputs(name: str) -> None:
    """Finite, of sane size, spread over the classes, and different for different pictures."""
    first, second = run_twice(name)
    assert first.shape == (1, 1000)
    assert np.isfinite(first).all()
    assert np.abs(first).max() < 100
    assert np.std(first) > 0.1
    assert np.linalg.norm(first - second) > 1e-3 * np.linalg.norm(first)


@pytest.mark.parametrize("name", RUN)
def test_small_network_computes(name: str) -> None:
    check_outputs(name)


@pytest.mark.integration
@pytest.mark.parametrize("name", RUN_LARGE)
def test_large_network_computes(name: str) -> None:
    check_outputs(name)


@pytest.mark.parametrize("network", ["squeezenet1_1", "resnet50", "googlenet", "vgg16"])
def test_cost_rows_of_the_ancestor_name_exactly_the_products(network: str) -> None:
    files = sorted((ROOT / "benchmarks" / "data" / "cnnparted").glob(f"{network}_*.csv"))
    assert files
    products = [n.name for n in load_zoo_model(network, weights=False).graph.node if n.op_type in ("Conv", "Gemm")]
    for file in files:
        with file.open(newline="") as text:
            layers = [row["Layer"] for row in csv.DictReader(text, delimiter=";")]
        assert sorted(layers) == sorted(products), file.name
