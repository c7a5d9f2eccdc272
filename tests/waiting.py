"""Waiting for conditions: a test waits for what it needs, however slow or busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["PATIENCE_S", "wait_for"]

PATIENCE_S = 60.0
"""How long a test waits for what comes at once on an idle machine: long enough never to be what is tested."""

_LOOK_S = 0.02


def wait_for(
    condition: Callable[[], object], complaint: str | Callable[[], object], patience_s: float = PATIENCE_S
) -> None:
    """Return once ``condition`` holds; fail with ``complaint`` when it does not within ``patience_s``."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(complaint if isinstance(complaint, str) else complaint())
        time.sleep(_LOOK_S)
