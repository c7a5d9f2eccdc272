"""Cost tables as files."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from optimizer.costs import BoundaryCost, CostTable, LinkCost, OperatorCost
from optimizer.costs_io import COLUMNS, costs_from_dict, costs_to_dict, load_costs, save_costs
from optimizer.errors import CostError, InputError

amounts = st.floats(0, allow_infinity=False, allow_nan=False)
words = st.text(min_size=1)
keys = st.sampled_from(["left/cpu", "right/gpu", "a/b"])
tables = st.builds(
    CostTable,
    operators=st.dictionaries(
        st.tuples(words, keys, st.sampled_from(["fp32", "fp16", "int8"])),
        st.builds(OperatorCost, amounts, amounts, words),
    ),
    boundaries=st.dictionaries(keys, st.builds(BoundaryCost, amounts, amounts, words)),
    links=st.dictionaries(
        words,
        st.builds(LinkCost, st.floats(5e-324, 1e300), amounts, amounts, amounts, amounts, words),
    ),
    model_sha256=st.none() | words,
)
TABLE = CostTable(
    {
        ("/conv/Conv", "left/cpu", "fp32"): OperatorCost(1e-3, 2e-3, "profile: left"),
        ("/fc/Gemm", "left/cpu", "fp32"): OperatorCost(0.1, 0.2, "import: a.csv:2"),
    },
    {"left/cpu": BoundaryCost(1e-9, 1e-4, "profile: left")},
    {"left->right": LinkCost(1e7, 1e-4, 0.0, 1e-9, 1e-9, "profile: left->right")},
    "0123",
)


@given(table=tables)
def test_a_table_survives_its_dict_form_exactly(table: CostTable):
    assert costs_from_dict(json.loads(json.dumps(costs_to_dict(table)))) == table


def test_a_table_survives_its_file_exactly(tmp_path: Path):
    path = tmp_path / "costs.json"
    save_costs(TABLE, path)
    assert load_costs(path) == TABLE
    assert json.loads(path.read_text())["schema"] == "edgecut/costs/1"
    assert [p.name for p in tmp_path.iterdir()] == ["costs.json"]


def test_saving_replaces_whole_and_leaves_the_old_file_when_it_fails(tmp_path: Path, monkeypatch):
    path = tmp_path / "costs.json"
    path.write_text("old")

    def full_disk(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(InputError, match="No space left on device") as caught:
        save_costs(TABLE, path)
    assert caught.value.where == str(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["costs.json"]


def test_a_folder_that_is_not_there_is_named(tmp_path: Path):
    with pytest.raises(InputError, match="No such file or directory"):
        save_costs(TABLE, tmp_path / "none" / "costs.json")


def damaged(path: tuple[str | int, ...], value: object) -> dict[str, object]:
    data = copy.deepcopy(costs_to_dict(TABLE))
    node = data
    for step in path[:-1]:
        node = node[step]  # type: ignore[index]
    node[path[-1]] = value  # type: ignore[index]
    return data


@pytest.mark.parametrize(
    ("path", "value", "where", "got"),
    [
        (("operators", 1, "time_s"), float("nan"), "c: operators[1].time_s", "nan"),
        (("operators", 1, "time_s"), float("inf"), "c: operators[1].time_s", "inf"),
        (("operators", 0, "energy_j"), -1.0, "c: operators[0].energy_j", "-1.0"),
        (("operators", 0, "energy_j"), "1", "c: operators[0].energy_j", "'1'"),
        (("operators", 0, "energy_j"), True, "c: operators[0].energy_j", "True"),
        (("operators", 0, "energy_j"), None, "c: operators[0].energy_j", "None"),
        (("operators", 0, "operator"), "", "c: operators[0].operator", "''"),
        (("operators", 0, "processor"), "left", "c: operators[0].processor", "'left'"),
        (("operators", 0, "precision"), "fp64", "c: operators[0].precision", "'fp64'"),
        (("operators", 0), 3, "c: operators[0]", "int"),
        (("operators",), {}, "c", "dict"),
        (("operators", 1, "operator"), "/conv/Conv", "c: operators[1]", "a first one at c: operators[0]"),
        (("operators", 1, "time"), 1.0, "c: operators[1]", "time"),
        (("boundaries", 0, "segment_s"), float("nan"), "c: boundaries[0].segment_s", "nan"),
        (("links", 0, "bandwidth_bytes_per_s"), 0, "c: links[0].bandwidth_bytes_per_s", "0"),
        (("links", 0, "setup_s"), -1, "c: links[0].setup_s", "-1"),
        (("model_sha256",), 7, "c", "7"),
        (("schema",), "edgecut/costs/2", "c", "'edgecut/costs/2'"),
        (("opertors",), [], "c", "opertors"),
    ],
)
def test_a_damaged_table_is_refused_with_position_expected_and_got(path, value, where, got):
    with pytest.raises(CostError) as caught:
        costs_from_dict(damaged(path, value), "c")
    error = caught.value
    assert (error.where, error.got) == (where, got)
    assert error.expected


@pytest.mark.parametrize("key", ["operator", "processor", "precision", "time_s", "energy_j", "provenance"])
def test_a_row_without_a_key_is_refused(key: str):
    data = costs_to_dict(TABLE)
    del data["operators"][1][key]
    with pytest.raises(CostError, match=f"operators\\[1\\]: key '{key}' is missing"):
        costs_from_dict(data, "c")


def test_a_table_without_operators_is_refused_but_other_parts_may_be_left_out():
    with pytest.raises(CostError, match="'operators' is missing"):
        costs_from_dict({"schema": "edgecut/costs/1"})
    assert costs_from_dict({"schema": "edgecut/costs/1", "operators": []}) == CostTable({})


@pytest.mark.parametrize("text", ["", "{", "[1, 2]", "null", "[" * 100_000, '"x"'])
def test_what_is_no_table_is_refused(tmp_path: Path, text: str):
    path = tmp_path / "costs.json"
    path.write_text(text)
    with pytest.raises(CostError) as caught:
        load_costs(path)
    assert str(path) in str(caught.value)
    assert "edgecut/costs/1" in caught.value.expected


def test_nan_in_a_file_is_refused_with_its_position(tmp_path: Path):
    path = tmp_path / "costs.json"
    path.write_text(json.dumps(damaged(("operators", 1, "time_s"), float("nan"))))
    with pytest.raises(CostError, match=r"operators\[1\]\.time_s"):
        load_costs(path)


def test_a_missing_or_binary_file_is_refused(tmp_path: Path):
    with pytest.raises(CostError, match="No such file"):
        load_costs(tmp_path / "none.json")
    (tmp_path / "x.json").write_bytes(b"\xff\xfe")
    with pytest.raises(CostError, match="not a text file"):
        load_costs(tmp_path / "x.json")


def write_csv(tmp_path: Path, *rows: str, header: str = ",".join(COLUMNS)) -> Path:
    path = tmp_path / "costs.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_csv_rows_become_a_table_that_knows_their_lines(tmp_path: Path):
    path = write_csv(tmp_path, "/conv/Conv,left/cpu,fp32,1e-3,0.002", '"/a,b/Conv",left/cpu,int8,0,0')
    assert load_costs(path) == CostTable(
        {
            ("/conv/Conv", "left/cpu", "fp32"): OperatorCost(1e-3, 2e-3, "import: costs.csv:2"),
            ("/a,b/Conv", "left/cpu", "int8"): OperatorCost(0.0, 0.0, "import: costs.csv:3"),
        }
    )


def test_csv_may_bring_its_own_provenance(tmp_path: Path):
    path = write_csv(tmp_path, "x,left/cpu,fp32,1,2,bench A", header=",".join([*COLUMNS, "provenance"]))
    assert [c.provenance for c in load_costs(path).operators.values()] == ["bench A"]


@pytest.mark.parametrize(
    ("row", "place", "got"),
    [
        ("x,left/cpu,fp32,nan,2", "costs.csv:3.time_s", "nan"),
        ("x,left/cpu,fp32,1,-2", "costs.csv:3.energy_j", "-2.0"),
        ("x,left/cpu,fp32,fast,2", "costs.csv:3.time_s", "'fast'"),
        ("x,left,fp32,1,2", "costs.csv:3.processor", "'left'"),
        ("x,left/cpu,fp8,1,2", "costs.csv:3.precision", "'fp8'"),
        ("x,left/cpu,fp32,1", "costs.csv:3", "4"),
        ("x,left/cpu,fp32,1,2,3,4", "costs.csv:3", "7"),
        ("ok,left/cpu,fp32,1,2", "costs.csv:3", "costs.csv:2"),
    ],
)
def test_a_bad_csv_row_is_refused_with_its_line(tmp_path: Path, row: str, place: str, got: str):
    with pytest.raises(CostError) as caught:
        load_costs(write_csv(tmp_path, "ok,left/cpu,fp32,1,2", row))
    assert caught.value.where.endswith(place)
    assert got in caught.value.got
    assert caught.value.expected


def test_a_csv_of_other_columns_is_refused(tmp_path: Path):
    with pytest.raises(CostError, match="operator,processor,precision,time_s,energy_j"):
        load_costs(write_csv(tmp_path, "1", header="No.;Layer"))
