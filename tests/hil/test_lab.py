"""Lab files: what is accepted, and how a complaint reads."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest

from boards.catalog import load_system
from hil.errors import LabError
from hil.lab import check_lab, load_lab, load_lab_system, make_key, save_lab
from hil.lab_types import Flasher, Lab, LabLink, LabTarget, LabWire, SerialLine

_TEXT = """\
schema: edgecut/lab/1
system: demo
key_file: lab.key
emulated: true
shaping: relay
targets:
  left: {driver: network_agent, host: 127.0.0.1, port: 41001}
  right: {driver: network_agent, host: 127.0.0.1, port: 41002}
links:
  left->right: {host: 127.0.0.1, port: 42001}
"""


@pytest.fixture
def lab_file(tmp_path: Path) -> Path:
    key = tmp_path / "lab.key"
    key.write_text("ab" * 32 + "\n")
    key.chmod(0o600)
    path = tmp_path / "lab.yaml"
    path.write_text(_TEXT)
    return path


def test_reads_what_the_file_says(lab_file: Path) -> None:
    lab = load_lab(lab_file)
    assert lab.key == b"\xab" * 32
    assert lab.targets["left"] == LabTarget("left", "network_agent", "127.0.0.1", 41001)
    assert lab.links == {"left->right": LabLink("left->right", "127.0.0.1", 42001)}
    assert (lab.system, lab.emulated, lab.shaping, lab.notes) == ("demo", True, "relay", ())
    assert lab.link_address("right->left", "left") == ("127.0.0.1", 41001)
    assert load_lab_system(lab) == load_system("demo")


def test_saved_lab_reads_back_the_same(tmp_path: Path) -> None:
    target = LabTarget("left", "network_agent", "127.0.0.1", 1)
    links = {"left->right": LabLink("left->right", "127.0.0.1", 2)}
    lab = Lab(tmp_path / "my.yaml", "demo", make_key(), True, "tc", {"left": target}, links, ("A note: so.",))
    key_path = save_lab(lab)
    assert load_lab(lab.path) == lab
    assert stat.S_IMODE(key_path.stat().st_mode) == 0o600
    assert sorted(p.name for p in tmp_path.iterdir()) == ["my.key", "my.yaml"]


_MCU_TEXT = """\
schema: edgecut/lab/1
system: mcu-emulated
key_file: lab.key
targets:
  head:
    driver: serial-mcu
    port: /dev/ttyACM0
    uid: 32003A000D
    flasher: {kind: pyocd, image: fw.elf, target: stm32f405rg, device: 0671}
  middle: {driver: serial-mcu, port: /dev/ttyACM1, uid: 33, baud: 921600}
  tail: {driver: serial-mcu, port: "socket://10.0.0.2:4001", uid: 34}
wires:
  - {boards: [head, middle], uarts: [2, 1], baud: 460800}
"""


@pytest.fixture
def mcu_lab_file(lab_file: Path) -> Path:
    lab_file.write_text(_MCU_TEXT)
    return lab_file


def test_serial_boards_and_wires_are_read_and_saved(mcu_lab_file: Path) -> None:
    lab = load_lab(mcu_lab_file)
    flasher = Flasher("pyocd", Path("fw.elf"), target="stm32f405rg", device="0671")
    assert lab.targets["head"].serial == SerialLine("/dev/ttyACM0", "32003a000d", 115200, flasher)
    assert lab.targets["middle"].serial == SerialLine("/dev/ttyACM1", "33", 921600)
    assert lab.wires == (LabWire(("head", "middle"), (2, 1), 460800),)
    wire = lab.wire("middle", "head")
    assert wire is not None
    assert (wire.uart_of("head"), wire.uart_of("middle"), lab.wire("head", "tail")) == (2, 1, None)
    load_lab_system(lab)
    save_lab(lab)
    assert load_lab(mcu_lab_file) == lab


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("uid: 33, ", "", "key 'uid' is missing"),
        ("uarts: [2, 1]", "uarts: [2]", "two boards and the UART of each"),
        ("uarts: [2, 1]", "uarts: [2, x]", "whole number"),
        ("kind: pyocd", "kind: jlink", "esptool or pyocd"),
        ("baud: 921600", "host: there", "unknown key 'host'"),
    ],
)
def test_wrong_serial_boards_are_refused(mcu_lab_file: Path, old: str, new: str, complaint: str) -> None:
    assert old in _MCU_TEXT
    mcu_lab_file.write_text(_MCU_TEXT.replace(old, new))
    with pytest.raises(LabError, match=complaint):
        load_lab(mcu_lab_file)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("boards: [head, middle], uarts: [2, 1]", "boards: [head, middle], uarts: [0, 1]", "UART 0 of board head"),
        ("boards: [head, middle]", "boards: [head, midle]", "microcontroller boards"),
        ("baud: 460800}", "baud: 460800}\n  - {boards: [middle, tail], uarts: [1, 1]}", "UART 1 of board middle"),
    ],
)
def test_wires_that_cannot_be_are_refused(mcu_lab_file: Path, old: str, new: str, complaint: str) -> None:
    assert old in _MCU_TEXT
    mcu_lab_file.write_text(_MCU_TEXT.replace(old, new))
    with pytest.raises(LabError, match=complaint):
        load_lab_system(load_lab(mcu_lab_file))


def test_key_never_shows(lab_file: Path) -> None:
    assert "\\xab" not in repr(load_lab(lab_file))


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ("edgecut/lab/1", "edgecut/lab/9", ["lab.yaml:1, schema", "expected edgecut/lab/1"]),
        ("system: demo\n", "", ["key 'system' is missing"]),
        ("shaping: relay", "shaping: tk", ["lab.yaml:5, shaping", "tc or relay or none", "got tk"]),
        ("emulated: true", "emulated: maybe", ["lab.yaml:4, emulated", "got maybe"]),
        ("port: 41001", "port: 0", ["lab.yaml:7, targets.left.port", "from 1 to 65535", "got 0"]),
        ("port: 41001", "port: 70000", ["targets.left.port", "got 70000"]),
        ("port: 41001", "port: x", ["targets.left.port", "got x"]),
        ("host: 127.0.0.1, port: 41001", "port: 41001", ["targets.left", "key 'host' is missing"]),
        ("driver: network_agent, host: 127.0.0.1, port: 41001", "driver: agent, host: h, port: 1", ["driver"]),
        ("emulated: true", "emulatd: true", ["unknown key 'emulatd'", "Did you mean 'emulated'?"]),
        ("links:", "links: 7 #", ["not readable as YAML"]),
        ("key_file: lab.key", "key_file: other.key", ["lab.yaml:3, key_file", "cannot be read", "openssl"]),
        ("key_file: lab.key", "key_file: [a]", ["lab.yaml:3, key_file", "not a text", "a list"]),
        (_TEXT[_TEXT.index("targets") :], "targets: {}\n", ["lab.yaml:6, targets", "no targets"]),
        (_TEXT[_TEXT.index("targets") :], "targets: 3\n", ["not a mapping"]),
    ],
)
def test_fault_names_place_expected_and_got(lab_file: Path, old: str, new: str, parts: list[str]) -> None:
    assert old in _TEXT
    lab_file.write_text(_TEXT.replace(old, new, 1))
    with pytest.raises(LabError) as error:
        load_lab(lab_file)
    for part in parts:
        assert part in str(error.value)
    assert "\n" not in str(error.value)


def test_missing_lab_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(LabError, match=r"nowhere\.yaml.*hil emulate"):
        load_lab(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_key_open_to_others_is_refused(lab_file: Path, mode: int) -> None:
    (lab_file.parent / "lab.key").chmod(mode)
    with pytest.raises(LabError, match=rf"mode 0600; got mode 0{mode:o}.*chmod 600"):
        load_lab(lab_file)


@pytest.mark.parametrize("text", ["", "ab" * 31, "not a key at all", "ab" * 31 + "zz"])
def test_unusable_key_is_refused_and_not_quoted(lab_file: Path, text: str) -> None:
    (lab_file.parent / "lab.key").write_text(text)
    with pytest.raises(LabError, match="no usable key") as error:
        load_lab(lab_file)
    assert not text or text not in str(error.value)


def test_board_without_a_target_is_named(lab_file: Path) -> None:
    lab = load_lab(lab_file)
    with pytest.raises(LabError, match=r"no target for board 'right'.*left, right; got left"):
        check_lab(replace(lab, targets={"left": lab.targets["left"]}), load_system("demo"))


def test_target_and_link_that_the_system_does_not_have_are_named(lab_file: Path) -> None:
    lab, system = load_lab(lab_file), load_system("demo")
    with pytest.raises(LabError, match=r"'rigth' is no board.*Did you mean 'right'"):
        check_lab(replace(lab, targets=lab.targets | {"rigth": lab.targets["left"]}), system)
    with pytest.raises(LabError, match="'left->nowhere' is no link"):
        check_lab(replace(lab, links={"left->nowhere": LabLink("left->nowhere", "h", 1)}), system)


def test_system_path_is_relative_to_the_lab_file(lab_file: Path) -> None:
    source = Path(load_system.__code__.co_filename).parent / "systems" / "demo.yaml"
    (lab_file.parent / "bench.yaml").write_text(source.read_text().replace("name: demo", "name: bench"))
    lab_file.write_text(_TEXT.replace("system: demo", "system: bench.yaml"))
    assert load_lab_system(load_lab(lab_file)).name == "bench"


def test_lab_that_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    lab = Lab(tmp_path / "file" / "lab.yaml", "demo", make_key(), True, "none", {})
    with pytest.raises(LabError, match="cannot be written"):
        save_lab(lab)
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
