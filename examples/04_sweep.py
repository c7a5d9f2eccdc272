"""A sweep from Python: the grid beside this file on two processes, then the best system for each model.

Usage: python examples/04_sweep.py [OUT]

Stop it and start it again: finished cases are not solved twice. OUT/index.html is the page to look at.
"""

import sys
from pathlib import Path

from optimizer.sweep import run_sweep
from optimizer.sweep_grid import read_grid
from optimizer.sweep_page import winners
from optimizer.sweep_results import rows, write_sweep
from optimizer.sweep_runners import Processes
from optimizer.sweep_store import Store

GRID = Path(__file__).with_name("04_sweep.yaml")


def main(out: str = "sweep") -> None:
    sweep = run_sweep(read_grid(GRID), Path(out), Processes(2), lambda text, done, total: None)
    files = write_sweep(sweep, Path(out))
    found = rows(sweep, Store(Path(out)))
    for winner in winners(found):
        print(f"{winner.model:15} {winner.limits:6} {winner.best.system:18} {winner.value}")
    for row in found:
        if row.status == "infeasible":
            print(f"{row.model:15} {row.limits:6} {row.system:18} impossible: {row.reasons[0]}")
    print(f"page: {files.page}")


if __name__ == "__main__":  # the workers load this file too
    main(*sys.argv[1:])
