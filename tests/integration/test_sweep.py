"""`optimizer sweep` as a process: workers, interruptions, a Dask cluster, the page in a browser."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.browser import Browser
from tests.needs import needs_chromium, needs_package, needs_program
from tests.waiting import PATIENCE_S, wait_for

pytestmark = pytest.mark.integration
COMMAND = [sys.executable, "-m", "optimizer.cli", "sweep"]
GRID = """\
schema: edgecut/sweep/1
models: [zoo:squeezenet1_1]
systems: [demo, two-heterogeneous]
limits:
  - {name: free}
  - {name: impossible, max_latency: 1ms}
prefer: [throughput, latency]
time_limit: 5s
"""
LONG = GRID.replace("zoo:squeezenet1_1", "zoo:squeezenet1_1, zoo:googlenet").replace(
    "time_limit: 5s", "time_limit: 1500ms"
)


def sweep(folder: Path, *arguments: str, timeout_s: float = 280.0) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, str(folder / "grid.yaml"), "-o", str(folder / "out"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)


def answers(folder: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in (folder / "out/cases").glob("*.json")}


def table(folder: Path) -> list[dict[str, object]]:
    cases: list[dict[str, object]] = json.loads((folder / "out/results.json").read_text())["cases"]
    return cases


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("swept")
    (folder / "grid.yaml").write_text(GRID)
    done = sweep(folder, "--workers", "2")
    assert done.returncode == 0, done.stderr
    assert "8 cases: 4 solved, 4 infeasible." in done.stdout
    assert "[8/8]" in done.stderr
    return folder


def test_every_case_has_an_answer_and_plans_have_reports(swept: Path) -> None:
    cases = table(swept)
    assert [c["status"] for c in cases] == ["solved", "solved", "infeasible", "infeasible"] * 2
    assert len(answers(swept)) == 8
    for case in cases:
        if case["status"] == "solved":
            assert (swept / "out" / str(case["report"])).is_file()
            assert case["proof"] == "proven"
            assert case["gap"] == pytest.approx(0.0, abs=1e-4)
        else:
            assert "latency" in str(case["reasons"])
    assert not list((swept / "out").rglob("*.part"))


def test_second_run_solves_nothing_and_a_damaged_answer_again(swept: Path) -> None:
    before = answers(swept)
    again = sweep(swept)
    assert (again.returncode, answers(swept)) == (0, before)
    assert "(8 done before)" in again.stdout
    victim = swept / "out/cases" / f"{min(before)}.json"
    victim.write_bytes(victim.read_bytes()[:100])
    redone = sweep(swept)
    assert "(7 done before, 1 damaged and redone)" in redone.stdout
    assert f"damaged: {victim}" in redone.stderr
    record = json.loads(victim.read_text())
    assert record["key"] == victim.stem


def started(folder: Path) -> subprocess.Popen[str]:
    """A sweep over which the test has control, after its first answer."""
    (folder / "grid.yaml").write_text(LONG)
    process = subprocess.Popen(
        [*COMMAND, str(folder / "grid.yaml"), "-o", str(folder / "out"), "--workers", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    wait_for(lambda: answers(folder) or process.poll() is not None, "no case is answered", 2 * PATIENCE_S)
    assert process.poll() is None
    return process


def test_ctrl_c_keeps_the_finished_cases_and_the_same_command_goes_on(tmp_path: Path) -> None:
    process = started(tmp_path)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers too
    out, err = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "the same command goes on" in err
    kept = answers(tmp_path)
    assert 1 <= len(kept) < 16
    assert f"{16 - len(kept)} open" in out
    assert [c["status"] for c in table(tmp_path)].count("open") == 16 - len(kept)
    done = sweep(tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"({len(kept)} done before)" in done.stdout
    assert kept.items() <= answers(tmp_path).items()
    assert len(answers(tmp_path)) == 16


def test_killed_sweep_leaves_no_process_and_goes_on(tmp_path: Path) -> None:
    process = started(tmp_path)
    children = psutil.Process(process.pid).children(recursive=True)
    assert len(children) >= 2
    process.kill()
    process.communicate(timeout=PATIENCE_S)
    _, alive = psutil.wait_procs(children, timeout=PATIENCE_S)
    assert alive == []
    kept = answers(tmp_path)
    (tmp_path / "grid.yaml").write_text(LONG.replace("time_limit: 1500ms", "time_limit: 1500ms\nname: another page"))
    done = sweep(tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"({len(kept)} done before)" in done.stdout


def test_worker_that_is_killed_fails_its_case_only(tmp_path: Path) -> None:
    process = started(tmp_path)
    workers = [c for c in psutil.Process(process.pid).children() if "spawn_main" in " ".join(c.cmdline())]
    workers[0].kill()
    out, err = process.communicate(timeout=280)
    assert process.returncode == 1, err
    assert "1 failed" in out
    assert "ended by SIGKILL (out of memory?)" in err
    assert sweep(tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("text", "arguments", "code", "said"),
    [
        (GRID.replace("[demo", "[dem"), (), 2, "grid.yaml:3, systems[0]"),
        (GRID, ("--workers", "2", "--dask", "tcp://127.0.0.1:1"), 2, "one of the two"),
        (GRID, ("--workers", "0"), 2, "--workers"),
        (GRID.replace("  - {name: free}\n", ""), (), 3, ""),
    ],
)
def test_exit_codes(text: str, arguments: tuple[str, ...], code: int, said: str, tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(text)
    done = sweep(tmp_path, *arguments)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert (tmp_path / "out/index.html").exists() == (code == 3)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """The address of a Dask scheduler on loopback, without workers."""
    needs_package("distributed", "pip install 'edgecut[dask]'")
    file = tmp_path / "scheduler.json"
    process = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0",
         "--no-dashboard", "--scheduler-file", str(file)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for(lambda: (file.exists() and file.read_text().strip()) or process.poll() is not None, "no address")
        yield json.loads(file.read_text())["address"]
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


@pytest.fixture
def cluster(scheduler: str, tmp_path: Path) -> Iterator[str]:
    """The scheduler with a worker of two threads, which stands in another folder."""
    (tmp_path / "elsewhere").mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", scheduler, "--nthreads", "2", "--no-dashboard",
         "--no-nanny", "--host", "127.0.0.1"],
        cwd=tmp_path / "elsewhere", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )  # fmt: skip
    try:
        yield scheduler
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def test_dask_cluster_gives_the_same_answers(swept: Path, cluster: str, tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(GRID)
    done = sweep(tmp_path, "--dask", cluster)
    assert done.returncode == 0, done.stderr
    assert answers(tmp_path).keys() == answers(swept).keys()
    figures = ("status", "proof", "throughput_per_s", "reasons")
    for ours, theirs in zip(table(tmp_path), table(swept), strict=True):
        assert [ours[f] for f in figures[:2]] == [theirs[f] for f in figures[:2]]
        if ours["status"] == "solved" and ours["prefer"] == "throughput":
            assert ours["throughput_per_s"] == pytest.approx(theirs["throughput_per_s"], rel=1e-4)
    assert (tmp_path / "out" / str(table(tmp_path)[0]["report"])).is_file()
    assert list((tmp_path / "elsewhere").rglob("*.html")) == []


def test_cluster_without_workers_and_no_cluster_are_bad_input(scheduler: str, tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").write_text(GRID)
    none = sweep(tmp_path, "--dask", scheduler)
    assert none.returncode == 2, none.stderr
    assert "no workers" in none.stderr
    nobody = sweep(tmp_path, "--dask", "tcp://127.0.0.1:9")
    assert nobody.returncode == 2, nobody.stderr
    assert "does not answer" in nobody.stderr
    assert "Traceback" not in none.stderr + nobody.stderr


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    chromium = needs_chromium()
    driver = needs_program("chromedriver", "apt-get install chromium-driver")
    with Browser(chromium, driver) as opened:
        yield opened


_COLUMN = "return [...document.querySelectorAll('#table tbody tr')].map((r) => r.querySelector('td.share')?.dataset.v)"


@pytest.mark.needs_chromium
def test_page_sorts_and_filters_without_network(browser: Browser, swept: Path) -> None:
    browser.open(swept / "out/index.html")
    assert browser.run("return performance.getEntriesByType('resource').map((e) => e.name)") == []
    throughput = "#table th:nth-child(5) button"
    browser.click(throughput)
    rising = browser.run(_COLUMN)
    figures = [float(v) for v in rising if v]
    assert figures == sorted(figures) and len(figures) == 4
    assert rising[4:] == [None] * 4, "rows without a figure stay last"
    browser.click(throughput)
    assert [float(v) for v in browser.run(_COLUMN)[:4]] == sorted(figures, reverse=True)
    assert browser.run(_COLUMN)[4:] == [None] * 4
    heading = "return document.querySelector('#table th:nth-child(5)').getAttribute('aria-sort')"
    assert browser.run(heading) == "descending"
    browser.run(
        "const f = document.getElementById('filter'); f.value = 'DEMO infeasible'; f.dispatchEvent(new Event('input'))"
    )
    shown = "return [...document.querySelectorAll('#table tbody tr')].filter((r) => r.getClientRects().length).length"
    assert browser.run(shown) == 2
    assert browser.run("return document.getElementById('shown').textContent") == "2 of 8"
    assert browser.console() == []


@pytest.mark.needs_chromium
def test_page_fits_a_phone(browser: Browser, swept: Path) -> None:
    browser.resize(400, 800)
    browser.open(swept / "out/index.html")
    assert browser.run("return document.documentElement.scrollWidth <= innerWidth")
