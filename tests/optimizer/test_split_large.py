"""Models too large for one protobuf message: a sparse file of 2.4 GB stands for their weights."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto

from optimizer import split_models
from optimizer.errors import PlanError
from optimizer.graph import Graph
from optimizer.onnx_model import load_graph
from optimizer.split import load_bundle
from tests.optimizer.onnx_builders import make_model, node, save, split_over, tensor

WIDTH = 1024
ROWS = 600_000
"""One embedding table of 600,000 x 1,024 floats, 2.46 GB, of which the file system stores nothing."""


def outside(name: str, dims: tuple[int, ...], offset: int) -> TensorProto:
    found = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    length = 4
    for d in dims:
        length *= d
    for key, value in {"location": "weights.bin", "offset": offset, "length": length}.items():
        found.external_data.add(key=key, value=str(value))
    return found


@pytest.fixture
def large(tmp_path: Path) -> Graph:
    nodes = [
        node("Gather", ["table", "ids"], ["a"], name="embed"),
        node("Relu", ["a"], ["b"], name="relu"),
        node("MatMul", ["b", "w"], ["y"], name="project"),
    ]
    table = ROWS * WIDTH * 4
    weights = [outside("table", (ROWS, WIDTH), 0), outside("w", (WIDTH, 8), table)]
    model = make_model(nodes, [tensor("ids", 1, 4, dtype=TensorProto.INT64)], [tensor("y", 1, 4, 8)], weights)
    folder = tmp_path / "model"
    folder.mkdir()
    with (folder / "weights.bin").open("wb") as file:
        file.truncate(table + WIDTH * 8 * 4)
        # Something else than zeros where the test looks.
        file.seek(0)
        file.write(os.urandom(2 * WIDTH * 4).replace(b"\x7f", b"\x3f").replace(b"\xff", b"\x3f"))
        file.seek(table)
        file.write(b"\x00\x00\x80\x3f" * 8 * WIDTH)
    return load_graph(save(model, folder / "large.onnx"))


def test_loading_sizes_the_weights_only(large: Graph) -> None:
    assert large.parameters == ROWS * WIDTH + WIDTH * 8
    assert large.parameters_bytes > 2**31


def test_splitting_links_instead_of_copying(large: Graph, tmp_path: Path) -> None:
    bundle = split_over(large, [0, 0, 1], tmp_path / "bundle", verify=False)
    assert all(s.size_bytes < 1000 for s in bundle.segments)
    linked = tmp_path / "bundle" / "segments" / "data" / "weights.bin"
    assert linked.samefile(Path(large.source).parent / "weights.bin")
    assert [d.file for s in bundle.segments for d in s.data] == ["segments/data/weights.bin"] * 2
    assert load_bundle(tmp_path / "bundle") == bundle
    first = onnx.load(tmp_path / "bundle" / "segments" / "s0.onnx", load_external_data=False)
    assert [t.name for t in first.graph.initializer] == ["table"]


def test_linked_submodels_run_and_are_checked(large: Graph, tmp_path: Path) -> None:
    bundle = split_over(large, [0, 0, 1], tmp_path / "bundle")
    assert bundle.verification.bit_exact
    session = ort.InferenceSession(str(tmp_path / "bundle" / "segments" / "s1.onnx"))
    assert [i.name for i in session.get_inputs()] == ["b"]


def test_a_symbolic_link_will_do_only_where_onnx_runtime_follows_it(
    large: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    with monkeypatch.context() as patch:
        patch.setattr(split_models, "_runtime_follows", lambda data: True)
        bundle = split_over(large, [0, 0, 1], tmp_path / "bundle", verify=False)
    linked = bundle.directory / "segments" / "data" / "weights.bin"
    assert linked.is_symlink()
    assert sorted(p.name for p in linked.parent.iterdir()) == ["weights.bin"]
    if split_models._runtime_follows(linked):
        assert split_over(large, [0, 0, 1], tmp_path / "bundle").verification.bit_exact
    else:
        with pytest.raises(PlanError, match=r"does not follow a symbolic link.*Invalid cross-device link"):
            split_over(large, [0, 0, 1], tmp_path / "bundle", verify=False)


def test_a_file_system_that_allows_no_link_is_reported(
    large: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr(Path, "symlink_to", refuse)
    with pytest.raises(PlanError, match=r"cannot link.*Operation not permitted.*file system that holds the model"):
        split_over(large, [0, 0, 1], tmp_path / "bundle", verify=False)
    assert not (tmp_path / "bundle").exists()
