"""Settings for the whole suite."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import leftovers

_PATIENCE_S = 30.0  # for what is about to end

# The machines that run the suite are shared and slow at times: how long an example takes, or is made, says nothing.
settings.register_profile(
    "edgecut",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("edgecut")


@pytest.fixture(autouse=True, scope="session")
def _own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Keep the suite, and the processes it starts, out of the user's cache folder."""
    with pytest.MonkeyPatch.context() as patch:
        cache = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(cache))
        patch.setenv(leftovers.MARK, str(cache))
        yield cache


@pytest.fixture(autouse=True, scope="module")
def _nothing_is_left_behind(_own_cache: Path) -> Iterator[None]:
    """A module that leaves processes, threads or listening sockets fails itself, not whoever comes next."""
    before = leftovers.look()
    yield
    left = leftovers.await_gone(before, _PATIENCE_S)
    assert not left, "this module leaves behind:\n" + "\n".join(left)
