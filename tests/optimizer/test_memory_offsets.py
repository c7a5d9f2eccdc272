"""Arena layouts: nothing overlaps, the bound is met or the excess said, and plan files carry them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optimizer.memory import LiveRange, live_ranges
from optimizer.memory_offsets import greedy_by_size, layout_faults, live_peak_bytes, pack, pack_arena
from optimizer.memory_plan import arena_faults
from optimizer.plan_io import load_plan
from optimizer.verify import verify
from tests.optimizer.memory_samples import inner_sizes, memory_graph
from tests.optimizer.plan_files import solve_small

SEEDS = st.integers(0, 10**6)
FOOLS_GREEDY = [
    LiveRange((0,), 5, 0, 1),
    LiveRange((1,), 3, 1, 3),
    LiveRange((2,), 5, 4, 6),
    LiveRange((3,), 3, 3, 6),
    LiveRange((4,), 2, 1, 3),
]
"""10 bytes are live at most, and every greedy placement takes more."""


def check(buffers: list[LiveRange], sizes: list[int], offsets: list[int], size_bytes: int) -> None:
    for i, a in enumerate(buffers):
        assert 0 <= offsets[i] <= offsets[i] + sizes[i] <= size_bytes
        for j, b in enumerate(buffers[:i]):
            together = a.first <= b.last and b.first <= a.last
            assert not together or offsets[i] + sizes[i] <= offsets[j] or offsets[j] + sizes[j] <= offsets[i]


@settings(max_examples=100, deadline=None)
@given(
    seed=SEEDS, in_place=st.booleans(), alignment=st.sampled_from([1, 16, 64]), budget_s=st.sampled_from([0.0, 0.05])
)
def test_live_buffers_never_overlap(seed: int, in_place: bool, alignment: int, budget_s: float) -> None:
    graph = memory_graph(seed, 10)
    sizes = inner_sizes(graph, range(10))
    buffers = live_ranges(graph, range(10), sizes, in_place=in_place)
    layout = pack_arena(buffers, alignment, budget_s)
    rounded = [-(-b.size_bytes // alignment) * alignment for b in buffers]
    check(buffers, rounded, [layout.offsets[b.tensors[0]] for b in buffers], layout.size_bytes)
    assert set(layout.offsets) == set(sizes)
    assert all(layout.offsets[t] == layout.offsets[b.tensors[0]] for b in buffers for t in b.tensors)
    assert all(offset % alignment == 0 for offset in layout.offsets.values())
    assert layout.size_bytes >= layout.peak_bytes == live_peak_bytes(buffers, rounded)
    assert layout.excess_bytes == layout.size_bytes - layout.peak_bytes


@settings(max_examples=60, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9), st.integers(0, 5)), min_size=1, max_size=12),
)
def test_cp_sat_is_never_worse_than_greedy(shapes: list[tuple[int, int, int]]) -> None:
    buffers = [LiveRange((i,), size, first, first + more) for i, (size, first, more) in enumerate(shapes)]
    sizes = [b.size_bytes for b in buffers]
    exact = pack(buffers, sizes, 0.05)
    check(buffers, sizes, list(exact.offsets), exact.size_bytes)
    assert live_peak_bytes(buffers, sizes) <= exact.size_bytes <= greedy_by_size(buffers, sizes).size_bytes


def test_the_same_buffers_get_the_same_offsets() -> None:
    rng = np.random.default_rng(5)
    buffers = [LiveRange((i,), int(rng.integers(1, 50)), f := int(rng.integers(0, 30)), f + int(rng.integers(0, 9)))
               for i in range(40)]  # fmt: skip
    assert pack_arena(buffers).offsets == pack_arena(buffers).offsets


def test_cp_sat_meets_the_bound_where_greedy_misses_it() -> None:
    assert pack_arena(FOOLS_GREEDY, budget_s=0.0).excess_bytes > 0
    assert pack_arena(FOOLS_GREEDY).excess_bytes == 0


def test_an_empty_arena_takes_no_bytes() -> None:
    layout = pack_arena([])
    assert (layout.size_bytes, layout.peak_bytes, dict(layout.offsets)) == (0, 0, {})


def test_an_alignment_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="alignment 0"):
        pack_arena([], alignment=0)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"size_bytes": 9}, "outside"),
        ({"peak_bytes": 9}, "has a live peak of 10 B, not 9 B"),
        ({"offsets": {0: 0, 1: 0, 2: 0, 3: 0, 4: 0}}, "has two live tensors at 0 B"),
        ({"offsets": {0: 0}}, "other tensors"),
        ({"alignment": 0}, "another alignment"),
    ],
)
def test_a_layout_that_does_not_hold_is_told(change: dict[str, Any], fault: str) -> None:
    layout = pack_arena(FOOLS_GREEDY)
    assert not list(layout_faults(FOOLS_GREEDY, layout))
    assert any(fault in text for text in layout_faults(FOOLS_GREEDY, replace(layout, **change)))


def test_a_plan_file_carries_its_arenas(tmp_path: Path) -> None:
    solve_small(tmp_path)
    loaded = load_plan(tmp_path / "plan.json")
    assert set(loaded.plan.arenas) == {s.name for s in loaded.plan.segments}
    assert not list(arena_faults(loaded.problem, loaded.plan))
    assert {c.name: c.holds for c in verify(loaded).checks}["arenas"]
    broken = replace(loaded.plan.arenas["s0"], size_bytes=-1)
    damaged = replace(loaded.plan, arenas={**loaded.plan.arenas, "s0": broken})
    assert list(arena_faults(loaded.problem, damaged))
    assert list(arena_faults(loaded.problem, replace(loaded.plan, arenas={})))
