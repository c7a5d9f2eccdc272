"""Systems as plain JSON values and back."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boards.board import Board, Link, Processor, System
from boards.catalog import list_systems, load_system
from boards.errors import DescriptionError
from boards.system_io import system_from_dict, system_to_dict

amounts = st.floats(0, 1e18, allow_subnormal=True)
rates = st.floats(5e-324, 1e18)
processors = st.builds(
    Processor,
    name=st.just("cpu"),
    kind=st.sampled_from(["cpu", "mcu"]),
    macs_per_s=st.dictionaries(st.sampled_from(["int8", "fp32", "fp16"]), rates, min_size=1),
    memory_bytes_per_s=rates,
    operator_overhead_s=amounts,
    active_power_w=amounts,
    idle_power_w=amounts,
)


@st.composite
def systems(draw: st.DrawFn) -> System:
    names = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True))
    boards = tuple(
        Board(
            name=name,
            model=draw(st.text()),
            processors=(draw(processors),),
            ram_bytes=draw(st.integers(1, 2**62)),
            flash_bytes=draw(st.none() | st.integers(1, 2**62)),
            weights_in="ram",
            in_place=draw(st.booleans()),
            runtime="onnxruntime",
            runtime_ram_bytes=draw(st.integers(0, 2**62)),
            removable=draw(st.booleans()),
        )
        for name in names
    )
    links = tuple(
        Link(
            name=f"{a}->{b}",
            source=a,
            target=b,
            medium=draw(st.sampled_from(["air", f"{a}->{b}"])),
            bandwidth_bytes_per_s=draw(rates),
            setup_s=draw(amounts),
            latency_s=draw(amounts),
            mtu_bytes=draw(st.none() | st.integers(1, 9000)),
            energy_j_per_byte=draw(amounts),
            overlap=draw(st.booleans()),
        )
        for i, a in enumerate(names)
        for b in (names[(i + 1) % len(names)],)
        if a != b
    )
    return System("s", boards, links, source=names[0], sink=names[-1])


@given(system=systems())
def test_a_system_survives_json_exactly(system: System):
    data = json.loads(json.dumps(system_to_dict(system)))
    back = system_from_dict(data)
    assert back == system
    assert [list(p.processor.macs_per_s) for p in back.processors] == [
        list(p.processor.macs_per_s) for p in system.processors
    ], "the first precision is the preferred one, so the order counts"


@pytest.mark.parametrize("name", list_systems())
def test_ready_systems_survive_json_exactly(name: str):
    system = load_system(name)
    assert system_from_dict(json.loads(json.dumps(system_to_dict(system)))) == system


def damaged(path: tuple[str | int, ...], value: object) -> dict[str, object]:
    data = copy.deepcopy(system_to_dict(load_system("four-heterogeneous")))
    node = data
    for step in path[:-1]:
        node = node[step]  # type: ignore[index]
    node[path[-1]] = value  # type: ignore[index]
    return data


@pytest.mark.parametrize(
    ("path", "value", "key"),
    [
        (("source",), "nobody", "source"),
        (("sink",), "switch", "sink"),
        (("boards",), [], "boards"),
        (("boards", 0, "name"), "pi5", "boards"),
        (("boards", 0, "ram_bytes"), -1, "boards[0].ram_bytes"),
        (("boards", 0, "ram_bytes"), "1GiB", "boards[0].ram_bytes"),
        (("boards", 0, "ram_bytes"), 1.5, "boards[0].ram_bytes"),
        (("boards", 0, "rom"), 1, "boards[0].rom"),
        (("boards", 0, "processors"), [], "boards[0].processors"),
        (("boards", 0, "processors", 0, "macs_per_s"), {}, "boards[0].processors[0].macs_per_s"),
        (
            ("boards", 0, "processors", 0, "macs_per_s"),
            {"fp32": 0},
            "boards[0].processors[0].macs_per_s.fp32",
        ),
        (
            ("boards", 0, "processors", 0, "macs_per_s"),
            {"fp64": 1},
            "boards[0].processors[0].macs_per_s.fp64",
        ),
        (
            ("boards", 0, "processors", 0, "idle_power_w"),
            float("nan"),
            "boards[0].processors[0].idle_power_w",
        ),
        (("boards", 0, "weights_in"), "flash", "boards[0].flash_bytes"),
        (("boards", 0, "weights_in"), "rom", "boards[0].weights_in"),
        (("links", 0, "target"), "nobody", "links[0].target"),
        (("links", 0, "target"), "pi4", "links[0].target"),
        (("links", 1, "name"), "pi4->switch", "links"),
        (("links", 0, "bandwidth_bytes_per_s"), 0.0, "links[0].bandwidth_bytes_per_s"),
        (("links", 0, "bandwidth_bytes_per_s"), float("inf"), "links[0].bandwidth_bytes_per_s"),
        (("links", 0, "latency_s"), -1e-9, "links[0].latency_s"),
        (("links",), [], "boards"),
        (("switches",), ["pi4", "switch"], "boards"),
        (("colour",), "red", "colour"),
    ],
)
def test_a_damaged_system_is_refused_with_its_key(path, value, key):
    with pytest.raises(DescriptionError) as caught:
        system_from_dict(damaged(path, value), where="plan.json")
    fault = caught.value.faults[0]
    assert fault.file == "plan.json"
    assert fault.key == key
    assert fault.expected and fault.got


@pytest.mark.parametrize("key", ["name", "boards", "links", "source", "sink"])
def test_a_missing_key_is_named(key: str):
    data = system_to_dict(load_system("demo"))
    del data[key]
    with pytest.raises(DescriptionError, match="key is missing") as caught:
        system_from_dict(data)
    assert caught.value.faults[0].key == key


@pytest.mark.parametrize("data", [[], "demo", None, {"boards": {1, 2}}])
def test_what_is_no_object_of_plain_values_is_refused(data):
    with pytest.raises(DescriptionError):
        system_from_dict(data)


def test_a_misspelt_key_gets_a_suggestion():
    data = system_to_dict(load_system("demo"))
    data["links"][0]["latency"] = 1.0
    with pytest.raises(DescriptionError, match="Did you mean 'latency_s'"):
        system_from_dict(data)
