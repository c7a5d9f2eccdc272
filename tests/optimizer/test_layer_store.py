"""Layers that were modelled are taken up again, if they are of the same model of the same accelerator."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from optimizer.cost_models.layer_store import LayerStore
from optimizer.errors import InputError
from optimizer.layer_loops import Loops

LAYER = Loops(1, 1, 8, 16, (4, 5), (4, 5), kernel=(3, 3), padding=(1, 1, 1, 1))
MODEL = ["description", "mapping", "6", "3.9.1"]


def test_what_was_kept_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "costs.json.layers"
    LayerStore(path, MODEL).add((LAYER, 8), (1234.0, 5.5e6))
    again = LayerStore(path, MODEL)
    assert again.get((LAYER, 8)) == (1234.0, 5.5e6)
    assert again.get((LAYER, 16)) is None
    assert again.get((replace(LAYER, stride=(2, 2)), 8)) is None


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "costs.json.layers"
    store = LayerStore(path, MODEL)
    store.add((LAYER, 8), (1.0, 2.0))
    store.add((LAYER, 16), (3.0, 4.0))
    path.write_text(path.read_text()[:-9])
    again = LayerStore(path, MODEL)
    assert again.get((LAYER, 8)) == (1.0, 2.0)
    assert again.get((LAYER, 16)) is None
    again.add((LAYER, 32), (5.0, 6.0))
    assert LayerStore(path, MODEL).get((LAYER, 32)) == (5.0, 6.0)


@pytest.mark.parametrize("left", ["", "{", '{"model_sha256": "0"}\n', "[]\n[]\n"])
def test_a_file_of_another_model_is_begun_anew(tmp_path: Path, left: str) -> None:
    path = tmp_path / "costs.json.layers"
    LayerStore(path, ["another"]).add((LAYER, 8), (1.0, 2.0))
    if left:
        path.write_text(left)
    store = LayerStore(path, MODEL)
    assert store.get((LAYER, 8)) is None
    store.add((LAYER, 8), (7.0, 8.0))
    assert LayerStore(path, MODEL).get((LAYER, 8)) == (7.0, 8.0)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        LayerStore(tmp_path / "nowhere" / "costs.layers", MODEL)
