"""The catalog: every figure has a unit and a source, and says what it should."""

from __future__ import annotations

import pytest

from boards.catalog import (
    Figure,
    board_figures,
    list_boards,
    list_media,
    list_systems,
    load_board,
    load_medium,
    load_system,
    medium_figures,
)
from boards.errors import CycleError, DescriptionError, UnknownNameError
from boards.schema import FIGURES

BOARDS = (
    "esp32-s3",
    "eyeriss-like",
    "jetson-nano",
    "jetson-orin-nano",
    "local-core",
    "mps2-an386",
    "nrf52840-dk",
    "raspberry-pi-4",
    "raspberry-pi-5",
    "simba-like",
    "stm32f746g-disco",
    "stm32h743-nucleo",
)
MEDIA = (
    "ble",
    "can-fd",
    "ethernet-100m",
    "ethernet-10g",
    "ethernet-1g",
    "loopback",
    "on-package",
    "spi",
    "uart",
    "uart-115200",
    "uart-38400",
    "usb2",
    "wifi-4",
    "wifi-5",
    "wifi-6",
)
SOURCE_WORDS = ("arithmetic", "estimate", "assumed", "published", "measured")


def every_figure() -> list[Figure]:
    boards = [f for name in list_boards() for f in board_figures(name)]
    return boards + [f for name in list_media() for f in medium_figures(name)]


def test_the_catalog_has_the_boards_and_media_it_promises():
    assert list_boards() == BOARDS
    assert list_media() == MEDIA


@pytest.mark.parametrize("figure", every_figure(), ids=lambda f: f"{f.file.rsplit('/', 1)[-1]}:{f.key}")
def test_every_figure_has_a_unit_and_a_source(figure: Figure):
    figure.quantity.parse(figure.text)
    assert not figure.text.replace(".", "").isdigit(), "a bare number has no unit"
    assert len(figure.source) > 15
    says_how = figure.source.startswith(SOURCE_WORDS)
    names_a_document = any(c.isdigit() for c in figure.source) or "edgecut" in figure.source
    assert says_how or names_a_document


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_entry_leaves_no_figure_to_a_default(name: str):
    keys = {figure.key for figure in board_figures(name)}
    assert "ram" in keys
    assert "runtime_ram" in keys or load_board(name).firmware, "of a firmware of ours the build says it"
    for i, processor in enumerate(load_board(name).processors):
        place = f"processors[{i}]"
        for key in ("memory_bandwidth", "operator_overhead", "active_power", "idle_power"):
            assert f"{place}.{key}" in keys
        for precision in processor.macs_per_s:
            assert f"{place}.macs.{precision}" in keys


def test_figures_of_boards_and_media_are_all_known_kinds():
    names = {f.key.rsplit(".", 1)[-1] for f in every_figure()} - {"fp32", "fp16", "int8"}
    assert names <= FIGURES.keys()
    assert {"ram", "flash", "bandwidth", "mtu", "energy"} <= names


@pytest.mark.parametrize("name", ["stm32f746g-disco", "stm32h743-nucleo", "nrf52840-dk", "esp32-s3", "mps2-an386"])
def test_microcontrollers_execute_weights_from_flash(name: str):
    board = load_board(name)
    assert board.weights_in == "flash"
    assert board.flash_bytes
    assert board.in_place
    assert board.runtime == "edgecut-mcu"


@pytest.mark.parametrize("name", ["jetson-nano", "jetson-orin-nano"])
def test_jetsons_have_a_cpu_that_attends_to_links_and_a_gpu(name: str):
    assert [p.kind for p in load_board(name).processors] == ["cpu", "gpu"]


def test_a_board_is_named_after_its_entry():
    board = load_board("raspberry-pi-4")
    assert board.name == board.model == "raspberry-pi-4"
    assert next(iter(board.processors[0].macs_per_s)) == "fp32"


@pytest.mark.parametrize(
    ("name", "rate_bit_per_s", "power_w"),
    [("ethernet-100m", 100e6, 0.2), ("ethernet-1g", 1e9, 0.6), ("ethernet-10g", 10e9, 4.0)],
)
def test_ethernet_is_the_model_of_the_study(name: str, rate_bit_per_s: float, power_w: float):
    link = load_medium(name).link("a->b", "a", "b", "a->b")
    for size in (1, 46, 47, 1500, 1501, 602_112):
        wire = max(size, 46) + -(-size // 1500) * 26
        assert link.wire_bytes(size) == wire
        assert link.occupancy_s(size) == pytest.approx(wire * 8 / rate_bit_per_s)
        assert wire * link.energy_j_per_byte == pytest.approx(power_w * wire * 8 / rate_bit_per_s)


def test_the_link_on_a_package_is_that_of_the_study():
    medium = load_medium("on-package")
    assert medium.bandwidth_bytes_per_s == 16 * 4e9 / 8
    assert medium.latency_s == 2e-9
    assert medium.energy_j_per_byte == pytest.approx(0.5e-12 * 8)


def test_a_polled_uart_holds_up_both_ends_and_the_air_is_shared():
    assert not load_medium("uart").overlap
    assert load_medium("uart").bandwidth_bytes_per_s == 92_160
    assert load_medium("wifi-5").duplex == "half"
    assert load_medium("ble").mtu_bytes == 244


@pytest.mark.parametrize("name", list_systems())
def test_every_ready_system_loads_and_is_named_after_its_file(name: str):
    system = load_system(name)
    assert system.name == name
    assert all(system.route(a.name, b.name) is not None for a in system.boards for b in system.boards)


def test_the_ready_systems_are_the_promised_ones():
    assert set(list_systems()) == {
        "demo",
        "demo-unshaped",
        "eyeriss-simba",
        "four-heterogeneous",
        "mcu-chain",
        "mcu-emulated",
        "pi-and-jetson",
        "two-heterogeneous",
        "two-raspberry-pis",
    }


def test_the_demo_is_two_cores_on_100_mbit():
    demo = load_system("demo")
    assert [b.model for b in demo.boards] == ["local-core", "local-core"]
    assert [link.name for link in demo.links] == ["left->right", "right->left"]
    assert demo.media == ("left->right", "right->left")
    assert (demo.source, demo.sink) == ("left", "right")
    assert demo.links[0].bandwidth_bytes_per_s == 12.5e6


@pytest.mark.parametrize(
    ("load", "name", "meant"),
    [
        (load_board, "raspbery-pi-4", "raspberry-pi-4"),
        (load_medium, "ethernet-1G", "ethernet-1g"),
        (load_system, "dmeo", "demo"),
    ],
)
def test_a_misspelt_name_gets_the_known_ones_and_a_suggestion(load, name: str, meant: str):
    with pytest.raises(UnknownNameError) as caught:
        load(name)
    assert meant in caught.value.known
    assert f"Did you mean '{meant}'?" in str(caught.value)


def test_a_board_in_a_file_of_its_own_may_use_the_catalog_and_override(tmp_path):
    path = tmp_path / "big.yaml"
    path.write_text(
        "schema: edgecut/board/1\n"
        "use: raspberry-pi-4\n"
        "ram: 7GiB\n"
        "processors:\n"
        "  - {name: cpu, active_power: 8W, macs: {int8: 20GMAC/s}}\n"
        "  - {name: npu, kind: npu, macs: {int8: 1TMAC/s}, memory_bandwidth: 1GB/s,\n"
        "     active_power: 2W, idle_power: 0W}\n"
    )
    board, base = load_board(str(path)), load_board("raspberry-pi-4")
    assert board.ram_bytes == 7 * 2**30
    assert [p.name for p in board.processors] == ["cpu", "npu"]
    cpu = board.processors[0]
    assert (cpu.active_power_w, cpu.idle_power_w) == (8.0, base.processors[0].idle_power_w)
    assert dict(cpu.macs_per_s) == {"fp32": base.processors[0].macs_per_s["fp32"], "int8": 20e9}


def test_a_cycle_over_files_is_refused_with_its_path(tmp_path):
    for name, other in (("one", "two"), ("two", "three"), ("three", "one")):
        (tmp_path / f"{name}.yaml").write_text(f"schema: edgecut/board/1\nuse: {other}.yaml\n")
    with pytest.raises(CycleError, match="one -> two -> three -> one") as caught:
        load_board(str(tmp_path / "one.yaml"))
    assert caught.value.path == ("one", "two", "three", "one")
    assert "three.yaml:2" in str(caught.value)


def test_a_file_of_another_kind_is_refused(tmp_path):
    path = tmp_path / "x.yaml"
    path.write_text("schema: edgecut/medium/1\nbandwidth: 1MB/s\n")
    with pytest.raises(DescriptionError, match="edgecut/board/1") as caught:
        load_board(str(path))
    assert caught.value.faults[0].got == "edgecut/medium/1"


def test_a_catalog_figure_without_a_source_is_refused(tmp_path, monkeypatch):
    (tmp_path / "bare.yaml").write_text("schema: edgecut/medium/1\nbandwidth: 1MB/s\n")
    monkeypatch.setattr("boards.use._CATALOG", tmp_path)
    (tmp_path / "media").mkdir()
    (tmp_path / "bare.yaml").rename(tmp_path / "media" / "bare.yaml")
    with pytest.raises(DescriptionError, match="without a source") as caught:
        load_medium("bare")
    fault = caught.value.faults[0]
    assert (fault.key, fault.line, fault.got) == ("bandwidth", 2, "1MB/s")
