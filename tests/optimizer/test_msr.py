"""Reading MSR instances, and the known optima."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from optimizer.cost_models.msr import load_msr
from optimizer.errors import CostError
from optimizer.search.max_load import solve_max_load

ROOT = Path(__file__).parents[2]
DATA = ROOT / "benchmarks" / "data" / "msr" / "throughput"


def node(number: int, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "supportedOnFpga": 1,
        "cpuLatency": 10.0,
        "fpgaLatency": 1.0,
        "isBackwardNode": 0,
        "size": 5.0,
        **more,
    }


def instance(**more: Any) -> dict[str, Any]:
    return {
        "maxSizePerFPGA": 100.0,
        "maxFPGAs": 2,
        "maxCPUs": 0,
        "nodes": [node(7), node(8), node(9)],
        "edges": [
            {"sourceId": 7, "destId": 8, "cost": 0.25},
            {"sourceId": 7, "destId": 9, "cost": 0.25},
        ],
        **more,
    }


def write(folder: Path, data: Any) -> Path:
    path = folder / "case.json"
    path.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("layer/bert24_inference", 17.78991),
        ("layer/gnmt_inference", 32.91066),
        ("layer/inceptionv3_inference", 51.55186),
        ("layer/resnet50_inference", 33.77467),
        ("operator/bert_l-3_inference", 27.91857),
        ("operator/resnet50_inference", 124.34885),
    ],
)
def test_known_contiguous_optimum_is_proven(name: str, value: float) -> None:
    problem = load_msr(DATA / f"{name}.json")
    result = solve_max_load(problem, "contiguous")
    assert result.status == "optimal"
    assert result.value_ms == pytest.approx(value, abs=5e-6)
    assert problem.name == name


def test_output_is_paid_once_at_both_ends_and_by_accelerators_only(tmp_path: Path) -> None:
    result = solve_max_load(load_msr(write(tmp_path, instance())), "contiguous")
    assert result.value_ms == 2.25
    cheap = [node(i, cpuLatency=1.0) for i in (7, 8, 9)]
    problem = load_msr(write(tmp_path, instance(maxFPGAs=0, maxCPUs=2, nodes=cheap)))
    assert solve_max_load(problem, "non-contiguous").value_ms == 2.0


def test_optional_fields_may_be_missing(tmp_path: Path) -> None:
    bare = node(1)
    for key in ("size", "isBackwardNode"):
        del bare[key]
    problem = load_msr(write(tmp_path, instance(nodes=[bare], edges=[], maxCPUs=1, maxFPGAs=0)))
    assert (problem.nodes[0].size_bytes, problem.nodes[0].colocation, problem.edges) == (0.0, None, ())
    assert solve_max_load(problem, "contiguous").value_ms == 10.0


def test_node_too_large_for_any_device_is_infeasible(tmp_path: Path) -> None:
    problem = load_msr(write(tmp_path, instance(nodes=[node(7), node(8), node(9, size=101.0)])))
    for plan_class in ("contiguous", "non-contiguous"):
        result = solve_max_load(problem, plan_class)
        assert (result.status, result.value_ms, result.placement) == ("infeasible", None, None)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("{", "no JSON"),
        ([], "expected an object; got list"),
        (instance(nodes=None), "nodes is missing or no list"),
        (instance(nodes=[]), "there are no nodes"),
        (instance(nodes=[3]), r"nodes\[0\] is no object"),
        (instance(nodes=[node(7), node(8), node(7)]), r"nodes\[2\].id is used twice"),
        (instance(nodes=[node(7), node(8), node(9, fpgaLatency=-1)]), r"nodes\[2\].fpgaLatency is out of range"),
        (instance(nodes=[node(7), node(8), node(9, cpuLatency=float("nan"))]), "cpuLatency is out of range"),
        (instance(nodes=[node(7), node(8), node(9, supportedOnFpga="False")]), "supportedOnFpga is missing or no yes"),
        (instance(nodes=[node(7), node(8), node(9, colorClass=1.5)]), "colorClass is no integer"),
        (instance(edges=[{"sourceId": 7, "destId": 1, "cost": 0}]), r"edges\[0\].destId names no node"),
        (instance(edges=[{"sourceId": 7, "destId": 8}]), r"edges\[0\].cost is missing"),
        (
            instance(
                edges=[{"sourceId": 7, "destId": 8, "cost": 1}, {"sourceId": 7, "destId": 9, "cost": 2}],
            ),
            "differs from that of another edge",
        ),
        (
            instance(
                edges=[{"sourceId": 7, "destId": 8, "cost": 1}, {"sourceId": 8, "destId": 7, "cost": 1}],
            ),
            "edges form a cycle; expected an acyclic graph; got 7 -> 8 -> 7",
        ),
        (instance(maxFPGAs=0), "there is no device"),
        (instance(maxFPGAs=-1), "maxFPGAs is out of range"),
        (instance(maxSizePerFPGA="much"), "maxSizePerFPGA is missing or no number"),
    ],
)
def test_bad_file_is_refused_with_its_place(tmp_path: Path, data: Any, said: str) -> None:
    path = write(tmp_path, data)
    with pytest.raises(CostError, match=said) as refused:
        load_msr(path)
    assert refused.value.where == str(path)


def test_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CostError, match="cannot be read"):
        load_msr(tmp_path / "none.json")


def test_benchmark_prints_one_line_an_instance_and_class(tmp_path: Path) -> None:
    path = write(tmp_path, instance())
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.msr", str(path), str(tmp_path / "none.json")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    rows = [json.loads(row) for row in done.stdout.splitlines()]
    assert [(r["class"], r["value"], r["status"]) for r in rows] == [
        ("contiguous", 2.25, "optimal"),
        ("non-contiguous", 2.25, "optimal"),
    ]
    assert {"name", "bound", "gap", "seconds"} <= rows[0].keys()
    assert done.returncode == 2 and "cannot be read" in done.stderr
