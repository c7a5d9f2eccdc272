"""Costs that somebody else made."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from boards.board import System
from boards.catalog import load_system
from optimizer.cost_models.base import CostModel
from optimizer.cost_models.imported import LayerColumns, import_costs
from optimizer.cost_models.roofline import roofline_costs
from optimizer.costs import merge_costs, missing_rows, require_rows
from optimizer.costs_io import save_costs
from optimizer.errors import CostError
from optimizer.graph import Graph
from optimizer.onnx_model import load_graph

DATA = Path(__file__).parents[2] / "benchmarks" / "data" / "cnnparted"
HEADER = "No.;Layer;Latency [ms];Energy [mJ]"
FIRST, SECOND = "/features/features.0/Conv", "/features/features.3/squeeze/Conv"


@pytest.fixture(scope="module")
def graph() -> Graph:
    return load_graph("zoo:squeezenet1_1")


@pytest.fixture(scope="module")
def system() -> System:
    return load_system("eyeriss-simba")


def write(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "layers.csv"
    path.write_text("\r\n".join([header, *rows]) + "\r\n")
    return path


def test_the_ancestors_rows_are_read_exactly_and_others_cost_nothing(graph: Graph, system: System):
    path = DATA / "squeezenet1_1_eyeriss_like_tl_layers.csv"
    costs = import_costs(path, graph, system, processor="eyeriss/array")
    row = costs.operators[FIRST, "eyeriss/array", "fp16"]
    assert row.time_s == 1.1492099999999998e-3
    assert row.energy_j == pytest.approx(0.24811649260052002e-3, rel=1e-15)
    assert row.provenance == "import: squeezenet1_1_eyeriss_like_tl_layers.csv:2"
    free = [key for key, cost in costs.operators.items() if cost.time_s == 0]
    assert len(costs.operators) == len(graph.operators)
    assert len(costs.operators) - len(free) == 26
    assert all("no row" in costs.operators[key].provenance for key in free)
    assert costs.model_sha256 == graph.sha256


@pytest.mark.parametrize("path", sorted(DATA.glob("*.csv")), ids=lambda p: p.name)
def test_all_of_the_ancestors_layers_are_operators_of_our_zoo(path: Path, system: System):
    model = path.name.split("_eyeriss")[0].split("_simba")[0]
    graph = load_graph(f"zoo:{model}")
    key = "simba/array" if "simba" in path.name else "eyeriss/array"
    costs = import_costs(path, graph, system, processor=key)
    rows = path.read_text().splitlines()[1:]
    total_ms = sum(float(row.split(";")[2]) for row in rows)
    assert sum(c.time_s for c in costs.operators.values()) == pytest.approx(total_ms / 1e3)


def test_layer_files_of_two_processors_make_a_whole_table(graph: Graph, system: System):
    parts = [
        import_costs(DATA / f"squeezenet1_1_{kind}_like_tl_layers.csv", graph, system, processor=f"{kind}/array")
        for kind in ("eyeriss", "simba")
    ]
    require_rows(merge_costs(*parts), graph, system)
    assert missing_rows(parts[0], graph, system)


def test_other_columns_units_and_separators_may_be_named(tmp_path: Path, graph: Graph, system: System):
    path = write(tmp_path, f"{FIRST},7,5", header="name,t [us],e [nJ]")
    columns = LayerColumns("name", "t [us]", "e [nJ]")
    costs = import_costs(path, graph, system, processor="simba/array", columns=columns, precision="int8")
    row = costs.operators[FIRST, "simba/array", "int8"]
    assert (row.time_s, row.energy_j) == (7e-6, 5e-9)


@pytest.mark.parametrize(
    ("rows", "line", "words"),
    [
        ([f"1;{FIRST};nan;1"], 2, "not a finite number"),
        ([f"1;{FIRST};1;1", f"2;{SECOND};-1;1"], 3, "negative"),
        ([f"1;{FIRST};;1"], 2, "number is missing"),
        ([f"1;{FIRST};1"], 2, "number is missing"),
        ([f"1;{FIRST};1;1", f"2;{FIRST};1;1"], 3, "stands twice"),
        (["1;/features/features.0/Conf;1;1"], 2, f"Did you mean '{FIRST}'?"),
    ],
)
def test_a_bad_row_is_refused_with_its_line(tmp_path, graph, system, rows, line, words):
    with pytest.raises(CostError) as caught:
        import_costs(write(tmp_path, *rows), graph, system, processor="simba/array")
    assert f"layers.csv:{line}" in caught.value.where
    assert words in str(caught.value)
    assert caught.value.expected and caught.value.got


@pytest.mark.parametrize(
    ("header", "words"),
    [
        ("No.;Layer;Latency [ms]", "column 'Energy [mJ]' is missing"),
        ("No.;Layer;Latency [s];Energy [mJ]", "Did you mean 'Latency [s]'?"),
        ("", "an empty file"),
    ],
)
def test_missing_columns_are_named(tmp_path, graph, system, header, words):
    with pytest.raises(CostError) as caught:
        import_costs(write(tmp_path, header=header), graph, system, processor="simba/array")
    assert words in str(caught.value)


def test_a_column_without_a_known_unit_is_refused(tmp_path, graph, system):
    columns = LayerColumns("Layer", "Latency [cycles]", "Energy [mJ]")
    path = write(tmp_path, header="Layer;Latency [cycles];Energy [mJ]")
    with pytest.raises(CostError, match="no unit of time"):
        import_costs(path, graph, system, processor="simba/array", columns=columns)


@pytest.mark.parametrize(("processor", "words"), [(None, "must be said"), ("simba/arry", "simba/array")])
def test_the_processor_must_be_one_of_the_system(tmp_path, graph, system, processor, words):
    with pytest.raises(CostError) as caught:
        import_costs(write(tmp_path, f"1;{FIRST};1;1"), graph, system, processor=processor)
    assert words in str(caught.value)
    assert "eyeriss/array, simba/array" in caught.value.expected


def test_missing_rows_may_be_refused_by_name(tmp_path, graph, system):
    path = write(tmp_path, f"1;{FIRST};1;1")
    with pytest.raises(CostError, match="rows are missing") as caught:
        import_costs(path, graph, system, processor="simba/array", missing="refuse")
    assert graph.operators[1].name in caught.value.what
    assert f"and {len(graph.operators) - 6} more" in caught.value.what


def test_tables_of_ours_are_taken_as_they_are_if_nothing_is_missing(tmp_path, graph, system):
    whole = roofline_costs(graph, system)
    save_costs(whole, tmp_path / "costs.json")
    model: CostModel = partial(import_costs, tmp_path / "costs.json")
    assert model(graph, system) == whole
    with pytest.raises(CostError, match="rows are missing"):
        import_costs(tmp_path / "costs.json", graph, load_system("demo"))


def test_our_csv_form_is_recognised_by_its_header(tmp_path, graph, system):
    path = tmp_path / "costs.csv"
    path.write_text("operator,processor,precision,time_s,energy_j\n/conv,simba/array,int8,1,1\n")
    with pytest.raises(CostError, match="rows are missing"):
        import_costs(path, graph, system)
