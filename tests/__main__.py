"""The whole suite: `python -m tests` (what `make test` calls); paths and options behind it go to pytest.

What only computes runs on every core at once; what measures or binds boards to cores (marked ``alone``) runs after it,
one test after the other. Without pytest-xdist, or on one core, all tests run one after the other.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence

_MOST_WORKERS = 4  # each takes up to 2 GB, for the largest networks
_INTERRUPTED, _NO_TESTS = 2, 5  # exit codes of pytest


def main(options: Sequence[str]) -> int:
    """Exit code of the first phase that failed, or 0."""
    cores = min(len(os.sched_getaffinity(0)), _MOST_WORKERS)
    if cores == 1 or importlib.util.find_spec("xdist") is None:
        return _pytest("", *options)
    # A worker that is done takes over the later half of what another has left: modules mostly stay whole, and with
    # them what their tests share.
    together = ("-n", str(cores), "--dist", "worksteal", "-m", "not alone")
    codes = [_pytest(f"on {cores} cores at once", *together, *options)]
    if codes[0] != _INTERRUPTED:
        codes.append(_pytest("one after the other: what measures, or binds boards to cores", "-m", "alone", *options))
    return next((code for code in codes if code not in (0, _NO_TESTS)), min(codes))


def _pytest(title: str, *options: str) -> int:
    if title:
        print(f"== {title}", flush=True)
    try:
        return subprocess.run([sys.executable, "-m", "pytest", *options], check=False).returncode
    except KeyboardInterrupt:
        return _INTERRUPTED


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
