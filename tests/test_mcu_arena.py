"""Arenas of small networks against greedy planning: benchmarks/mcu_arena.py on the networks where they differed."""

from __future__ import annotations

import pytest

from benchmarks.mcu_arena import measure


@pytest.mark.parametrize("name", ["tiny_digits", "tiny_digits_int8", "tiny_mobilenet_v1_025_int8", "tiny_resnet8"])
def test_no_arena_is_larger_than_greedy_planning_makes_it(name: str) -> None:
    for found in measure(f"zoo:{name}"):
        assert found.ours <= min(found.greedy, found.aligned)
