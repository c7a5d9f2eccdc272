"""Bundles: their content, how they appear on disk, and what is refused."""

from __future__ import annotations

import errno
import hashlib
import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from optimizer.errors import InternalError, ModelError, PlanError
from optimizer.graph import Graph
from optimizer.onnx_model import load_graph, load_onnx
from optimizer.plan import Plan, Segment
from optimizer.split import load_bundle, split
from optimizer.split_manifest import manifest_json
from tests.optimizer.onnx_builders import (
    line_of_boards,
    make_body,
    make_model,
    make_plan,
    node,
    save,
    split_over,
    tensor,
    weight,
)


def skip_model() -> ModelProto:
    """``a`` skips from the first board over the second to the third; both convolutions share a weight."""
    nodes = [
        node("Conv", ["x", "w"], ["a"], name="c0"),
        node("Relu", ["a"], ["b"], name="r1"),
        node("Conv", ["b", "w"], ["c"], name="c2"),
        node("Add", ["a", "c"], ["y"], name="a3"),
    ]
    shape = (1, 4, 5, 5)
    return make_model(nodes, [tensor("x", *shape)], [tensor("y", *shape)], [weight("w", 4, 4, 1, 1)])


@pytest.fixture
def skip_graph(tmp_path: Path) -> Graph:
    return load_graph(save(skip_model(), tmp_path / "skip.onnx"))


def test_a_skip_tensor_is_sent_once_and_relayed(skip_graph: Graph, tmp_path: Path) -> None:
    bundle = split_over(skip_graph, [0, 1, 2, 2], tmp_path / "bundle")
    manifest = json.loads((tmp_path / "bundle" / "manifest.json").read_text())
    assert manifest["schema"] == "edgecut/bundle/1"
    skip = next(t for t in manifest["tensors"] if t["name"] == "a")
    assert skip["producer"] == "s0"
    assert skip["consumers"] == ["s1", "s2"]
    assert skip["hops"] == [
        {"link": "b0->b1", "from": "b0", "to": "b1"},
        {"link": "b1->b2", "from": "b1", "to": "b2"},
    ]
    assert skip["boards"] == ["b0", "b1", "b2"]
    assert (skip["dtype"], skip["shape"], skip["size_bytes"]) == ("float32", [1, 4, 5, 5], 400)
    assert [t["name"] for t in manifest["tensors"]] == ["x", "a", "b", "y"]
    assert manifest["inputs"] == [0]
    assert manifest["outputs"] == [3]
    assert [(s["inputs"], s["outputs"]) for s in manifest["segments"]] == [([0], [1]), ([1], [2]), ([1, 2], [3])]
    assert manifest["boards"] == ["b0", "b1", "b2"]
    assert manifest["orders"] == {f"b{i}/cpu": [{"activity": f"segment:s{i}", "stage": i}] for i in range(3)}
    assert manifest["verification"] == {
        "checked": True,
        "ort_level": "extended",
        "bit_exact": True,
        "max_abs": 0.0,
        "ort_level_all_max_relative": bundle.verification.ort_level_all_max_relative,
        "runs": 2,
    }
    assert bundle.verification.ort_level_all_max_relative <= 1e-5
    assert manifest["power"]["b0/cpu"] == {"active_power_w": 2.0, "idle_power_w": 0.5}
    assert manifest["prediction"]["latency_s"] == 2.0


def test_submodels_are_complete_models_with_typed_ends(skip_graph: Graph, tmp_path: Path) -> None:
    bundle = split_over(skip_graph, [0, 1, 2, 2], tmp_path / "bundle")
    for segment in bundle.segments:
        path = bundle.directory / segment.file
        assert hashlib.sha256(path.read_bytes()).hexdigest() == segment.sha256
        assert path.stat().st_size == segment.size_bytes
        model = onnx.load(path)
        onnx.checker.check_model(model, full_check=True)
        names = [bundle.tensors[i].name for i in segment.inputs]
        assert [v.name for v in model.graph.input] == names
        dims = [[d.dim_value for d in v.type.tensor_type.shape.dim] for v in model.graph.input]
        assert dims == [list(bundle.tensors[i].shape) for i in segment.inputs]
        assert [v.name for v in model.graph.output] == [bundle.tensors[i].name for i in segment.outputs]
        assert model.opset_import[0].version == 17
        assert model.ir_version == 8
    weights = [len(onnx.load(bundle.directory / s.file).graph.initializer) for s in bundle.segments]
    assert weights == [1, 0, 1]  # the shared weight where it is needed


def test_a_bundle_reads_back(skip_graph: Graph, tmp_path: Path) -> None:
    bundle = split_over(skip_graph, [0, 1, 1, 2], tmp_path / "bundle")
    assert load_bundle(tmp_path / "bundle") == bundle
    assert manifest_json(bundle) == json.loads((tmp_path / "bundle" / "manifest.json").read_text())


def test_one_board_does_it_all(skip_graph: Graph, tmp_path: Path) -> None:
    bundle = split_over(skip_graph, [0, 0, 0, 0], tmp_path / "bundle")
    assert [t.name for t in bundle.tensors] == ["x", "y"]
    assert bundle.boards == ("b0",)


def test_segments_need_not_be_neighbours(skip_graph: Graph, tmp_path: Path) -> None:
    """A processor may have several segments as long as they do not wait for each other."""
    system = line_of_boards(2)
    plan = make_plan(skip_graph, system, [0, 1, 0, 0])
    first, second = plan.segments
    segments = (replace(first, operators=(0,)), second, Segment("s2", "b0/cpu", "fp32", (2, 3)))
    transfers = make_plan(skip_graph, line_of_boards(3), [0, 1, 2, 2]).transfers
    model = load_onnx(skip_graph.source)
    bundle = split(
        skip_graph, model, replace(plan, segments=segments, transfers=transfers), line_of_boards(3), tmp_path / "b"
    )
    assert bundle.verification.bit_exact


def test_a_zoo_model_gets_its_weights(tmp_path: Path) -> None:
    graph = load_graph("zoo:squeezenet1_1")
    n = len(graph.operators)
    board_of = [0] * (n // 3) + [1] * (n // 3) + [2] * (n - 2 * (n // 3))
    steps: list[str] = []
    system = line_of_boards(3)
    plan = make_plan(graph, system, board_of)
    bundle = split(graph, load_onnx(graph.source), plan, system, tmp_path / "b", progress=steps.append)
    assert bundle.verification.bit_exact
    assert bundle.verification.ort_level == "extended"
    assert sum(s.size_bytes for s in bundle.segments) > 4 * graph.parameters
    assert len(steps) == 5
    assert not list(tmp_path.glob("**/whole.onnx"))


def test_external_data_that_fits_is_embedded(tmp_path: Path) -> None:
    """Weights, a Constant node and the weight of a branch all lie outside; sub-models stand alone."""
    branch = make_body("then", [node("Add", ["a", "inner"], ["t"])], [tensor("t", 4)], [weight("inner", 4)])
    other = make_body("else", [node("Neg", ["a"], ["e"])], [tensor("e", 4)])
    nodes = [
        node("Constant", [], ["k"], value=weight("k", 4, seed=1)),
        node("Add", ["x", "k"], ["a"]),
        node("If", ["c"], ["b"], then_branch=branch, else_branch=other),
        node("Mul", ["b", "w"], ["y"]),
    ]
    inputs = [tensor("x", 4), tensor("c", dtype=TensorProto.BOOL)]
    model = make_model(nodes, inputs, [tensor("y", 4)], [weight("w", 4, seed=2)])
    path = tmp_path / "m.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w", size_threshold=0, convert_attribute=True)
    graph = load_graph(path)
    assert graph.parameters == 12
    bundle = split_over(graph, [0, 1, 2], tmp_path / "bundle")
    assert bundle.verification.bit_exact
    assert sorted(p.name for p in (bundle.directory / "segments").iterdir()) == ["s0.onnx", "s1.onnx", "s2.onnx"]
    assert all(not s.data for s in bundle.segments)


def test_an_unchecked_bundle_says_so(skip_graph: Graph, tmp_path: Path) -> None:
    bundle = split_over(skip_graph, [0, 0, 1, 1], tmp_path / "bundle", verify=False)
    assert not bundle.verification.checked
    assert not bundle.verification.bit_exact


def test_batch_normalisation_behind_a_cut_is_exact_without_fusion(tmp_path: Path) -> None:
    """ONNX Runtime folds it into the convolution at level BASIC, which no split model can repeat."""
    nodes = [node("Conv", ["x", "w"], ["a"]), node("BatchNormalization", ["a", "s", "b", "m", "v"], ["y"])]
    weights = [weight("w", 4, 4, 3, 3), *(weight(name, 4, seed=i) for i, name in enumerate("sbm"))]
    weights.append(onnx.numpy_helper.from_array(abs(onnx.numpy_helper.to_array(weight("v", 4))), "v"))
    shape = (1, 4, 9, 9)
    model = make_model(nodes, [tensor("x", *shape)], [tensor("y", 1, 4, 7, 7)], weights)
    graph = load_graph(save(model, tmp_path / "m.onnx"))
    check = split_over(graph, [0, 1], tmp_path / "bundle").verification
    assert check.bit_exact
    assert check.ort_level == "disable_all"
    assert check.ort_level_all_max_relative <= 1e-5


def test_a_model_that_draws_random_numbers_cannot_be_checked(tmp_path: Path) -> None:
    nodes = [
        node("Relu", ["x"], ["p"]),
        node("RandomNormalLike", ["p"], ["a"], name="noise"),
        node("Add", ["a", "x"], ["y"]),
    ]
    model = make_model(nodes, [tensor("x", 64)], [tensor("y", 64)])
    graph = load_graph(save(model, tmp_path / "m.onnx"))
    with pytest.raises(ModelError, match=r"'y' depends on random numbers.*noise.*--no-verify"):
        split_over(graph, [0, 1, 1], tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()
    assert split_over(graph, [0, 1, 1], tmp_path / "bundle", verify=False).segments


def test_operators_that_onnx_runtime_lacks_are_reported(tmp_path: Path) -> None:
    nodes = [node("Strange", ["x"], ["a"], domain="acme"), node("Relu", ["a"], ["y"])]
    model = make_model(nodes, [tensor("x", 4)], [tensor("y", 4)], domains={"acme": 1}, value_info=[tensor("a", 4)])
    graph = load_graph(save(model, tmp_path / "m.onnx"))
    with pytest.raises(ModelError, match=r"cannot run the model.*Strange.*--no-verify"):
        split_over(graph, [0, 1], tmp_path / "bundle")
    bundle = split_over(graph, [0, 1], tmp_path / "bundle", verify=False)
    first = onnx.load(bundle.directory / bundle.segments[0].file)
    assert helper.make_opsetid("acme", 1) in first.opset_import


def test_a_wrong_submodel_is_found(skip_graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import optimizer.split as module

    build = module.build_submodel

    def broken(*arguments: object) -> object:
        built = build(*arguments)  # type: ignore[arg-type]
        for found in built.proto.graph.node:
            if found.op_type == "Relu":
                found.op_type = "Sigmoid"
        return built

    monkeypatch.setattr(module, "build_submodel", broken)
    with pytest.raises(InternalError, match=r"output 'y' differs by \d.* at ONNX Runtime level extended"):
        split_over(skip_graph, [0, 1, 2, 2], tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == [tmp_path / "skip.onnx"]


def test_an_older_bundle_is_replaced_and_an_empty_directory_filled(skip_graph: Graph, tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    target.mkdir()
    split_over(skip_graph, [0, 1, 2, 2], target, verify=False)
    split_over(skip_graph, [0, 0, 1, 1], target, verify=False)
    assert len(load_bundle(target).segments) == 2
    assert sorted(p.name for p in target.glob("**/*")) == ["manifest.json", "s0.onnx", "s1.onnx", "segments"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "skip.onnx"]


def test_what_is_no_bundle_is_left_alone(skip_graph: Graph, tmp_path: Path) -> None:
    target = tmp_path / "papers"
    target.mkdir()
    (target / "thesis.tex").write_text("dear to me")
    with pytest.raises(PlanError, match="a directory with other files"):
        split_over(skip_graph, [0, 1, 2, 2], target, verify=False)
    with pytest.raises(PlanError, match="got a file"):
        split_over(skip_graph, [0, 1, 2, 2], target / "thesis.tex", verify=False)
    assert [p.name for p in target.iterdir()] == ["thesis.tex"]


def test_a_full_disk_leaves_nothing_behind(skip_graph: Graph, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = Path.write_bytes

    def full(path: Path, data: bytes) -> int:
        if path.name == "s1.onnx":
            write(path, data[:10])
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write(path, data)

    target = tmp_path / "bundle"
    split_over(skip_graph, [0, 1, 1, 1], target, verify=False)
    before = load_bundle(target)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(PlanError, match=r"disk is full; nothing was written.*No space left") as caught:
            split_over(skip_graph, [0, 0, 1, 1], target, verify=False)
    assert str(target) in str(caught.value)
    assert load_bundle(target) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "skip.onnx"]


def test_a_place_that_cannot_be_made(skip_graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="cannot write the bundle"):
        split_over(skip_graph, [0, 1, 2, 2], tmp_path / "skip.onnx" / "bundle", verify=False)


def _split(graph: Graph, plan: Plan, folder: Path) -> None:
    split(graph, load_onnx(graph.source), plan, line_of_boards(3), folder / "bundle", verify=False)


def test_plans_that_do_not_fit_are_refused(skip_graph: Graph, tmp_path: Path) -> None:
    plan = make_plan(skip_graph, line_of_boards(3), [0, 1, 2, 2])
    first, second, third = plan.segments
    with pytest.raises(PlanError, match="first without a place is 'a3'"):
        _split(skip_graph, replace(plan, segments=(first, second, replace(third, operators=(2,)))), tmp_path)
    with pytest.raises(PlanError, match="placed twice"):
        _split(skip_graph, replace(plan, segments=(first, second, replace(third, operators=(1, 2, 3)))), tmp_path)
    with pytest.raises(PlanError, match=r"tensor 'b'; expected a transfer from s1 to s2; got no transfer"):
        _split(skip_graph, replace(plan, transfers=(*plan.transfers[:2], plan.transfers[3])), tmp_path)
    wrong = replace(plan.transfers[1], consumers=("s2",))
    with pytest.raises(PlanError, match=r"tensor 'a'; expected a transfer from s0 to s1, s2; got .* to s2"):
        _split(skip_graph, replace(plan, transfers=(plan.transfers[0], wrong, *plan.transfers[2:])), tmp_path)
    assert not (tmp_path / "bundle").exists()


def test_segments_that_wait_for_each_other_are_refused(skip_graph: Graph, tmp_path: Path) -> None:
    plan = make_plan(skip_graph, line_of_boards(2), [0, 1, 0, 0])
    with pytest.raises(PlanError, match=r"segments wait for each other.*s0, s1"):
        _split(skip_graph, plan, tmp_path)


def test_a_model_that_changed_since_the_plan_is_refused(skip_graph: Graph, tmp_path: Path) -> None:
    changed = skip_model()
    changed.doc_string = "changed"
    save(changed, Path(skip_graph.source))
    with pytest.raises(PlanError, match="has changed since the plan was made"):
        split_over(skip_graph, [0, 1, 2, 2], tmp_path / "bundle")


def test_a_damaged_bundle_is_refused(skip_graph: Graph, tmp_path: Path) -> None:
    target = tmp_path / "bundle"
    split_over(skip_graph, [0, 1, 2, 2], target, verify=False)
    segment = target / "segments" / "s1.onnx"
    whole = segment.read_bytes()
    segment.write_bytes(whole[:-1] + b"?")
    with pytest.raises(PlanError, match="segment 's1' is not the one that was written"):
        load_bundle(target)
    segment.unlink()
    with pytest.raises(PlanError, match="cannot read the bundle"):
        load_bundle(target)
    (target / "manifest.json").write_text('{"schema": "edgecut/bundle/9"}')
    with pytest.raises(PlanError, match="not a bundle manifest"):
        load_bundle(target)
    with pytest.raises(PlanError, match="cannot read the bundle"):
        load_bundle(tmp_path / "nowhere")
