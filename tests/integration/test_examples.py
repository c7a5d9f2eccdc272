"""Every example runs as it stands, and says what it promises to say."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.integration


def run(name: str, tmp_path: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / name)],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(EXAMPLES.parent)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_example_has_a_test() -> None:
    source = Path(__file__).read_text()
    assert [p.name for p in EXAMPLES.glob("*.py") if f'"{p.name}"' not in source] == []


def test_offline_plan_prints_a_front_and_its_proofs(tmp_path: Path) -> None:
    out = run("01_plan_offline.py", tmp_path)
    assert len(re.findall(r"^\* +[\d.]+ /s", out, re.MULTILINE)) == 1
    assert re.search(r"^throughput: proven", out, re.MULTILINE)


def test_custom_system_meets_limits_and_explains_the_impossible(tmp_path: Path) -> None:
    out = run("02_custom_system.py", tmp_path).splitlines()
    assert re.match(r"[\d.]+ ms on \[", out[0])
    latency_ms, camera_mib = re.match(r"([\d.]+) ms .*'camera': '(\d+) MiB'", out[1]).groups()  # type: ignore[union-attr]
    assert float(latency_ms) <= 50
    assert int(camera_mib) <= 100
    assert "No plan meets the limits" in out[2]
    assert any("latency" in line for line in out[3:])


def test_comparison_never_finds_a_pair_slower_than_its_boards(tmp_path: Path) -> None:
    out = run("03_compare_boards.py", tmp_path)
    found = {
        tuple(name.split(" + ")): float(rate) for name, rate in re.findall(r"^(\S.*?) +([\d.]+) /s", out, re.MULTILINE)
    }
    alone = {names[0]: rate for names, rate in found.items() if len(names) == 1}
    pairs = [names for names in found if len(names) == 2]
    assert len(alone) == 4
    assert len(pairs) == 6
    # Frames enter at the first board: staying there is always allowed.
    assert all(found[names] >= alone[names[0]] for names in pairs)


def test_sweep_names_the_winners_and_what_is_impossible(tmp_path: Path) -> None:
    out = run("04_sweep.py", tmp_path)
    assert len(re.findall(r"^\S+ +(?:free|40 ms) +\S+ +[\d.]+ /s$", out, re.MULTILINE)) == 4
    assert re.search(r"^mobilenet_v2 +40 ms +two-raspberry-pis +impossible: .*latency", out, re.MULTILINE)
    assert (tmp_path / "sweep/index.html").is_file()
