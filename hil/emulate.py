"""Emulated boards: one process a board, joined as the system's links say.

Linux boards are agents, each pinned to a core; microcontroller boards are those of `hil.emulate_mcu`. Three ways to
join agents. "tc": each agent in a network namespace, a virtual cable a link, slowed down by the kernel (root on
Linux). "relay": agents on loopback, links slower than that pass through a process of ours that paces bytes. "none":
loopback as it is. Whatever happens to the starter, nothing stays: its processes end with it, namespaces end with
their agents.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from boards.board import System
from boards.catalog import load_system
from hil.emulate_choices import (
    RequestedShaping,
    choose_cores,
    choose_shaping,
    is_slower_than_loopback,
    payload_bytes_per_s,
)
from hil.emulate_mcu import McuBoards, is_mcu
from hil.emulate_processes import Child, private_directory, remove_leftovers
from hil.errors import EmulationError, LabError
from hil.lab import load_lab, make_key, save_key, save_lab
from hil.lab_types import Lab, LabLink, LabTarget
from hil.netns import ControlNetwork, await_namespace, connect, in_new_namespace
from hil.relay import RelayRoute, save_routes

__all__ = ["Emulation", "agent_command", "emulate"]

_LOOPBACK = "127.0.0.1"
_START_TIMEOUT_S = 30.0


@contextmanager
def emulate(
    system: System | str | Path,
    *,
    shaping: RequestedShaping = "auto",
    cores: Sequence[int] | None = None,
    lab_out: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> Iterator[Lab]:
    """Run the boards of a system as agents on this machine while the context lasts; yields their lab.

    ``system`` is a system, or the name or path of one; ``cores`` the cores to pin agents to, in turn
    (default: all this process may use); ``lab_out`` where the lab file goes (default: a private directory).
    The lab file is removed at the end. ``progress`` is told each step. Raises EmulationError.
    """
    with Emulation(system, shaping=shaping, cores=cores, lab_out=lab_out, progress=progress) as emulation:
        yield emulation.lab


class Emulation:
    """Running emulated boards, see :func:`emulate`. A context manager; inside it, ``lab`` is there."""

    lab: Lab
    """Where the boards are reached; there once the emulation is entered."""

    def __init__(
        self,
        system: System | str | Path,
        *,
        shaping: RequestedShaping = "auto",
        cores: Sequence[int] | None = None,
        lab_out: Path | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        self._system = system if isinstance(system, System) else load_system(system)
        self._reference = system.name if isinstance(system, System) else _reference(system)
        agents = _agents_of(self._system)
        if len(agents.boards) < len(self._system.boards):
            shaping = _beside_mcus(agents, shaping)
        self._shaping, shaping_notes = choose_shaping(agents, shaping)
        self._boards = [board.name for board in agents.boards]
        self._links = agents.links
        self._cores, core_notes = choose_cores(len(self._system.boards), cores)
        self._notes: tuple[str, ...] = (*shaping_notes, *core_notes)
        self._mcus: McuBoards | None = None
        self._lab_out = lab_out
        self.tell = progress or (lambda _: None)
        self.children: list[Child] = []
        """The processes; the relay, if there is one, last."""
        self._directory: Path | None = None
        self._files: list[Path] = []

    def __enter__(self) -> Emulation:
        try:
            self._start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End all processes and remove all files. May be called at any time, more than once."""
        if self._mcus is not None:
            self._mcus.close()
        for child in self.children:
            child.ask_to_stop()
        while self.children:
            self.children.pop().stop()
        for path in self._files:
            path.unlink(missing_ok=True)
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def check(self) -> None:
        """Raise EmulationError if a process has ended by itself."""
        for child in self.children:
            code = child.exit_code()
            if code is not None:
                raise child.failure("to run until the emulation ends", f"its end with exit code {code}")

    def process_ids(self) -> dict[str, int]:
        """Process id by board name; the relay, if there is one, is "relay"."""
        return {child.name: child.pid for child in self.children}

    def _start(self) -> None:
        remove_leftovers()
        self._directory = directory = private_directory()
        path = (self._lab_out or directory / "lab.yaml").absolute()
        _refuse_to_overwrite(path)
        key = make_key()
        # The agents' own copy: it must not vanish with a lab file that the user moves.
        save_key(directory / "agents.key", key)
        if self._shaping == "tc":
            targets, links = self._join_namespaces(self._start_agents("0.0.0.0", in_namespaces=True))
        else:
            targets = self._start_agents(_LOOPBACK, in_namespaces=False)
            links = self._start_relay(targets) if self._shaping == "relay" else {}
        mcus = self._start_mcus()
        targets |= mcus.targets
        self._notes = (*self._notes, *mcus.notes)
        ordered = {board.name: targets[board.name] for board in self._system.boards}
        self.lab = Lab(path, self._reference, key, True, self._shaping, ordered, links, self._notes, mcus.wires)
        self._files = [path, path.with_suffix(".key")]
        save_lab(self.lab)
        for note in self._notes:
            self.tell(note)

    def _start_mcus(self) -> McuBoards:
        assert self._directory is not None
        self._mcus = McuBoards(self._system, self._directory, lambda text: self.tell(text))
        if any(is_mcu(board) for board in self._system.boards):
            self._mcus.start(self.children, ())
        return self._mcus

    def _start_agents(self, host: str, *, in_namespaces: bool) -> dict[str, LabTarget]:
        """Start all agents, then wait for all; targets with the port that each reports."""
        assert self._directory is not None
        for index, name in enumerate(self._boards):
            core = self._cores[index % len(self._cores)] if self._cores else None
            where = "" if core is None else f" on core {core}"
            self.tell(f"Starting board {name}{where}")
            command = agent_command(name, host, self._directory)
            if in_namespaces:
                command = in_new_namespace(command)
            self.children.append(Child(name, command, self._directory / f"{index}.log", core))
        targets: dict[str, LabTarget] = {}
        for child in self.children:
            ready = child.hear("a line that says where it listens", _START_TIMEOUT_S)
            targets[child.name] = LabTarget(child.name, "network_agent", host, int(ready["port"]))
        return targets

    def _join_namespaces(self, listening: dict[str, LabTarget]) -> tuple[dict[str, LabTarget], dict[str, LabLink]]:
        """Cable the agents to the host and, shaped, to one another; where they are reached now."""
        self.tell("Joining the boards with virtual cables")
        pids = self.process_ids()
        control = ControlNetwork()
        targets: dict[str, LabTarget] = {}
        for index, (name, target) in enumerate(listening.items()):
            await_namespace(pids[name])
            targets[name] = replace(target, host=control.attach(pids[name], index))
        links: dict[str, LabLink] = {}
        for index, link in enumerate(self._links):
            rate = payload_bytes_per_s(link)
            address = connect(pids[link.source], pids[link.target], index, rate)
            links[link.name] = LabLink(link.name, address, listening[link.target].port)
        return targets, links

    def _start_relay(self, targets: dict[str, LabTarget]) -> dict[str, LabLink]:
        """Start the relay for the links that need one; where senders connect for these."""
        assert self._directory is not None
        routes = [
            RelayRoute(
                link.name,
                link.medium,
                payload_bytes_per_s(link),
                link.latency_s,
                targets[link.target].host,
                targets[link.target].port,
            )
            for link in self._links
            # Towards a switch nobody listens; senders connect for the link out of it, a board's ingress.
            if is_slower_than_loopback(link) and link.target in targets
        ]
        if not routes:
            return {}
        self.tell(f"Starting the relay for {len(routes)} link(s)")
        path = self._directory / "routes.json"
        save_routes(path, routes)
        command = [sys.executable, "-m", "hil.relay", str(path)]
        relay = Child("relay", command, self._directory / "relay.log")
        self.children.append(relay)
        ports = relay.hear("its ports", _START_TIMEOUT_S)["ports"]
        return {r.link: LabLink(r.link, r.listen_host, int(ports[r.link])) for r in routes}


def agent_command(board: str, host: str, directory: Path) -> list[str]:
    """The command line of one agent: any free port, the emulation's key, ends with its starter."""
    return [
        *(sys.executable, "-m", "hil.agent_cli", "--name", board, "--bind", host, "--port", "0"),
        *("--key-file", str(directory / "agents.key"), "--exit-with-parent", str(os.getpid())),
    ]


def _beside_mcus(agents: System, shaping: RequestedShaping) -> RequestedShaping:
    """Agents in namespaces of their own could not reach the host, which stands in for microcontroller boards."""
    if shaping == "tc":
        raise EmulationError(
            "agents beside microcontroller boards cannot be put into network namespaces",
            where="--shaping tc",
            expected="auto, relay or none",
            got="tc",
        )
    return "relay" if shaping == "auto" and choose_shaping(agents, shaping)[0] == "tc" else shaping


def _agents_of(system: System) -> System:
    """What agents play of a system: their boards, and the links between these and switches."""
    boards = tuple(board for board in system.boards if not is_mcu(board))
    known = {board.name for board in boards} | set(system.switches)
    links = tuple(link for link in system.links if {link.source, link.target} <= known)
    return replace(system, boards=boards, links=links)


def _reference(system: str | Path) -> str:
    """How a lab file refers to the system: its name, or its absolute path."""
    path = Path(system).expanduser()
    return str(path.absolute()) if path.is_file() else str(system)


def _refuse_to_overwrite(path: Path) -> None:
    """Only the file of another emulation (one that was killed) may be replaced."""
    for existing in (path, path.with_suffix(".key")):
        if existing.exists() and not _is_emulated_lab(path):
            raise EmulationError(
                "a file of that name is there already, and it is not an emulation's",
                where=str(existing),
                expected="a free name: the file is removed when the emulation ends",
                got="an existing file",
                hint="Choose another --lab-out.",
            )


def _is_emulated_lab(path: Path) -> bool:
    try:
        return load_lab(path).emulated
    except LabError:
        return False
