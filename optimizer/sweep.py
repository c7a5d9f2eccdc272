"""A sweep: models x systems x limits, each case solved once, kept on disk, and shown on one page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from optimizer.errors import InternalError
from optimizer.request import make_folder
from optimizer.sweep_case import Case
from optimizer.sweep_grid import Grid
from optimizer.sweep_runners import Runner
from optimizer.sweep_store import Damaged, Store

__all__ = ["Sweep", "Tell", "run_sweep"]

Tell = Callable[[str, int, int], None]
"""Called with what has happened, the number of cases that are done, and of all."""


@dataclass
class Sweep:
    """A sweep and its answers so far. ``records`` and ``failures`` are by the key of a case."""

    grid: Grid
    records: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    reused: int = 0
    """Cases that were finished before."""
    damaged: list[Damaged] = field(default_factory=list)
    """Answers that were there and had to be worked out anew."""
    interrupted: bool = False

    def status(self, case: Case) -> str:
        """ "solved", "infeasible", "nothing found", "failed" or "open"."""
        if case.key in self.records:
            return str(self.records[case.key]["status"])
        return "failed" if case.key in self.failures else "open"

    def counts(self) -> Counter[str]:
        """Cases by status."""
        return Counter(self.status(case) for case in self.grid.cases)

    @property
    def exit_code(self) -> int:
        """0 a plan, 1 a case failed, 3 all infeasible, 4 no plan in time, 130 interrupted."""
        counts = self.counts()
        if self.interrupted:
            return 130
        if counts["failed"]:
            return 1
        if counts["solved"]:
            return 0
        return 4 if counts["nothing found"] else 3


def run_sweep(grid: Grid, out: Path, runner: Runner, tell: Tell) -> Sweep:
    """Answer every case of the grid that has no answer in ``out`` yet.

    Each answer is on disk before it is told of, so an end at any moment loses only what was being solved. Ctrl-C
    stops the work and returns what there is. Raises InputError where ``out`` cannot be written to or the runner
    cannot start.
    """
    make_folder(out)
    store, sweep = Store(out), Sweep(grid)
    todo = _look_up(store, sweep, tell)
    if not todo:
        return sweep
    try:
        with closing(runner.run(todo)) as finished:
            for one in finished:
                if one.answer is None:
                    sweep.failures[one.case.key] = one.error
                else:
                    sweep.records[one.case.key] = store.write(one.case.key, one.answer)
                tell(f"{one.case.title}: {sweep.status(one.case)}", *_done(sweep))
    except KeyboardInterrupt:
        sweep.interrupted = True
    if not sweep.interrupted and sweep.counts()["open"]:
        raise InternalError("the sweep ended before all of its cases had; start it again to go on")
    return sweep


def _look_up(store: Store, sweep: Sweep, tell: Tell) -> list[Case]:
    """Take the answers that are there; the cases that are still to be solved, each key once."""
    todo: dict[str, Case] = {}
    for case in sweep.grid.cases:
        if case.key in sweep.records or case.key in todo:
            continue
        found = store.read(case.key)
        if isinstance(found, Damaged):
            sweep.damaged.append(found)
            tell(f"damaged: {found.path}: {found.reason}; solving {case.title} again", *_done(sweep))
        if found is None or isinstance(found, Damaged):
            todo[case.key] = case
        else:
            sweep.records[case.key] = found
    sweep.reused = sum(1 for case in sweep.grid.cases if case.key in sweep.records)
    if sweep.reused:
        tell(f"{sweep.reused} cases were done before", *_done(sweep))
    return list(todo.values())


def _done(sweep: Sweep) -> tuple[int, int]:
    counts = sweep.counts()
    return len(sweep.grid.cases) - counts["open"], len(sweep.grid.cases)
