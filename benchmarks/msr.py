"""Max load of the MSR throughput instances (Tarnawski et al., NeurIPS 2020), contiguous and non-contiguous.

    python -m benchmarks.msr [FILE...] [--time-limit SECONDS] [--class contiguous|non-contiguous]

Prints one JSON line an instance and class: name, class, value and bound (max load, ms), gap, status, seconds
(reading and coarsening included), method. Without files: the six instances in benchmarks/data/msr.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path

from optimizer.cost_models.msr import load_msr
from optimizer.errors import InputError
from optimizer.max_load import MaxLoadResult, PlanClass
from optimizer.search.max_load import solve_max_load

DATA = Path(__file__).parent / "data" / "msr"
CLASSES: tuple[PlanClass, ...] = ("contiguous", "non-contiguous")


def measure(path: Path, plan_class: PlanClass, time_limit_s: float, workers: int) -> tuple[str, MaxLoadResult, float]:
    """Name, result, and the seconds of reading and solving. Raises CostError."""
    begin = time.monotonic()
    problem = load_msr(path)
    left = max(0.1, time_limit_s - (time.monotonic() - begin))
    result = solve_max_load(problem, plan_class, time_limit_s=left, workers=workers)
    return problem.name, result, time.monotonic() - begin


def line(name: str, result: MaxLoadResult, seconds: float) -> str:
    """One JSON object; an infeasible instance has no value and no bound."""
    return json.dumps(
        {
            "name": name,
            "class": result.plan_class,
            "value": result.value_ms,
            "bound": result.bound_ms if math.isfinite(result.bound_ms) else None,
            "gap": result.gap,
            "status": result.status,
            "seconds": round(seconds, 3),
            "method": result.method,
        }
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE")
    parser.add_argument("--time-limit", type=float, default=28.0, help="seconds an instance and class")
    parser.add_argument("--workers", type=int, default=8, help="kinds of search; more than cores pays (default 8)")
    parser.add_argument("--class", dest="plan_class", choices=CLASSES, help="only this class")
    given = parser.parse_args()
    code = 0
    for path in given.files or sorted(DATA.glob("**/*.json")):
        for plan_class in CLASSES if given.plan_class is None else (given.plan_class,):
            try:
                print(line(*measure(path, plan_class, given.time_limit, given.workers)), flush=True)
            except InputError as e:
                print(e, file=sys.stderr)
                code = 2
                break
    return code


if __name__ == "__main__":
    sys.exit(main())
