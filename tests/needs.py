"""What a test needs of the machine.

Where it is missing the test is skipped with the line that installs it; with CI=true it fails instead.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from typing import NoReturn

import pytest

__all__ = ["needs_chromium", "needs_package", "needs_program", "needs_qemu", "needs_root"]

_CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def needs_root() -> None:
    """Go on only where network namespaces and traffic shaping may be set up: as root, with iproute2."""
    needs_program("ip", "apt-get install iproute2")
    needs_program("tc", "apt-get install iproute2")
    if os.geteuid() != 0:
        _missing("needs root for network namespaces: run the tests as root (sudo make test)")
    # A container may be root without the right to make namespaces.
    probe = subprocess.run(["unshare", "--net", "true"], capture_output=True, text=True, check=False)
    if probe.returncode != 0:
        _missing(f"needs the right to make network namespaces (CAP_SYS_ADMIN): {probe.stderr.strip()}")


def needs_chromium() -> str:
    """Path of a Chromium-like browser."""
    for name in _CHROMIUM_NAMES:
        path = shutil.which(name)
        if path is not None:
            return path
    return _missing("needs a headless browser: apt-get install chromium")


def needs_qemu() -> None:
    """Go on only where microcontroller boards can be built and emulated."""
    needs_program("make", "apt-get install make")
    needs_program("arm-none-eabi-gcc", "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi")
    needs_program("qemu-system-arm", "apt-get install qemu-system-arm")


def needs_program(name: str, install: str) -> str:
    """Path of a program; ``install`` is the line that installs it."""
    path = shutil.which(name)
    if path is None:
        _missing(f"needs {name}: {install}")
    return path


def needs_package(name: str, install: str) -> None:
    """Go on only where a Python package is installed; ``install`` is the line that installs it."""
    if importlib.util.find_spec(name) is None:
        _missing(f"needs the package {name}: {install}")


def _missing(reason: str) -> NoReturn:
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
