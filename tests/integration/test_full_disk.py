"""A disk that is really full: a tiny file system of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.needs import needs_root

pytestmark = pytest.mark.integration
SIZE_KIB = 256


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 256 KiB."""
    needs_root()
    place = tmp_path / "disk"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_KIB}k", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_solve_tells_of_a_full_disk_and_leaves_no_half_file(tiny_disk: Path) -> None:
    done = run("optimizer.cli", "solve", "zoo:efficientnet_b0", "--system", "demo", "-o", str(tiny_disk))
    assert done.returncode == 2, done.stderr
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tiny_disk / "plan.json").exists()
    assert not list(tiny_disk.glob(".*"))


def test_split_tells_of_a_full_disk_and_leaves_no_half_bundle(tiny_disk: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    solved = run("optimizer.cli", "solve", "zoo:squeezenet1_1", "--system", "demo", "-o", str(out))
    assert solved.returncode == 0, solved.stderr
    done = run("optimizer.cli", "split", str(out / "plan.json"), "-o", str(tiny_disk / "bundle"))
    assert done.returncode == 2, done.stderr
    assert "No space left on device" in done.stderr
    assert list(tiny_disk.iterdir()) == []
