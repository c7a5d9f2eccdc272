"""Facts of one lab as frozen values: where the agents listen, and the key they share.

`hil.lab` reads lab.yaml into these; everything else takes them as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

__all__ = ["Lab", "LabLink", "LabTarget", "Shaping"]

Shaping = Literal["tc", "relay", "none"]


@dataclass(frozen=True)
class LabTarget:
    """One board of the lab: which driver speaks to it, and where."""

    name: str
    """Board name of the system; the agent behind the address must report the same one."""
    driver: str
    """Key of `hil.targets.DRIVERS`."""
    host: str
    port: int


@dataclass(frozen=True)
class LabLink:
    """Where the sending board connects for one directed link (a relay that paces, say)."""

    link: str
    """Link name of the system: "left->right"."""
    host: str
    port: int


@dataclass(frozen=True)
class Lab:
    """A lab file, read and checked.

    ``links`` holds only the links whose address differs from the receiving target's own.
    """

    path: Path
    system: str
    """Name of a ready system or path of a system file, as the lab file gives it."""
    key: bytes = field(repr=False)
    """Shared secret of all agents of the lab; never printed, never sent."""
    emulated: bool
    shaping: Shaping
    targets: Mapping[str, LabTarget]
    links: Mapping[str, LabLink] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """What the reader of a result should know of this lab: what its emulation leaves out, say."""

    def link_address(self, link: str, receiving_board: str) -> tuple[str, int]:
        """Host and port where the sending board connects for a link; KeyError for an unknown board."""
        special = self.links.get(link)
        if special is not None:
            return special.host, special.port
        target = self.targets[receiving_board]
        return target.host, target.port
