"""Routes of microcontroller boards: what each is told in a run, a measurement, and single frames."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from firmware_interface.board_messages import Route
from hil.errors import BundleError
from hil.lab_types import Lab, LabTarget, LabWire, SerialLine
from hil.mcu_images import compile_boards
from hil.mcu_routes import Mode, board_routes, link_buffer_bytes, ping_routes, way_back
from optimizer.split_manifest import Bundle
from tests.hil.mcu_bench import bundle_of

MODEL = "zoo:tiny_digits_int8"
HOST, UP, DOWN, HERE = 0, 1, 2, 255
RELAY, INPUT, OUTPUT, SIGNAL, REPEATS = 0, 1, 2, 3, 0x80
WIRES = (LabWire(("head", "middle"), (DOWN, UP)), LabWire(("middle", "tail"), (DOWN, UP)))


def lab(wires: tuple[LabWire, ...] = WIRES) -> Lab:
    names = ("head", "middle", "tail")
    targets = {n: LabTarget(n, "serial-mcu", serial=SerialLine(f"unix:{n}", "01")) for n in names}
    return Lab(Path("lab.yaml"), "mcu-emulated", b"", True, "none", targets, wires=wires)


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Head makes a tensor, tail takes it, middle passes it on."""
    return bundle_of(tmp_path_factory.mktemp("b") / "b", MODEL, ["head", "tail"])


def routes(bundle: Bundle, mode: Mode, wires: tuple[LabWire, ...] = WIRES) -> dict[str, list[Route]]:
    types = dict.fromkeys(("head", "middle", "tail"), "mps2-an386")
    images = compile_boards(bundle, lab(wires), types)
    compiled = {image.segment: image.compiled for image in images.values()}
    return {name: found.routes for name, found in board_routes(bundle, lab(wires), compiled, mode).items()}


def test_a_run_takes_inputs_from_the_host_and_brings_outputs_back(ends: Bundle) -> None:
    entering, middle, leaving = ends.tensors
    found = routes(ends, "run")
    assert found["head"] == [
        Route(entering.id, 64, entering.depth, HOST, 0, INPUT, 0),
        Route(middle.id, middle.size_bytes, middle.depth, HERE, 1 << DOWN, OUTPUT, 0),
    ]
    assert found["middle"] == [Route(middle.id, middle.size_bytes, middle.depth, UP, 1 << DOWN, RELAY, 0)]
    assert found["tail"] == [
        Route(middle.id, middle.size_bytes, middle.depth, UP, 0, INPUT, 0),
        Route(leaving.id, 10, leaving.depth, HERE, 1 << HOST, OUTPUT, 0),
    ]


def test_a_measurement_leaves_the_host_alone(ends: Bundle) -> None:
    found = routes(ends, "measure")
    assert found["head"][0].use == INPUT | REPEATS
    assert all(not route.to_ports & 1 << HOST for of_board in found.values() for route in of_board)
    assert len(found["tail"]) == 1


def test_a_sink_without_a_segment_counts_what_arrives(tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "b", MODEL, ["head"])
    assert [route.use for route in routes(bundle, "measure")["tail"]] == [SIGNAL]
    assert [route.to_ports for route in routes(bundle, "run")["tail"]] == [1 << HOST]


def test_single_frames_wait_for_the_signal_of_the_sink(ends: Bundle) -> None:
    found = routes(ends, "latency")
    signals = {name: of_board[-1] for name, of_board in found.items()}
    assert (signals["tail"].from_port, signals["tail"].to_ports, signals["tail"].use) == (HERE, 1 << UP, SIGNAL)
    assert (signals["middle"].from_port, signals["middle"].to_ports, signals["middle"].use) == (DOWN, 1 << UP, RELAY)
    assert (signals["head"].from_port, signals["head"].use, signals["head"].index) == (DOWN, SIGNAL, 1)
    assert len({signal.tensor for signal in signals.values()}) == 1


def test_without_wires_tensors_and_signals_go_through_the_host(ends: Bundle) -> None:
    found = routes(ends, "latency", wires=())
    assert [route.to_ports for route in found["head"] if route.use == OUTPUT] == [1 << HOST]
    assert found["tail"][0].from_port == HOST
    assert way_back(ends, lab(())) == ["tail", "head"]
    assert (found["tail"][-1].to_ports, found["head"][-1].from_port) == (1 << HOST, HOST)


def test_a_ping_goes_there_and_back(ends: Bundle) -> None:
    found = ping_routes(lab(), way_back(ends, lab()), 500)
    there = [found[name].routes[0] for name in ("head", "middle", "tail")]
    assert [(r.from_port, r.to_ports, r.size) for r in there] == [
        (HERE, 1 << DOWN, 500),
        (UP, 1 << DOWN, 500),
        (UP, 0, 500),
    ]
    assert found["head"].routes[1].index == 1  # the first goes without an answer to an earlier one
    assert found["tail"].routes[0].index == 0


def test_buffers_count_depth_times_size_in_blocks() -> None:
    assert link_buffer_bytes([Route(0, 17, 3, HOST, 0, INPUT, 0), Route(1, 16, 1, HERE, 1, OUTPUT, 0)]) == 3 * 32 + 16


def test_two_segments_on_a_board_are_refused(ends: Bundle) -> None:
    first, second = ends.segments
    both = replace(ends, segments=(first, replace(second, board="head", processor="head/m4")))
    with pytest.raises(BundleError, match="runs one segment"):
        routes(both, "run")
