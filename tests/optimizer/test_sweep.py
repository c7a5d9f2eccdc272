"""Sweeps: keys, answers on disk, going on after an end, what the exit code says."""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from optimizer.errors import InputError, InternalError
from optimizer.problem import Limits
from optimizer.sweep import run_sweep
from optimizer.sweep_case import REPORT_FILES, Answer, solve_case
from optimizer.sweep_store import Damaged, Store
from tests.optimizer.builders import random_problem
from tests.optimizer.sweep_samples import Scripted, infeasible, make_case, make_grid, silent, solved, sweep_of


def test_key_is_the_same_for_the_same_content_whatever_the_limits_are_called() -> None:
    case = make_case()
    assert case.key == make_case(limits_name="other").key
    assert len(case.key) == 32
    assert case.key == pickle.loads(pickle.dumps(case)).key


def test_key_changes_with_everything_that_may_change_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    case = make_case()
    faster = replace(case.system.boards[0], ram_bytes=7)
    changed = [
        make_case(seed=1),
        make_case(prefer="energy"),
        make_case(limits=Limits(max_latency_s=0.05)),
        make_case(limits=Limits(pins={"op0": case.system.boards[0].name})),
        make_case(time_limit_s=6.0),
        make_case(costs=None),
        make_case(costs=random_problem(2).costs),
        make_case(system=replace(case.system, boards=(faster, *case.system.boards[1:]))),
        make_case(graph=replace(case.graph, sha256="another")),
        make_case(graph=replace(case.graph, batch=2)),
    ]
    keys = {case.key, *(c.key for c in changed)}
    monkeypatch.setattr("optimizer.sweep_case.versions", lambda: {"edgecut": "99"})
    assert len({*keys, make_case().key}) == len(changed) + 2


def test_case_is_solved_without_any_file() -> None:
    case = make_case(prefer="energy")
    answer = solve_case(case)
    assert answer.record["status"] == "solved"
    assert set(answer.files) == set(REPORT_FILES)
    plan = json.loads(answer.files["plan.json"])
    assert plan["score"] == answer.record["score"]
    assert plan["prefer"] == "energy"
    assert min(e for _, _, e in answer.record["front"]) == answer.record["score"]["energy_j"]


def test_infeasible_case_keeps_its_reasons_and_has_no_files() -> None:
    answer = solve_case(make_case(limits=Limits(max_latency_s=1e-9)))
    assert answer.record["status"] == "infeasible"
    assert "latency" in answer.record["reasons"][0]
    assert answer.files == {}


def test_answers_are_kept_and_not_solved_again(tmp_path: Path) -> None:
    grid = make_grid()
    first = run_sweep(grid, tmp_path, Scripted(*(solved(c) for c in grid.cases)), silent)
    assert (first.reused, first.exit_code) == (0, 0)
    runner = Scripted(RuntimeError("must not run"))
    again = run_sweep(grid, tmp_path, runner, silent)
    assert again.reused == 3
    assert again.records == first.records
    assert runner.ran == []


def test_cases_alike_are_solved_once_and_shown_each(tmp_path: Path) -> None:
    grid = make_grid(make_case(limits_name="a"), make_case(limits_name="b"))
    runner = Scripted(solved(grid.cases[0]), RuntimeError("only one"))
    assert run_sweep(grid, tmp_path, runner, silent).counts() == {"solved": 2}


def test_interrupted_sweep_keeps_what_is_solved_and_goes_on(tmp_path: Path) -> None:
    grid = make_grid()
    runner = Scripted(solved(grid.cases[0]), KeyboardInterrupt())
    sweep = run_sweep(grid, tmp_path, runner, silent)
    assert sweep.interrupted
    assert sweep.exit_code == 130
    assert runner.closed
    assert sweep.counts() == {"solved": 1, "open": 2}
    rest = Scripted(*(solved(c) for c in grid.cases[1:]))
    again = run_sweep(grid, tmp_path, rest, silent)
    assert (again.reused, again.exit_code) == (1, 0)
    assert rest.ran == [c.key for c in grid.cases[1:]]


def test_failed_case_is_told_and_tried_again(tmp_path: Path) -> None:
    grid = make_grid()
    sweep = run_sweep(grid, tmp_path, Scripted(solved(grid.cases[0]), "broken", infeasible("no")), silent)
    assert sweep.exit_code == 1
    assert list(sweep.failures.values()) == ["broken"]
    again = Scripted(solved(grid.cases[1]))
    assert run_sweep(grid, tmp_path, again, silent).counts() == {"solved": 2, "infeasible": 1}
    assert again.ran == [grid.cases[1].key]


def cut(path: Path, key: str) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def other_figure(path: Path, key: str) -> None:
    path.write_text(path.read_text().replace('"throughput_per_s": 50.0', '"throughput_per_s": 51.0'))


def other_case(path: Path, key: str) -> None:
    path.write_text(path.read_text().replace(key, "0" * 32))


def not_text(path: Path, key: str) -> None:
    path.write_bytes(b"\xff\x00\xfe")


def deep(path: Path, key: str) -> None:
    path.write_text("[" * 100_000)


def a_folder(path: Path, key: str) -> None:
    path.unlink()
    path.mkdir()
    path.rmdir()
    path.symlink_to(path.parent)


def report_gone(path: Path, key: str) -> None:
    (path.parent / key / "report.html").unlink()


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (cut, "not JSON"),
        (other_figure, "checksum"),
        (other_case, "not the answer of this case"),
        (not_text, "not JSON"),
        (deep, "not JSON"),
        (a_folder, "directory"),
        (report_gone, "report.html beside it is gone"),
    ],
)
def test_damaged_answer_is_told_and_solved_again(damage: object, said: str, tmp_path: Path) -> None:
    grid = make_grid()
    run_sweep(grid, tmp_path, Scripted(*(solved(c) for c in grid.cases)), silent)
    hurt = grid.cases[1]
    damage(Store(tmp_path).path(hurt.key), hurt.key)  # type: ignore[operator]
    told: list[str] = []
    runner = Scripted(solved(hurt))
    sweep = run_sweep(grid, tmp_path, runner, lambda text, done, total: told.append(text))
    assert runner.ran == [hurt.key]
    assert [said in d.reason for d in sweep.damaged] == [True]
    assert (sweep.reused, sweep.exit_code) == (2, 0)
    assert any("damaged" in text and str(Store(tmp_path).path(hurt.key)) in text for text in told)
    assert run_sweep(grid, tmp_path, Scripted(), silent).damaged == []


def test_record_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    case, store = make_case(), Store(tmp_path)
    assert store.read(case.key) is None
    written = store.write(case.key, solved(case))
    assert store.read(case.key) == written
    assert (tmp_path / store.report(case.key)).read_bytes() == b"report.html"
    assert not isinstance(store.read(case.key), Damaged)


@pytest.mark.parametrize(
    ("answers", "code"),
    [
        (("solved", "infeasible", "nothing found"), 0),
        (("infeasible", "infeasible", "infeasible"), 3),
        (("infeasible", "nothing found", "infeasible"), 4),
        (("solved", "error", "solved"), 1),
    ],
)
def test_exit_code_says_how_it_went(answers: tuple[str, ...], code: int) -> None:
    made = {
        "solved": solved(make_case()),
        "infeasible": infeasible("no"),
        "nothing found": Answer({"status": "nothing found", "reasons": ["late"], "seconds": 1.0}, {}),
        "error": "broken",
    }
    sweep = sweep_of(*((make_case(seed), made[word]) for seed, word in enumerate(answers)))
    assert sweep.exit_code == code


def test_runner_that_loses_cases_is_found_out(tmp_path: Path) -> None:
    grid = make_grid()
    with pytest.raises(InternalError, match="start it again"):
        run_sweep(grid, tmp_path, Scripted(solved(grid.cases[0])), silent)


def test_folder_that_cannot_be_used_is_found_out_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    runner = Scripted(RuntimeError("must not run"))
    with pytest.raises(InputError, match="-o"):
        run_sweep(make_grid(), tmp_path / "file", runner, silent)
