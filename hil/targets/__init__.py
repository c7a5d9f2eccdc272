"""Drivers: how the bench speaks to boards. `DRIVERS` is the whole list."""

from __future__ import annotations

from hil.errors import LabError
from hil.lab_types import Lab
from hil.targets.network_agent import NetworkAgent
from hil.targets.serial_mcu import SerialMcu

__all__ = ["DRIVERS", "SERIAL_MCU", "connect_agent", "connect_mcu", "connect_target"]

SERIAL_MCU = "serial-mcu"
DRIVERS: dict[str, type[NetworkAgent] | type[SerialMcu]] = {"network_agent": NetworkAgent, SERIAL_MCU: SerialMcu}
"""Driver classes by the name that lab.yaml uses."""


def connect_agent(lab: Lab, board: str) -> NetworkAgent:
    """Connect to a board that runs the agent. Raises as `connect_target`."""
    found = connect_target(lab, board)
    if isinstance(found, NetworkAgent):
        return found
    found.close()
    raise LabError(f"board {board} runs no agent", where=str(lab.path), expected="driver network_agent")


def connect_mcu(lab: Lab, board: str) -> SerialMcu:
    """Connect to a microcontroller board. Raises as `connect_target`."""
    found = connect_target(lab, board)
    if isinstance(found, SerialMcu):
        return found
    found.close()
    raise LabError(f"board {board} is no microcontroller board", where=str(lab.path), expected=f"driver {SERIAL_MCU}")


def connect_target(lab: Lab, board: str) -> NetworkAgent | SerialMcu:
    """Connect to a board of the lab. Raises LabError when the lab has none of that name, DeviceError."""
    target = lab.targets.get(board)
    if target is None:
        raise LabError(
            f"the lab has no board {board}",
            where=str(lab.path),
            expected=f"one of {', '.join(sorted(lab.targets))}",
            hint="Add it under targets: in the lab file.",
        )
    driver = DRIVERS.get(target.driver)
    if driver is None:
        raise LabError(
            f"unknown driver of board {board}",
            where=str(lab.path),
            expected=f"one of {', '.join(sorted(DRIVERS))}",
            got=target.driver,
        )
    return driver(target, lab.key)
