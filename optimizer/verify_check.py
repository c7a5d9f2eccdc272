"""One promise of a plan file, and whether it is kept."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Check", "check_of"]

_SHOWN = 5


@dataclass(frozen=True)
class Check:
    """One promise of the file. ``holds`` None: not re-checked, and ``text`` says why."""

    name: str
    holds: bool | None
    text: str


def check_of(name: str, faults: Iterable[str], fine: str) -> Check:
    """A check that holds where there is no fault."""
    found = list(faults)
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return Check(name, not found, "; ".join(found[:_SHOWN]) + more if found else fine)
