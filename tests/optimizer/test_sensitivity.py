"""Sensitivity tables: what can be read, what is refused, and the loss of a plan."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from optimizer.errors import CostError
from optimizer.search.pool import Pool
from optimizer.sensitivity import Sensitivity, load_sensitivity, loss_table, sensitivity_from_rows, sensitivity_to_rows
from tests.optimizer.precision_samples import mixed_problem

CSV = "operator,precision,loss\nop0,int8,0.5\n*,int8,0.25\n\n"


def test_csv_and_json_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    table = load_sensitivity(tmp_path / "a.csv")
    (tmp_path / "a.json").write_text(json.dumps(sensitivity_to_rows(table)))
    assert load_sensitivity(tmp_path / "a.json") == table
    assert table.loss("op0", "int8") == 0.5
    assert table.loss("op1", "int8") == 0.25
    assert table.loss("op1", "fp32") == 0.0
    assert table.loss("op1", "fp16") is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not a sensitivity table"),
        ("operator,loss\nop0,1\n", "not a sensitivity table"),
        ("operator,precision,loss\nop0,int8\n", "another length"),
        ("operator,precision,loss\nop0,int8,much\n", "not a number"),
        ("operator,precision,loss\nop0,int8,-1\n", "zero or more"),
        ("operator,precision,loss\nop0,int8,nan\n", "zero or more"),
        ("operator,precision,loss\nop0,int4,1\n", "unknown precision"),
        ("operator,precision,loss\n,int8,1\n", "operator is not usable"),
        ("operator,precision,loss\nop0,int8,1\nop0,int8,2\n", "second row"),
    ],
)
def test_bad_csv_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "losses.csv"
    path.write_text(text)
    with pytest.raises(CostError, match=said) as caught:
        load_sensitivity(path)
    assert "losses.csv" in str(caught.value)


@pytest.mark.parametrize(
    "data", [{}, [1], [{"operator": "op0"}], [{"operator": "op0", "precision": "int8", "loss": True}]]
)
def test_bad_json_is_refused(data: object) -> None:
    with pytest.raises(CostError):
        sensitivity_from_rows(data, "here")


def test_a_file_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(CostError):
        load_sensitivity(tmp_path / "none.json")


def test_operators_the_model_does_not_have_are_named() -> None:
    problem = mixed_problem(0)
    with pytest.raises(CostError, match="op99"):
        replace(problem, sensitivity=Sensitivity({("op99", "int8"): 1.0}))


def test_operators_without_a_row_are_named_at_precisions_in_use() -> None:
    graph = mixed_problem(0).graph
    table = Sensitivity({("op0", "int8"): 1.0})
    assert loss_table(table, graph, ["fp32"]).sum() == 0.0
    with pytest.raises(CostError, match="op1 at int8"):
        loss_table(table, graph, ["fp32", "int8"])


def test_losses_of_a_plan_add_up() -> None:
    problem = mixed_problem(2, k=2)
    places = np.array([0, 0, 0, 1, 1, 1])
    plan = Pool(problem).score(places)
    assert plan is not None
    assert problem.sensitivity is not None
    expected = sum(
        problem.sensitivity.loss(f"op{v}", problem.precisions[q]) or 0.0 for v, q in enumerate(places.tolist())
    )
    assert plan.score.accuracy_loss == pytest.approx(expected)
    bare = Pool(replace(problem, sensitivity=None)).score(places)
    assert bare is not None
    assert bare.score.accuracy_loss is None
