"""What docs/system-files.md shows is what the code does."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from boards.catalog import load_system
from boards.errors import DescriptionError
from boards.units import QUANTITIES

TEXT = (Path(__file__).parents[2] / "docs" / "system-files.md").read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


def test_the_first_example_is_the_demo(tmp_path: Path):
    path = tmp_path / "demo.yaml"
    path.write_text(BLOCKS[0])
    assert load_system(path) == load_system("demo")


def test_the_examples_of_boards_load(tmp_path: Path):
    path = tmp_path / "boards.yaml"
    air = "shared_media: [{name: air, medium: wifi-5, boards: [camera, small, fast, own]}]\n"
    path.write_text(f"schema: edgecut/system/1\nname: x\n{BLOCKS[1]}{air}source: camera\nsink: own\n")
    system = load_system(path)
    assert system.board("fast").processors[1].active_power_w == 9.0
    assert system.board("small").ram_bytes == 900 * 2**20


def test_the_examples_of_links_load(tmp_path: Path):
    path = tmp_path / "links.yaml"
    boards = "boards: {a: {use: local-core}, b: {use: local-core}, c: {use: local-core}}\n"
    path.write_text(f"schema: edgecut/system/1\nname: x\n{boards}{BLOCKS[2]}source: a\nsink: c\n")
    links = {link.name: link for link in load_system(path).links}
    assert links["a->b"].latency_s == 600e-9
    assert links["b->c"].overlap
    assert links["c->a"].setup_s == 200e-6
    assert "a->c" not in links


def test_the_example_of_a_refusal_is_one(tmp_path: Path):
    shown = next(line for line in TEXT.splitlines() if line.startswith("bench.yaml:"))
    path = tmp_path / "bench.yaml"
    path.write_text(BLOCKS[0].replace("name: demo\n", "").replace("100m}", "100m, bandwith: 1MB/s}"))
    with pytest.raises(DescriptionError) as caught:
        load_system(path)
    said = str(caught.value.faults[-1])
    start, end = shown.split("...", 1)
    assert end.rstrip(".") in said
    assert start.split(":7, ", 1)[1] in said


@pytest.mark.parametrize("quantity", QUANTITIES.values(), ids=lambda q: q.name)
def test_every_kind_of_quantity_is_documented(quantity):
    name = {"compute rate": "compute"}.get(quantity.name, quantity.name)
    row = next(line for line in TEXT.splitlines() if line.startswith(f"| {name} |"))
    assert quantity.example in row
