"""Real agents as processes, and the lab that they make."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from firmware_interface.keys import read_key, write_key
from hil.lab_types import Lab, LabTarget
from hil.targets import connect_target
from tests.waiting import PATIENCE_S, wait_for

BOARDS = ("a", "b", "c")


class AgentProcess:
    """A real agent, started as a process of its own."""

    def __init__(self, name: str, key_file: Path, *, arguments: Sequence[str] = ()) -> None:
        command = [sys.executable, "-m", "hil.agent_cli", "--name", name, "--key-file", str(key_file)]
        command += ["--exit-with-parent", str(os.getpid()), *arguments]
        self.name = name
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
            env={**os.environ, "PYTHONFAULTHANDLER": "1"},
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"agent {name} did not start: {self.stop()}")
        self.ready: dict[str, Any] = json.loads(line)

    @property
    def target(self) -> LabTarget:
        return LabTarget(self.name, "network_agent", self.ready["host"], self.ready["port"])

    def stop(self) -> str:
        """Terminate and return what it wrote to its standard error."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            _, errors = self.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired as error:
            self.process.send_signal(signal.SIGABRT)  # makes it print what its threads are at
            _, errors = self.process.communicate()
            raise RuntimeError(f"agent {self.name} does not stop: {errors}") from error
        return errors


@contextmanager
def lab_of(folder: Path, names: Sequence[str]) -> Iterator[tuple[Lab, dict[str, AgentProcess]]]:
    """Agents of these names, and the lab that they make."""
    key_file = folder / "lab.key"
    write_key(key_file)
    with ExitStack() as stack:
        agents: dict[str, AgentProcess] = {}
        for name in names:
            agents[name] = AgentProcess(name, key_file)
            stack.callback(agents[name].stop)
        targets = {name: agent.target for name, agent in agents.items()}
        lab = Lab(folder / "lab.yaml", "sample", read_key(key_file), True, "none", targets)
        yield lab, agents


def states(lab: Lab) -> dict[str, str]:
    """What the boards say they are: idle, held, loaded, running."""
    found: dict[str, str] = {}
    for name in lab.targets:
        with connect_target(lab, name) as board:
            found[name] = board.identify().facts["state"]
    return found


def wait_idle(lab: Lab) -> None:
    """Return once every board is free again."""
    wait_for(lambda: set(states(lab).values()) == {"idle"}, lambda: states(lab))
