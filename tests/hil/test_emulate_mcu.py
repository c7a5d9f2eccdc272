"""Emulated microcontroller boards: how UARTs are joined, and boards without an emulator."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from boards.catalog import load_system
from hil.emulate import Emulation, emulate
from hil.emulate_mcu import wires_of
from hil.errors import EmulationError, WrongBoardError
from hil.lab import load_lab, load_lab_system
from hil.lab_types import LabWire
from hil.targets import connect_mcu, connect_target
from tests.needs import needs_program


def test_a_row_is_wired_as_a_row() -> None:
    wires = wires_of(load_system("mcu-emulated"))
    assert wires == (LabWire(("head", "middle"), (2, 1), 38400), LabWire(("middle", "tail"), (2, 1), 38400))


def test_what_finds_no_uart_goes_through_the_host() -> None:
    system = load_system("mcu-emulated")
    hub = system.links[0]
    more = tuple(replace(system.boards[0], name=name) for name in ("b", "c", "d"))
    star = tuple(replace(hub, name=f"head->{b.name}", target=b.name) for b in more)
    wires = wires_of(replace(system, boards=(system.boards[0], *more), links=star))
    assert [wire.boards for wire in wires] == [("head", "b"), ("head", "c")]
    assert {wire.uart_of("head") for wire in wires} == {1, 2}


def test_agents_have_no_wires() -> None:
    assert wires_of(load_system("demo")) == ()


def _without_qemu(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A PATH that holds everything but the emulator."""
    for directory in reversed(os.environ["PATH"].split(os.pathsep)):
        for program in Path(directory).glob("*"):
            link = folder / program.name
            if program.name != "qemu-system-arm" and not link.exists() and not link.is_symlink():
                link.symlink_to(program)
    monkeypatch.setenv("PATH", str(folder))


def test_without_an_emulator_boards_are_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needs_program("make", "apt-get install make")
    needs_program("cc", "apt-get install gcc libc6-dev")
    (tmp_path / "bin").mkdir()
    _without_qemu(tmp_path / "bin", monkeypatch)
    monkeypatch.delenv("CI", raising=False)
    with emulate("mcu-emulated", lab_out=tmp_path / "lab.yaml") as lab:
        assert any("qemu" in note for note in lab.notes)
        assert load_lab(lab.path) == lab
        load_lab_system(lab)
        for number, name in enumerate(lab.targets):
            with connect_mcu(lab, name) as board:
                assert (board.facts.board, board.facts.uid) == ("posix", f"{number + 1:016x}")
        line = lab.targets["head"].serial
        assert line is not None
        other = replace(lab.targets["tail"], serial=replace(line, uid="ff"))
        with pytest.raises(WrongBoardError, match="has the number 0000000000000001, not ff"):
            connect_target(replace(lab, targets={"tail": other}), "tail")
    assert not (tmp_path / "lab.yaml").exists()


def test_on_a_build_server_the_emulator_must_be_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    _without_qemu(tmp_path / "bin", monkeypatch)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(EmulationError, match="apt-get install qemu-system-arm"), emulate("mcu-emulated"):
        pass


def test_agents_beside_microcontrollers_share_the_hosts_network(tmp_path: Path) -> None:
    path = tmp_path / "mixed.yaml"
    path.write_text(
        "schema: edgecut/system/1\nname: mixed\ndescription: Two large boards and a small one.\n"
        "boards:\n  small: {use: mps2-an386}\n  a: {use: local-core}\n  b: {use: local-core}\n"
        "links:\n  - {between: [small, a], medium: uart-38400}\n  - {between: [a, b], medium: ethernet-100m}\n"
        "source: small\nsink: b\n"
    )
    with pytest.raises(EmulationError, match="cannot be put into network namespaces"):
        Emulation(path, shaping="tc")
    assert Emulation(path)._shaping == "relay"
