"""Grid files: what they mean, and that every fault names file, line, key, expected and got."""

from __future__ import annotations

from pathlib import Path

import pytest

from boards.errors import BoardsError, DescriptionError
from optimizer.cost_models.roofline import roofline_costs
from optimizer.costs_io import save_costs
from optimizer.problem import Limits
from optimizer.sweep_grid import Grid, read_grid

START = "schema: edgecut/sweep/1\n"
SMALL = START + "models: [zoo:squeezenet1_1]\nsystems: [demo]\n"


def grid(tmp_path: Path, text: str) -> Grid:
    path = tmp_path / "grid.yaml"
    path.write_text(text)
    return read_grid(path)


def fault(tmp_path: Path, text: str) -> str:
    with pytest.raises(DescriptionError) as raised:
        grid(tmp_path, text)
    return str(raised.value)


def test_smallest_grid_has_one_case_without_limits(tmp_path: Path) -> None:
    found = grid(tmp_path, SMALL)
    assert found.name == "grid"
    (case,) = found.cases
    assert (case.graph.name, case.system.name, case.prefer, case.seed) == ("squeezenet1_1", "demo", "throughput", 0)
    assert case.limits == Limits()
    assert case.time_limit_s == 60.0


def test_every_combination_is_a_case_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = grid(
        tmp_path,
        """\
schema: edgecut/sweep/1
name: which bench
models: [zoo:squeezenet1_1, zoo:mobilenet_v2]
systems: [demo, two-heterogeneous]
limits:
  - {name: free}
  - name: tight
    max_latency: 50ms
    min_throughput: 20/s
    max_energy: 2J
    max_boards: 1
prefer: [throughput, knee]
seeds: [0, 7]
time_limit: 10s
batch: 1
""",
    )
    assert found.name == "which bench"
    assert len(found.cases) == len({c.key for c in found.cases}) == 2 * 2 * 2 * 2 * 2
    first, second, last = found.cases[0], found.cases[1], found.cases[-1]
    assert (first.seed, second.seed, first.prefer) == (0, 7, "throughput")
    assert (last.graph.name, last.system.name, last.limits_name) == ("mobilenet_v2", "two-heterogeneous", "tight")
    assert last.limits == Limits(max_latency_s=0.05, min_throughput_per_s=20.0, max_energy_j=2.0, max_boards=1)
    assert (last.prefer, last.time_limit_s, last.graph.batch) == ("knee", 10.0, 1)


def test_limits_of_boards_and_operators_are_read(tmp_path: Path) -> None:
    name = grid(tmp_path, SMALL).cases[0].graph.operators[0].name
    text = SMALL + (
        "limits:\n  - name: small\n    max_ram: {left: 3MiB}\n    max_flash: {right: 1MB}\n"
        f"    pins: {{{name}: left}}\n"
    )
    limits = grid(tmp_path, text).cases[0].limits
    assert limits == Limits(max_ram_bytes={"left": 3 * 2**20}, max_flash_bytes={"right": 10**6}, pins={name: "left"})


def test_options_and_restrictions_are_read_and_belong_to_the_key(tmp_path: Path) -> None:
    small = grid(tmp_path, SMALL).cases[0]
    a, b, c = (op.name for op in small.graph.operators[:3])
    text = SMALL + (
        f"limits:\n  - name: split\n    rate: 2/s\n    forbid: {{{a}: left, {b}: [left/cpu]}}\n"
        f"    colocate: [[{a}, {c}]]\n"
        "prefer: ['latency:5% > energy', 'throughput=0.5, energy=0.5', memory]\n"
        "gap: 2%\nreproducible: true\nnon_contiguous: true\n"
    )
    first, *others = grid(tmp_path, text).cases
    assert first.limits == Limits(forbids=((a, "left"), (b, "left/cpu")), colocations=((a, c),), rate_per_s=2.0)
    assert (first.gap, first.reproducible, first.non_contiguous, first.replicate) == (0.02, True, True, False)
    assert first.problem().non_contiguous
    assert [case.prefer for case in (first, *others)] == ["latency:5%>energy", "throughput=0.5,energy=0.5", "memory"]
    changed = [SMALL + line for line in ("gap: 2%\n", "reproducible: true\n", "non_contiguous: true\n")]
    keys = {grid(tmp_path, t).cases[0].key for t in (SMALL, *changed, SMALL + "replicate: true\n")}
    assert len(keys) == 5


def test_paths_are_relative_to_the_grid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "bench.yaml").write_text(
        "schema: edgecut/system/1\nname: my-bench\nboards: {b: {use: local-core}}\nsource: b\nsink: b\nlinks: []\n"
    )
    case = grid(tmp_path, SMALL).cases[0]
    save_costs(roofline_costs(case.graph, case.system), tmp_path / "costs.json")
    monkeypatch.chdir(tmp_path / "deep")
    text = START + "models: [zoo:squeezenet1_1]\nsystems:\n  - bench.yaml\n  - {system: demo, costs: costs.json}\n"
    bench, demo = grid(tmp_path, text).cases
    assert bench.system.name == "my-bench"
    assert bench.costs is None
    assert demo.costs is not None
    assert demo.key != case.key


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (START + "systems: [demo]\n", ["grid.yaml:1, models", "'models' is missing"]),
        (SMALL.replace("sweep/1", "sweep/2"), ["grid.yaml:1, schema", "edgecut/sweep/1", "edgecut/sweep/2"]),
        (SMALL + "limit: []\n", ["grid.yaml:4, limit", "unknown key 'limit'", "Did you mean 'limits'?"]),
        (SMALL + "limits: []\n", ["grid.yaml:4, limits", "at least 1"]),
        (
            SMALL + "limits:\n  - {name: a, max_latency: 50}\n",
            ["grid.yaml:5, limits[0].max_latency", "unit is missing"],
        ),
        (SMALL + "limits:\n  - {name: a, max_latency: 2J}\n", ["grid.yaml:5", "unknown unit 'J'", "got 2J"]),
        (SMALL + "limits:\n  - {name: a, max_energy: 0J}\n", ["grid.yaml:5", "above zero"]),
        (SMALL + "limits:\n  - {name: a, max_latency: .nan}\n", ["grid.yaml:5", "finite"]),
        (SMALL + "limits:\n  - {max_latency: 50ms}\n", ["grid.yaml:5, limits[0].name", "missing"]),
        (SMALL + "limits:\n  - {name: a}\n  - {name: a}\n", ["grid.yaml:6, limits[1].name", "'a' stands twice"]),
        (SMALL + "limits:\n  - {name: a, max_boards: 0}\n", ["grid.yaml:5, limits[0].max_boards", "got 0"]),
        (
            SMALL + "limits:\n  - {name: a, max_ram: {middle: 3MiB}}\n",
            ["grid.yaml:5, limits[0]", "'middle'", "left, right", "squeezenet1_1 on demo"],
        ),
        (SMALL + "limits:\n  - {name: a, pins: {nothing: left}}\n", ["grid.yaml:5, limits[0]", "optimizer inspect"]),
        (SMALL + "batch: 2\n", ["grid.yaml:2, models[0]", "batch is fixed"]),
        (SMALL + "prefer: beauty\n", ["grid.yaml:4, prefer", "throughput", "beauty"]),
        (SMALL + "prefer: accuracy-loss\n", ["grid.yaml:4, prefer", "loss of accuracy"]),
        (SMALL + "prefer: throughput=0.5,energy=x\n", ["grid.yaml:4, prefer", "energy=x"]),
        (SMALL + "gap: 120%\n", ["grid.yaml:4, gap", "not a usable share"]),
        (SMALL + "reproducible: often\n", ["grid.yaml:4, reproducible"]),
        (SMALL + "limits:\n  - {name: a, rate: 5J}\n", ["grid.yaml:5, limits[0].rate", "unknown unit 'J'"]),
        (SMALL + "limits:\n  - {name: a, colocate: [[x]]}\n", ["grid.yaml:5, limits[0].colocate[0]"]),
        (SMALL + "limits:\n  - {name: a, forbid: {nothing: left}}\n", ["grid.yaml:5, limits[0]", "'nothing'"]),
        (SMALL + "seeds: [-1]\n", ["grid.yaml:4, seeds[0]", "got -1"]),
        (SMALL + "seeds: [1, 1]\n", ["grid.yaml:4, seeds[1]", "twice"]),
        (SMALL + "time_limit: 0s\n", ["grid.yaml:4, time_limit", "above zero"]),
        (SMALL.replace("squeezenet1_1", "nothing"), ["grid.yaml:2, models[0]", "nothing", "squeezenet1_1"]),
        (SMALL.replace("zoo:squeezenet1_1", "gone.onnx"), ["grid.yaml:2, models[0]", "gone.onnx"]),
        (SMALL.replace("demo", "dem"), ["grid.yaml:3, systems[0]", "unknown system 'dem'", "two-heterogeneous"]),
        (SMALL.replace("[demo]", "[demo, demo]"), ["grid.yaml:3, systems[1]", "two systems of one name"]),
        (
            START + "models: [zoo:squeezenet1_1]\nsystems: [{system: demo, costs: gone.json}]\n",
            ["grid.yaml:3, systems[0].costs", "gone.json"],
        ),
        (SMALL + f"seeds: [{', '.join(map(str, range(10_001)))}]\n", ["grid.yaml:1", "10001 combinations"]),
        ("- a list\n", ["grid.yaml:1", "a list"]),
        ("a: [\n", ["grid.yaml", "not readable as YAML"]),
        (START + "models: zoo:squeezenet1_1\nsystems: [demo]\n", ["grid.yaml:2, models", "a list"]),
    ],
)
def test_fault_names_file_line_key_expected_and_got(text: str, parts: list[str], tmp_path: Path) -> None:
    message = fault(tmp_path, text)
    assert [part for part in parts if part not in message] == [], message


def test_fault_in_a_system_file_names_that_file(tmp_path: Path) -> None:
    (tmp_path / "bench.yaml").write_text("schema: edgecut/system/1\nname: b\n")
    with pytest.raises(BoardsError, match=r"bench\.yaml:1"):
        grid(tmp_path, SMALL.replace("demo", "bench.yaml"))


def test_missing_grid_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BoardsError, match=r"none\.yaml.*readable YAML"):
        read_grid(tmp_path / "none.yaml")


def test_costs_go_to_the_model_they_were_made_for(tmp_path: Path) -> None:
    models = "models: [zoo:squeezenet1_1, zoo:mobilenet_v2]\n"
    both = grid(tmp_path, START + models + "systems: [demo]\n").cases
    for case in both:
        save_costs(roofline_costs(case.graph, case.system), tmp_path / f"{case.graph.name}.json")
    text = START + models + "systems:\n  - {system: demo, costs: [squeezenet1_1.json, mobilenet_v2.json]}\n"
    assert [c.costs.model_sha256 for c in grid(tmp_path, text).cases if c.costs] == [c.graph.sha256 for c in both]
    message = fault(tmp_path, text.replace(", mobilenet_v2.json", ""))
    assert "grid.yaml:4, systems[0].costs" in message
    assert "no cost file was made for mobilenet_v2" in message
