from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from boards import catalog
from boards.board import System
from boards.catalog import load_system
from boards.errors import DescriptionError
from optimizer.cli import solve
from optimizer.errors import InputError
from optimizer.objectives import OBJECTIVES
from optimizer.problem import Limits
from optimizer.request import SolveRequest
from optimizer.sensitivity import Sensitivity
from server.inputs import solve_request_of
from server.schemas import LimitsOrder, SolveOrder, parse_job

SYSTEMS = Path(catalog.__file__).parent / "systems"


def request(**changes: Any) -> SolveRequest:
    order = parse_job({"kind": "solve", "model": "zoo:vgg16", "system": "demo", **changes})
    assert isinstance(order, SolveOrder)
    return solve_request_of(order, order.model)


def test_defaults_are_those_of_the_command_line() -> None:
    assert request() == SolveRequest("zoo:vgg16", load_system("demo"))


def test_limits_are_read_with_their_units() -> None:
    limits = request(
        limits={
            "max_latency": "50ms",
            "min_throughput": "20/s",
            "max_energy": "5mJ",
            "max_memory": {"left": {"ram": "320KiB"}, "right": {"flash": "1MB", "ram": "1KiB"}},
            "pin": {"op": "left"},
            "boards": 1,
        }
    ).limits
    assert (limits.max_latency_s, limits.min_throughput_per_s, limits.max_energy_j) == (0.05, 20.0, 0.005)
    assert limits.max_ram_bytes == {"left": 320 * 1024, "right": 1024}
    assert limits.max_flash_bytes == {"right": 10**6}
    assert (limits.pins, limits.max_boards) == ({"op": "left"}, 1)


def test_objectives_are_asked_for_once() -> None:
    assert request(objectives=["energy", "boards", "energy"]).objectives == ("energy", "boards")


def test_every_option_of_the_command_line_is_a_key_and_reaches_the_request() -> None:
    """What a new option of `optimizer solve` lacks here fails this test."""
    options = {p.name for p in solve.params if p.name not in ("model", "out", "as_json", "help")}
    options |= {"model"}
    assert options == set(SolveOrder.model_fields) - {"kind", "limits"} | set(LimitsOrder.model_fields)


def test_every_key_says_the_same_as_its_option() -> None:
    found = request(
        objectives=list(OBJECTIVES),
        prefer="latency:5%>boards",
        precision={"left": ["fp32", "int8"], "right": "any"},
        sensitivity=[{"operator": "*", "precision": "int8", "loss": 0.5}],
        non_contiguous=True,
        replicate=True,
        workers=3,
        gap="2%",
        reproducible=True,
        cost_uncertainty="10%",
        limits={
            "forbid": {"a": "left", "b*": ["left", "right"]},
            "colocate": [["c", "d*"]],
            "rate": "5/s",
            "max_link_bytes": "2KiB",
            "max_accuracy_loss": 1.5,
        },
    )
    assert found == SolveRequest(
        "zoo:vgg16",
        load_system("demo"),
        objectives=tuple(OBJECTIVES),
        prefer="latency:5%>boards",
        precisions=("left=fp32|int8", "right=any"),
        sensitivity=Sensitivity({("*", "int8"): 0.5}),
        non_contiguous=True,
        replicate=True,
        workers=3,
        gap=0.02,
        reproducible=True,
        cost_uncertainty=0.1,
        limits=Limits(
            forbids=(("a", "left"), ("b*", "left"), ("b*", "right")),
            colocations=(("c", "d*"),),
            rate_per_s=5.0,
            max_link_bytes=2048,
            max_accuracy_loss=1.5,
        ),
    )


@pytest.mark.parametrize("name", [p.stem for p in sorted(SYSTEMS.glob("*.yaml"))])
def test_ready_system_sent_as_an_object_is_the_same_system(name: str) -> None:
    # As a client has it: YAML read with all its types, sent as JSON.
    description = json.loads(json.dumps(yaml.safe_load((SYSTEMS / f"{name}.yaml").read_text())))
    system = request(system=description).system
    assert isinstance(system, System)
    assert system == load_system(name)


@pytest.mark.parametrize(
    "part",
    [
        {"boards": {"a": {"use": "/etc/secret.yaml"}}},
        {"boards": {"a": {"use": "secret.yml"}}},
        {"media": {"m": {"use": "../secret.yaml"}}},
        {"links": [{"from": "a", "to": "b", "medium": "secret.yaml"}]},
        {"links": [{"from": "a", "to": "b", "medium": {"use": "secret.yaml"}}]},
    ],
)
def test_description_cannot_reach_files_of_the_server(part: dict[str, Any]) -> None:
    with pytest.raises(DescriptionError, match="cannot use files"):
        request(system={"schema": "edgecut/system/1", **part})


def test_complaint_about_a_description_names_its_key_and_no_file_of_the_server() -> None:
    with pytest.raises(DescriptionError) as refused:
        request(system={"schema": "edgecut/system/1", "name": "x", "boards": {"a": {"use": "nope"}}})
    assert str(refused.value).startswith("system, boards.a.use: unknown board 'nope'")


def test_path_of_a_file_is_no_system(tmp_path: Path) -> None:
    path = tmp_path / "system.yaml"
    path.write_text((SYSTEMS / "demo.yaml").read_text())
    with pytest.raises(InputError, match="unknown system"):
        request(system=str(path))
