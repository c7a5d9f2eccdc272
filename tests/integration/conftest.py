from __future__ import annotations

from collections.abc import Iterator

import pytest

from hil.lab_types import Lab
from tests.hil.bench_agents import BOARDS, lab_of


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Three agents for all tests of a module that leave them as they were."""
    with lab_of(tmp_path_factory.mktemp("lab"), BOARDS) as (lab, _):
        yield lab
