"""Images into the slots of boards: what is sent, what is not, what is refused before anything is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from boards.catalog import load_system
from firmware_interface.board_messages import SlotPhase
from hil.cli import run
from hil.errors import BundleError, WrongBoardError
from hil.flash import flash
from hil.lab_types import Lab
from hil.targets import connect_mcu
from tests.hil.mcu_bench import bundle_of, played

MODEL = "zoo:tiny_digits_int8"


@pytest.fixture
def lab(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    with played(monkeypatch) as found:
        yield found


def test_what_is_there_is_not_sent_again(lab: Lab, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "b", MODEL, ["head", "middle", "tail"])
    first = flash(bundle.directory, lab)
    assert [f.board for f in first] == ["head", "middle", "tail"]
    assert all(f.sent_bytes == f.size_bytes for f in first)
    again = flash(bundle.directory, lab)
    assert [(f.sent_bytes, f.sha256) for f in again] == [(0, f.sha256) for f in first]


def test_a_transfer_that_was_broken_off_goes_on(lab: Lab, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "b", "zoo:tiny_resnet8_int8", ["head"])

    def kill(board: str, done: int, size: int) -> None:
        if done > size // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        flash(bundle.directory, lab, progress=kill)
    (found,) = flash(bundle.directory, lab)
    assert found.size_bytes // 2 < found.resumed_at_bytes < found.size_bytes
    assert found.sent_bytes < found.size_bytes // 2
    with connect_mcu(lab, "head") as board:
        assert board.client.slot().sha256.hex() == found.sha256
        board.client.load(bytes.fromhex(found.sha256))


def test_a_model_that_does_not_fit_is_refused_before_a_byte_is_sent(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle = bundle_of(tmp_path / "b", "zoo:tiny_resnet8_int8", ["head"])
    small = tmp_path / "small.yaml"
    board = "{use: mps2-an386, ram: 192KiB, flash: 100KiB}"
    small.write_text(
        "schema: edgecut/system/1\nname: small\ndescription: One small board.\n"
        f"boards:\n  head: {board}\n  middle: {board}\n  tail: {board}\n"
        "links:\n  - {between: [head, middle], medium: uart-115200}\n"
        "  - {between: [middle, tail], medium: uart-115200}\nsource: head\nsink: tail\n"
    )
    with played(monkeypatch, small) as lab:
        with pytest.raises(BundleError, match="does not fit board head: image") as caught:
            flash(bundle.directory, lab)
        assert "36864 bytes" in caught.value.expected
        with connect_mcu(lab, "head") as session:
            assert session.client.slot().state == SlotPhase.EMPTY


def test_a_board_of_another_type_is_refused(lab: Lab, tmp_path: Path) -> None:
    bundle = bundle_of(tmp_path / "b", MODEL, ["head"])
    with pytest.raises(WrongBoardError, match=r"firmware of a posix, and the system says mps2-an386"):
        flash(bundle.directory, replace(lab, emulated=False))


def test_without_microcontrollers_there_is_nothing_to_flash(tmp_path: Path, lab: Lab) -> None:
    bundle = bundle_of(tmp_path / "b", MODEL, ["head"])
    agents = {name: replace(target, serial=None) for name, target in lab.targets.items()}
    with pytest.raises(BundleError, match="no board of this plan is flashed"):
        flash(bundle.directory, replace(lab, targets=agents, wires=()))


def test_command_says_what_it_did(lab: Lab, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = bundle_of(tmp_path / "b", MODEL, ["head", "tail"], system=load_system("mcu-emulated"))
    assert run(["flash", str(bundle.directory), "--lab", str(lab.path), "--json"]) == 0
    out, err = capsys.readouterr()
    boards = json.loads(out)["boards"]
    assert [b["board"] for b in boards] == ["head", "tail"]
    assert all(b["sent_bytes"] == b["size_bytes"] > 0 for b in boards)
    assert "flashing head" in err
    assert run(["flash", str(bundle.directory), "--lab", str(lab.path), "--base"]) == 2
    assert "no flasher for the base firmware" in capsys.readouterr().err


def test_discover_tells_boards_by_their_chips(lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["discover", "--lab", str(lab.path), "--json"]) == 0
    boards = json.loads(capsys.readouterr().out)["boards"]
    assert [boards[name]["uid"] for name in ("head", "middle", "tail")] == [f"{n:016x}" for n in (1, 2, 3)]
    assert {facts["board"] for facts in boards.values()} == {"posix"}
