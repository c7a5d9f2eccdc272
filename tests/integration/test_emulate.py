"""Emulated boards as real processes: they run, their links are as slow as asked, and nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from boards.catalog import load_system
from hil.emulate import Emulation, emulate
from hil.emulate_choices import RequestedShaping, payload_bytes_per_s
from hil.errors import EmulationError
from hil.lab import load_lab, load_lab_system
from hil.lab_types import Lab
from hil.targets import connect_target
from tests.needs import needs_root
from tests.waiting import PATIENCE_S, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.timeout(300)]


@pytest.fixture(autouse=True)
def _own_runtime_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))


@pytest.fixture(params=["tc", "relay", "none"])
def shaping(request: pytest.FixtureRequest) -> RequestedShaping:
    if request.param == "tc":
        needs_root()
    return request.param  # type: ignore[no-any-return]


def _runtime_files() -> list[Path]:
    return sorted(Path(os.environ["XDG_RUNTIME_DIR"]).glob("edgecut-*"))


def _devices(pid: int | None = None) -> set[str]:
    """Host ends of the control cables of emulations that this process, or another, has started."""
    return {p.name for p in Path("/sys/class/net").glob(f"ec{os.getpid() if pid is None else pid:x}.*")}


def _await_nothing_left(pids: list[int], starter: int | None = None) -> None:
    """All processes and network devices gone; namespaces go with their last process, a moment later."""
    wait_for(
        lambda: not any(map(_alive, pids)) and not _devices(starter),
        lambda: f"left behind: of processes {pids} {[*filter(_alive, pids)]}, devices {_devices(starter)}",
    )


def _alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _check_boards(lab: Lab) -> None:
    for name in lab.targets:
        with connect_target(lab, name) as target:
            assert target.identify().board == name


def test_boards_answer_and_nothing_is_left(shaping: RequestedShaping) -> None:
    with Emulation("demo", shaping=shaping) as emulation:
        assert emulation.lab.shaping == shaping
        assert load_lab(emulation.lab.path) == emulation.lab
        assert load_lab_system(emulation.lab) == load_system("demo")
        _check_boards(emulation.lab)
        pids = list(emulation.process_ids().values())
        assert bool(_devices()) == (shaping == "tc")
        emulation.check()
        assert len(_runtime_files()) == 1
    _await_nothing_left(pids)
    assert _runtime_files() == []


def test_each_board_has_a_core_of_its_own() -> None:
    cores = sorted(os.sched_getaffinity(0))
    with Emulation("demo", shaping="none") as emulation:
        pids = emulation.process_ids()
        assert os.sched_getaffinity(pids["left"]) == {cores[0]}
        assert os.sched_getaffinity(pids["right"]) == {cores[1 % len(cores)]}
    assert sorted(os.sched_getaffinity(0)) == cores  # our own pinning was for a moment


@pytest.mark.parametrize("shaping", ["tc", "relay"], indirect=True)
def test_link_has_the_rate_of_the_system_file(shaping: RequestedShaping) -> None:
    """Never faster; and as fast within a minute at least once, for a busy machine is slower now and then."""
    link = load_system("demo").links[0]
    wanted = payload_bytes_per_s(link)
    rates: list[float] = []

    def reached() -> bool:
        probe = left.probe_link(link.name, "right", lab.link_address(link.name, "right"), sizes=(0,), repeats=5)
        rates.append(probe.burst_bytes / probe.burst_receive_ns * 1e9)
        # An empty message does not wait for anything.
        return rates[-1] > 0.94 * wanted and min(probe.round_trip_ns[0]) < 10e6

    with emulate("demo", shaping=shaping) as lab, connect_target(lab, "left") as left:
        wait_for(reached, lambda: f"expected {wanted:g} B/s, got {rates}")
    assert max(rates) < 1.06 * wanted


def test_two_emulations_at_once_do_not_meet(shaping: RequestedShaping) -> None:
    with emulate("demo", shaping=shaping) as one, emulate("demo", shaping=shaping) as two:
        assert one.key != two.key
        _check_boards(one)
        _check_boards(two)


def test_emulation_inside_a_crashing_block_is_cleaned_up(shaping: RequestedShaping) -> None:
    with pytest.raises(ZeroDivisionError), Emulation("demo", shaping=shaping) as emulation:
        pids = list(emulation.process_ids().values())
        _ = 1 / 0
    _await_nothing_left(pids)
    assert _runtime_files() == []


_STARTER = """
    import sys, time
    from hil.emulate import Emulation
    with Emulation("demo", shaping=sys.argv[1]) as emulation:
        print(*emulation.process_ids().values(), flush=True)
        time.sleep(600)
"""


@contextmanager
def _starter(shaping: str) -> Iterator[tuple[subprocess.Popen[str], list[int]]]:
    command = [sys.executable, "-c", textwrap.dedent(_STARTER), shaping]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield process, [int(pid) for pid in process.stdout.readline().split()]
        process.kill()


def test_killing_the_starter_leaves_no_process_and_no_cable(shaping: RequestedShaping) -> None:
    with _starter(shaping) as (process, pids):
        assert len(pids) >= 2
        assert bool(_devices(process.pid)) == (shaping == "tc")
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE_S)
        _await_nothing_left(pids, process.pid)
    # Its directory with the key could not be removed; the next emulation does that.
    assert len(_runtime_files()) == 1
    with emulate("demo", shaping="none"):
        assert len(_runtime_files()) == 1
    assert _runtime_files() == []


def test_directory_of_a_living_emulation_stays() -> None:
    with _starter("none"):
        with emulate("demo", shaping="none"):
            assert len(_runtime_files()) == 2
        assert len(_runtime_files()) == 1


def test_death_of_a_board_is_noticed_and_named() -> None:
    with Emulation("demo", shaping="none") as emulation:
        os.kill(emulation.process_ids()["right"], signal.SIGKILL)
        with pytest.raises(EmulationError, match=r"right.*exit code -9"):
            wait_for(emulation.check, "nothing is noticed")  # it returns nothing, until it raises


def test_lab_file_goes_where_told_and_goes_away(tmp_path: Path) -> None:
    path = tmp_path / "here" / "lab.yaml"
    with emulate("demo", shaping="none", lab_out=path) as lab:
        assert lab.path == path
        assert load_lab(path) == lab
    assert list(path.parent.iterdir()) == []


def test_foreign_lab_file_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text("precious: true\n")
    with pytest.raises(EmulationError, match=r"lab\.yaml.*not an emulation's"), emulate("demo", lab_out=path):
        pytest.fail("started")
    assert path.read_text() == "precious: true\n"
    assert _runtime_files() == []
