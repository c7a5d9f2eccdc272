"""`optimizer solve` on every network of the zoo: wall time of the command, and what it proved.

    python -m benchmarks.solve [--systems two-heterogeneous,four-heterogeneous] [--models a,b] [--json FILE]

Wall time is that of a fresh process, imports and result files included. The gap is (best - bound) / best; values up
to 1e-4 print as 0.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from optimizer.zoo import zoo_names

OBJECTIVES = ("throughput", "latency", "energy")


def solve(model: str, system: str, time_limit: str) -> dict[str, Any]:
    """One run of the command."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "optimizer.cli", "solve", f"zoo:{model}", "--system", system]
        begin = time.monotonic()
        done = subprocess.run(
            [*command, "--time-limit", time_limit, "-o", folder], capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - begin
        row: dict[str, Any] = {"model": model, "system": system, "wall_s": seconds, "exit": done.returncode}
        if done.returncode == 0:
            plan = json.loads((Path(folder) / "plan.json").read_text(encoding="utf-8"))
            front = json.loads((Path(folder) / "front.json").read_text(encoding="utf-8"))
            row["segments"] = len(plan["segments"])
            row["front"] = len(front["plans"])
            row["throughput_per_s"] = plan["score"]["throughput_per_s"]
            row["gap"] = {o: plan["certificate"][o]["gap"] for o in OBJECTIVES}
            row["status"] = {o: plan["certificate"][o]["status"] for o in OBJECTIVES}
        else:
            row["said"] = done.stderr.strip()
        return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--systems", default="two-heterogeneous,four-heterogeneous")
    parser.add_argument("--models", default=",".join(zoo_names()))
    parser.add_argument("--time-limit", default="60s")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rows = []
    print(
        f"{'system':<20} {'model':<20} {'wall s':>7} {'gap throughput':>15} {'latency':>8} {'energy':>8} {'boards':>7}"
    )
    for system in given.systems.split(","):
        for model in given.models.split(","):
            row = solve(model, system, given.time_limit)
            rows.append(row)
            gaps = [_gap(row["gap"][o]) for o in OBJECTIVES] if "gap" in row else [f"exit {row['exit']}", "", ""]
            print(
                f"{system:<20} {model:<20} {row['wall_s']:7.2f} {gaps[0]:>15} {gaps[1]:>8} {gaps[2]:>8} "
                f"{row.get('segments', ''):>7}",
                flush=True,
            )
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


def _gap(gap: float | None) -> str:
    if gap is None:
        return "none"
    return "0" if gap <= 1e-4 else f"{gap:.2%}"


if __name__ == "__main__":
    main()
