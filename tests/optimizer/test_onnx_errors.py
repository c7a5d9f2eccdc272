"""What is said of models that cannot be read or planned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from optimizer.errors import ModelError
from optimizer.onnx_model import load_graph, load_onnx
from tests.optimizer.onnx_builders import constant, make_model, node, save, tensor, weight


def small() -> ModelProto:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["y"])]
    return make_model(nodes, [tensor("x", 1, 64)], [tensor("y", 1, 64)], [weight("w", 64, 64)])


def save_external(model: ModelProto, path: Path) -> Path:
    """Every weight, however small, in ``weights.bin`` beside the model."""
    onnx.save(model, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    return path


def message(path: Path | str, batch: int = 1) -> str:
    with pytest.raises(ModelError) as caught:
        load_graph(path, batch)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_a_missing_file(tmp_path: Path) -> None:
    assert "No such file" in message(tmp_path / "none.onnx")


def test_a_directory(tmp_path: Path) -> None:
    assert "cannot read" in message(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_file(share: float, tmp_path: Path) -> None:
    data = small().SerializeToString()
    path = tmp_path / "cut.onnx"
    path.write_bytes(data[: int(len(data) * share)])
    assert "ONNX" in message(path)


@pytest.mark.parametrize("data", [b"PK\x03\x04 a zip file", b"\x00" * 100, b"hello", np.arange(99).tobytes()])
def test_a_file_of_another_kind(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.onnx"
    path.write_bytes(data)
    assert "ONNX" in message(path)


def test_a_file_cut_behind_the_graph(tmp_path: Path) -> None:
    model = small()
    del model.opset_import[:]
    assert "no operator set" in message(save(model, tmp_path / "m.onnx"))


def test_external_data_is_sized_without_being_read(tmp_path: Path) -> None:
    path = save_external(small(), tmp_path / "m.onnx")
    graph = load_graph(path)
    assert graph.parameters == 64 * 64
    assert len(path.read_bytes()) < 1000
    assert load_onnx(path).proto.graph.initializer[0].raw_data == b""


def test_external_shapes_are_read(tmp_path: Path) -> None:
    model = make_model(
        [node("Reshape", ["x", "to"], ["y"])], [tensor("x", 2, 6)], [tensor("y", "?", "?")], [constant("to", [3, 4])]
    )
    assert load_graph(save_external(model, tmp_path / "m.onnx")).tensors[-1].shape == (3, 4)


def test_a_missing_file_of_external_data_is_named_with_its_tensor(tmp_path: Path) -> None:
    path = save_external(small(), tmp_path / "m.onnx")
    (tmp_path / "weights.bin").unlink()
    said = message(path)
    assert "'w'" in said
    assert str(tmp_path / "weights.bin") in said


def test_a_short_file_of_external_data(tmp_path: Path) -> None:
    path = save_external(small(), tmp_path / "m.onnx")
    with (tmp_path / "weights.bin").open("r+b") as file:
        file.truncate(100)
    assert "at least 16384 bytes; got 100 bytes" in message(path)


@pytest.mark.parametrize("location", ["../weights.bin", "/etc/passwd", "a/../../b", ""])
def test_external_data_may_not_leave_the_directory(location: str, tmp_path: Path) -> None:
    model = small()
    (tmp_path / "weights.bin").write_bytes(bytes(16384))
    stored = model.graph.initializer[0]
    stored.ClearField("raw_data")
    stored.data_location = TensorProto.EXTERNAL
    stored.external_data.add(key="location", value=location)
    folder = tmp_path / "in"
    folder.mkdir()
    assert "beside the model" in message(save(model, folder / "m.onnx"))


@pytest.mark.parametrize("key", ["offset", "length"])
def test_impossible_places_in_external_data(key: str, tmp_path: Path) -> None:
    model = small()
    (tmp_path / "weights.bin").write_bytes(bytes(16384))
    stored = model.graph.initializer[0]
    stored.ClearField("raw_data")
    stored.data_location = TensorProto.EXTERNAL
    stored.external_data.add(key="location", value="weights.bin")
    stored.external_data.add(key=key, value="-1")
    assert f"impossible {key}" in message(save(model, tmp_path / "m.onnx"))


def test_weights_without_elements_do_for_planning_only(tmp_path: Path) -> None:
    model = small()
    model.graph.initializer[0].ClearField("raw_data")
    path = save(model, tmp_path / "m.onnx")
    assert load_graph(path).parameters == 64 * 64
    with pytest.raises(ModelError, match=r"'w'.*elements are missing; expected 16384 bytes"):
        load_onnx(path, weights=True)


def test_weights_left_out_of_the_file(tmp_path: Path) -> None:
    model = small()
    del model.graph.initializer[:]
    said = message(save(model, tmp_path / "m.onnx"))
    assert "'w'" in said
    assert "weights are missing" in said


def test_a_cycle(tmp_path: Path) -> None:
    nodes = [
        node("Add", ["x", "c"], ["a"], name="first"),
        node("Relu", ["a"], ["b"], name="second"),
        node("Neg", ["b"], ["c"], name="third"),
        node("Neg", ["c"], ["y"], name="behind"),
    ]
    said = message(save(make_model(nodes, [tensor("x", 2)], [tensor("y", 2)]), tmp_path / "m.onnx"))
    assert "cycle" in said
    assert "'first', 'second', 'third'" in said


def test_no_outputs(tmp_path: Path) -> None:
    model = small()
    del model.graph.output[:]
    assert "no outputs" in message(save(model, tmp_path / "m.onnx"))


def test_an_output_that_nothing_makes(tmp_path: Path) -> None:
    model = small()
    model.graph.output.append(tensor("z", 1))
    assert "output 'z'" in message(save(model, tmp_path / "m.onnx"))


def test_a_tensor_made_twice(tmp_path: Path) -> None:
    model = small()
    model.graph.node.append(node("Neg", ["a"], ["y"]))
    assert "'y' is made twice" in message(save(model, tmp_path / "m.onnx"))


def test_no_operators(tmp_path: Path) -> None:
    model = make_model([], [tensor("x", 1)], [tensor("x", 1)])
    assert "no operators" in message(save(model, tmp_path / "m.onnx"))


def test_symbolic_dimensions_other_than_the_batch_are_named(tmp_path: Path) -> None:
    shape = ("batch", "sequence", 4)
    model = make_model([node("Relu", ["ids"], ["y"])], [tensor("ids", *shape)], [tensor("y", *shape)])
    said = message(save(model, tmp_path / "m.onnx"))
    assert "sequence (input 'ids', dimension 1)" in said


def test_an_input_without_a_shape(tmp_path: Path) -> None:
    model = small()
    model.graph.input[0].type.tensor_type.ClearField("shape")
    assert "input 'x' has no shape" in message(save(model, tmp_path / "m.onnx"))


def test_a_batch_for_a_model_that_has_a_fixed_one(tmp_path: Path) -> None:
    path = save(small(), tmp_path / "m.onnx")
    assert "batch is fixed" in message(path, batch=4)
    assert "impossible batch" in message(path, batch=0)
    assert "batch is fixed" in message("zoo:squeezenet1_1", batch=4)


@pytest.mark.parametrize("opset", [1, 6, onnx.defs.onnx_opset_version() + 1])
def test_operator_sets_that_are_too_old_or_too_new(opset: int, tmp_path: Path) -> None:
    model = small()
    model.opset_import[0].version = opset
    assert f"got opset {opset}" in message(save(model, tmp_path / "m.onnx"))


def test_a_model_without_the_standard_operator_set(tmp_path: Path) -> None:
    model = small()
    del model.opset_import[:]
    model.opset_import.append(helper.make_opsetid("acme", 1))
    assert "which operator set" in message(save(model, tmp_path / "m.onnx"))


def test_shapes_that_depend_on_values_are_named(tmp_path: Path) -> None:
    nodes = [node("NonZero", ["x"], ["where"]), node("Cast", ["where"], ["y"], to=1)]
    model = make_model(nodes, [tensor("x", 4)], [tensor("y", 1, "found")])
    said = message(save(model, tmp_path / "m.onnx"))
    assert "tensor 'where'" in said
    assert "depends on values" in said


def test_an_operator_of_unknown_output(tmp_path: Path) -> None:
    nodes = [node("Strange", ["x"], ["a"], domain="acme"), node("Relu", ["a"], ["y"])]
    model = make_model(nodes, [tensor("x", 4)], [tensor("y", "n")], domains={"acme": 1})
    assert "tensor 'a'" in message(save(model, tmp_path / "m.onnx"))


def test_text_has_no_size(tmp_path: Path) -> None:
    text = TensorProto.STRING
    model = make_model([node("Identity", ["x"], ["y"])], [tensor("x", 4, dtype=text)], [tensor("y", 4, dtype=text)])
    assert "got string" in message(save(model, tmp_path / "m.onnx"))


def test_shapes_that_contradict_each_other(tmp_path: Path) -> None:
    nodes = [node("MatMul", ["x", "w"], ["a"]), node("Relu", ["a"], ["y"])]
    model = make_model(nodes, [tensor("x", 1, 3)], [tensor("y", 1, 4)], [weight("w", 5, 4)])
    assert "tensor 'a'" in message(save(model, tmp_path / "m.onnx"))


def test_an_unknown_zoo_name() -> None:
    assert "squeezenet1_1" in message("zoo:alexnet")
