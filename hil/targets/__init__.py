"""Drivers: how the bench speaks to boards. `DRIVERS` is the whole list."""

from __future__ import annotations

from hil.errors import LabError
from hil.lab_types import Lab
from hil.targets.network_agent import NetworkAgent

__all__ = ["DRIVERS", "connect_target"]

DRIVERS: dict[str, type[NetworkAgent]] = {"network_agent": NetworkAgent}
"""Driver classes by the name that lab.yaml uses."""


def connect_target(lab: Lab, board: str) -> NetworkAgent:
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
