"""`optimizer` as a process: exit codes, messages, files."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.integration
COMMAND = [sys.executable, "-m", "optimizer.cli"]
MODEL = "zoo:squeezenet1_1"


def optimizer(*arguments: str, timeout_s: float = 240.0) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False)


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("solved")
    done = optimizer("solve", MODEL, "--system", "demo", "-o", str(out))
    assert done.returncode == 0, done.stderr
    return out


def test_solve_writes_plan_front_and_report(solved: Path) -> None:
    plan = json.loads((solved / "plan.json").read_text())
    assert plan["schema"] == "edgecut/plan/2"
    assert set(plan["certificate"]) == {"throughput", "latency", "energy"}
    for objective in ("throughput", "latency"):
        certificate = plan["certificate"][objective]
        assert certificate["status"] == "proven"
        assert 0 <= certificate["gap"] <= 1e-4
        assert certificate["gap"] == pytest.approx(
            (certificate["value"] - certificate["bound"]) / certificate["value"], abs=1e-12
        )
    assert plan["score"]["period_s"] == pytest.approx(1 / plan["score"]["throughput_per_s"])
    assert set(plan["score"]["memory_bytes"]) == {"left", "right"}
    front = json.loads((solved / "front.json").read_text())
    assert plan["score"] in [p["score"] for p in front["plans"]]
    assert "<svg" in (solved / "report.html").read_text()


def test_preferences_choose_the_best_plan_of_their_objective(solved: Path, tmp_path: Path) -> None:
    front = json.loads((solved / "front.json").read_text())["plans"]
    for prefer, figure in (("latency", "latency_s"), ("energy", "energy_j")):
        done = optimizer("solve", MODEL, "--system", "demo", "--prefer", prefer, "-o", str(tmp_path / prefer))
        assert done.returncode == 0, done.stderr
        plan = json.loads((tmp_path / prefer / "plan.json").read_text())
        assert plan["score"][figure] == min(p["score"][figure] for p in front)


def test_json_goes_to_stdout(tmp_path: Path) -> None:
    done = optimizer("solve", MODEL, "--system", "demo", "--json", "-o", str(tmp_path))
    assert json.loads(done.stdout)["schema"] == "edgecut/plan/2"


def test_one_board_is_a_reachable_answer(tmp_path: Path) -> None:
    done = optimizer("solve", MODEL, "--system", "demo", "--prefer", "latency", "-o", str(tmp_path))
    assert done.returncode == 0, done.stderr
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert len(plan["segments"]) == 1


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((MODEL, "--system", "nowhere"), 2, "nowhere"),
        (("missing.onnx", "--system", "demo"), 2, "missing.onnx"),
        (("zoo:nothing", "--system", "demo"), 2, "squeezenet1_1"),
        ((MODEL, "--system", "demo", "--max-latency", "50"), 2, "unit"),
        ((MODEL, "--system", "demo", "--max-latency", "5parsec"), 2, "parsec"),
        ((MODEL, "--system", "demo", "--max-latency", "2J"), 2, "2J"),
        ((MODEL, "--system", "demo", "--max-memory", "left=3MB"), 2, "BOARD=ram:SIZE"),
        ((MODEL, "--system", "demo", "--max-memory", "middle=ram:3MB"), 2, "left, right"),
        ((MODEL, "--system", "demo", "--pin", "nothing=left"), 2, "optimizer inspect"),
        ((MODEL, "--system", "demo", "--objectives", "beauty"), 2, "beauty"),
        ((MODEL, "--system", "demo", "--costs", "missing.json"), 2, "missing.json"),
        ((MODEL, "--system", "demo", "--max-latency", "1ms"), 3, "no plan can go below"),
        ((MODEL, "--system", "demo", "--max-latency", "9ms", "--min-throughput", "200/s"), 3, "together"),
        ((MODEL, "--system", "demo", "--max-memory", "left=ram:70MB", "--max-memory", "right=ram:60MB"), 3,
         "Board right is too small"),
        ((MODEL, "--system", "demo", "--boards", "1"), 3, "Enough: --boards 2"),
        ((MODEL, "--system", "demo", "--gap", "500%"), 2, "500%"),
        ((MODEL, "--system", "demo", "--gap", "1ms"), 2, "1ms"),
    ],
)  # fmt: skip
def test_bad_input_and_impossible_limits_are_told_in_a_paragraph(
    arguments: tuple[str, ...], code: int, said: str, tmp_path: Path
) -> None:
    done = optimizer("solve", *arguments, "-o", str(tmp_path))
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "plan.json").exists()


def test_output_that_cannot_be_written_is_found_out_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    done = optimizer("solve", MODEL, "--system", "demo", "-o", str(tmp_path / "file" / "out"))
    assert done.returncode == 2
    assert "-o" in done.stderr


def test_a_full_disk_leaves_the_old_plan_alone(solved: Path, tmp_path: Path) -> None:
    """/dev/full takes no byte; the plan before it stays whole."""
    from optimizer.errors import InputError
    from optimizer.plan_io import write_json

    with pytest.raises(InputError, match="cannot be written"):
        write_json(Path("/proc/self/plan.json"), {"schema": "x"})
    target = tmp_path / "plan.json"
    target.write_text("old")
    with pytest.raises(ValueError, match="Out of range float"):
        write_json(target, {"value": float("inf")})
    assert target.read_text() == "old"


def test_too_little_time_to_find_anything_is_exit_code_4(tmp_path: Path) -> None:
    """Limits that one board breaks and no time to look for more."""
    done = optimizer(
        "solve", MODEL, "--system", "demo", "--min-throughput", "130/s", "--time-limit", "1us", "-o", str(tmp_path)
    )
    assert done.returncode == 4, done.stderr
    assert "--time-limit" in done.stderr


def interrupted(stage: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Ctrl-C once the progress shows the stage."""
    process = subprocess.Popen(
        [*COMMAND, "solve", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, errors="replace",
        env={**os.environ, "FORCE_COLOR": "1", "TERM": "xterm"},  # then there is progress without a terminal
    )  # fmt: skip
    assert process.stderr is not None
    shown = ""
    while stage not in shown:
        piece = os.read(process.stderr.fileno(), 4096).decode(errors="replace")
        assert piece, shown
        shown += piece
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=2 * PATIENCE_S)
    return subprocess.CompletedProcess(process.args, process.returncode, out, shown + err)


def test_ctrl_c_writes_the_best_so_far_with_its_bound(tmp_path: Path) -> None:
    done = interrupted("proving", "zoo:googlenet", "--system", "four-heterogeneous", "-o", str(tmp_path))
    assert done.returncode == 130, done.stderr
    assert "interrupted" in done.stdout
    plan = json.loads((tmp_path / "plan.json").read_text())
    assert plan["interrupted"] is True
    assert json.loads((tmp_path / "front.json").read_text())["interrupted"] is True
    certificate = plan["certificate"]["throughput"]
    assert 0 < certificate["bound"] <= certificate["value"]
    assert optimizer("verify", str(tmp_path / "plan.json")).returncode == 0


def test_ctrl_c_before_there_is_a_plan_writes_nothing(tmp_path: Path) -> None:
    """Interrupted when the search has just begun: its folder is there, a plan cannot be (none keeps the limit)."""
    out = tmp_path / "out"
    arguments = ["zoo:googlenet", "--system", "four-heterogeneous", "--min-throughput", "1e6/s", "-o", str(out)]
    process = subprocess.Popen(
        [*COMMAND, "solve", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for(lambda: out.exists() or process.poll() is not None, "the search does not begin", 2 * PATIENCE_S)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=2 * PATIENCE_S)
    assert process.returncode == 130, err
    assert list(out.iterdir()) == []


@pytest.mark.parametrize("system", ["demo", "four-heterogeneous"])
def test_reproducible_plans_are_equal_byte_for_byte(system: str, tmp_path: Path) -> None:
    """Two processes with other hash seeds and another number of threads."""
    for number, name in enumerate(("first", "second")):
        done = subprocess.run(
            [*COMMAND, "solve", "zoo:squeezenet1_1", "--system", system, "--reproducible", "--time-limit", "6s",
             "--workers", str(number + 1), "-o", str(tmp_path / name)],
            capture_output=True, text=True, timeout=240, check=False, env={**os.environ, "PYTHONHASHSEED": str(number)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "first" / "plan.json").read_bytes() == (tmp_path / "second" / "plan.json").read_bytes()
    assert (tmp_path / "first" / "front.json").read_bytes() == (tmp_path / "second" / "front.json").read_bytes()


def test_explain_says_what_would_be_enough_and_that_is_enough(tmp_path: Path) -> None:
    limits = ["--system", "demo", "--min-throughput", "200/s"]
    done = optimizer("explain", MODEL, *limits, "--max-latency", "9ms", "--json")
    assert done.returncode == 3, done.stderr
    answer = json.loads(done.stdout)
    assert answer["status"] == "infeasible"
    assert answer["minimal"]
    levers = {c["limit"]: c["lever"].split(" ") for c in answer["clashes"]}
    assert set(levers) == {"--max-latency", "--min-throughput"}
    done = optimizer("explain", MODEL, *limits, *levers["--max-latency"])
    assert done.returncode == 0, done.stderr
    assert "The limits can be met." in done.stdout
    assert not list(tmp_path.iterdir())


def test_verify_judges_a_plan_file(solved: Path, tmp_path: Path) -> None:
    done = optimizer("verify", str(solved / "plan.json"))
    assert done.returncode == 0, done.stdout
    assert "The plan holds." in done.stdout
    plan = json.loads((solved / "plan.json").read_text())
    plan["score"]["energy_j"] *= 0.99
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    done = optimizer("verify", str(tmp_path / "plan.json"))
    assert done.returncode == 3
    assert "FAILS  score: energy_j" in done.stdout
    assert optimizer("verify", str(tmp_path / "none.json")).returncode == 2


def test_help_teaches() -> None:
    done = optimizer("solve", "--help")
    assert "optimizer solve zoo:efficientnet_b0 --system demo -o out" in done.stdout
    assert "130 interrupted" in done.stdout
