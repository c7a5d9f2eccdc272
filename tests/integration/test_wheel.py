"""The wheel, installed where there is no checkout, can plan: everything it reads at run time is inside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("boards", "optimizer", "hil", "firmware_interface", "server")

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command that knows nothing of the checkout; its output, or a failure that shows it."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON") and k != "VIRTUAL_ENV"}
    done = subprocess.run(
        [str(c) for c in command], cwd=cwd, env=env, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode != 0:
        pytest.fail(f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}", pytrace=False)
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ROOT, cwd=out)
    (path,) = out.glob("edgecut-*.whl")
    return path


def test_wheel_holds_every_file_of_the_rooms(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = set(archive.namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted - inside == set()
    for kind in (
        "boards/catalog/raspberry-pi-4.yaml",
        "boards/systems/demo.yaml",
        "firmware_interface/PROTOCOL.md",
        "firmware_interface/firmware/Makefile",
        "firmware_interface/firmware/src/protocol.c",
        "optimizer/zoo_data/squeezenet1_1.onnx.xz",
    ):
        assert kind in inside
    assert any(name.startswith("optimizer/templates/") for name in inside)


def test_wheel_holds_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        top = {name.split("/")[0] for name in archive.namelist()}
    assert {name for name in top if not name.endswith(".dist-info")} == set(ROOMS)


def test_installed_wheel_plans_a_network(wheel: Path, tmp_path: Path) -> None:
    run(sys.executable, "-m", "venv", tmp_path / "venv", cwd=tmp_path)
    programs = tmp_path / "venv" / "bin"
    run(programs / "python", "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    where = run(programs / "python", "-c", "import optimizer; print(optimizer.__file__)", cwd=tmp_path)
    assert Path(where.strip()).is_relative_to(tmp_path)

    solve = ("solve", "zoo:squeezenet1_1", "--system", "demo", "-o", tmp_path / "out")
    run(programs / "optimizer", *solve, cwd=tmp_path)

    plan = json.loads((tmp_path / "out" / "plan.json").read_text())
    assert plan["schema"] == "edgecut/plan/2"
    assert plan["score"]["throughput_per_s"] > 0
    assert plan["certificate"]["throughput"]["status"] == "proven"
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    for program in ("hil", "edgecut"):
        assert "Usage" in run(programs / program, "--help", cwd=tmp_path)
