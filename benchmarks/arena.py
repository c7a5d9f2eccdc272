"""Arenas of segments: order of operators and offsets against the graph's order packed greedily by size.

Run: python -m benchmarks.arena [--windows N] [--seed N] [--json FILE] [MODEL ...]

Each network of the zoo is packed whole and in random windows (operators a..b of the graph's order: what a segment of
a chain of boards would run), with in-place operators and without. Columns, geometric means over the windows with the
worst behind the slash:

  graph   greedy by size on the graph's order (what TFLite Micro's planner does; written anew here), to our arena
  greedy  greedy by size on our order, to our arena
  ours    our arena to its live-range peak: 1 means that no layout of this order is smaller
  order   our peak to the bound over all orders: 1 means that no order has a lower peak

then how many windows CP-SAT was asked for (where greedy placement, with what stood out placed first, misses the peak),
how many of those met the peak, and the most seconds a window took. The last row packs random buffers, which no network
has, so that CP-SAT has something to do.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from optimizer.graph import Graph
from optimizer.memory import LiveRange, live_ranges
from optimizer.memory_offsets import greedy_by_size, live_peak_bytes, pack
from optimizer.memory_order import always_live, lowest_peak_order
from optimizer.onnx_model import load_graph
from optimizer.zoo import zoo_names

BUDGET_S = 0.1
"""CP-SAT's deterministic seconds a window."""


@dataclass(frozen=True)
class Window:
    """Bytes of one window in every way, and what they took."""

    model: str
    first: int
    last: int
    in_place: bool
    graph_order_greedy: int
    our_order_greedy: int
    ours: int
    peak: int
    order_bound: int
    by_cpsat: bool
    order_s: float
    packing_s: float


def main() -> None:
    """Print the table; write the JSON file if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=zoo_names())
    parser.add_argument("--windows", type=int, default=60, help="random windows a network, besides the whole")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    print(
        f"{'network':>18} {'in place':>8} {'graph/ours':>14} {'greedy/ours':>14} {'ours/peak':>14} {'order/bound':>14} "
        f"{'CP-SAT':>7} {'met':>4} {'max s':>7}"
    )
    everything: list[Window] = []
    for model in options.models:
        graph = load_graph(f"zoo:{model}")
        spans = windows(len(graph.operators), options.windows, random.Random(options.seed))
        live = always_live(graph)
        for in_place in (True, False):
            found = [_measure(graph, model, live, span, in_place) for span in spans]
            found = [w for w in found if w.peak]
            everything += found
            _print(model, in_place, found)
    _print("all", True, [w for w in everything if w.in_place])
    _print("all", False, [w for w in everything if not w.in_place])
    everything += (made := [_made(random.Random(options.seed + i)) for i in range(options.windows)])
    _print("random buffers", False, made)
    if options.json:
        options.json.write_text(json.dumps([asdict(w) for w in everything], indent=1), encoding="utf-8")


def windows(n: int, count: int, rng: random.Random) -> list[tuple[int, int]]:
    """The whole network, then random windows (first operator, one past the last) of two operators or more."""
    spans = [(0, n)]
    while len(spans) <= count:
        first, last = sorted(rng.sample(range(n + 1), 2))
        if last - first >= 2:
            spans.append((first, last))
    return spans


def _measure(graph: Graph, model: str, live: npt.NDArray[np.bool_], span: tuple[int, int], in_place: bool) -> Window:
    operators = range(*span)
    sizes = {
        t: graph.tensors[t].size_bytes
        for v in operators
        for t in graph.operators[v].outputs
        if not graph.tensors[t].is_output and all(c in operators for c in graph.tensors[t].consumers)
    }
    plain = live_ranges(graph, operators, sizes, in_place=in_place)
    begin = time.perf_counter()
    order = lowest_peak_order(graph, live, operators, sizes, in_place=in_place)
    ordered = time.perf_counter()
    buffers = live_ranges(graph, order.operators, sizes, in_place=in_place)
    held = [b.size_bytes for b in buffers]
    packed_from = time.perf_counter()
    packing = pack(buffers, held, BUDGET_S)
    packed = time.perf_counter()
    return Window(
        model=model,
        first=span[0],
        last=span[1],
        in_place=in_place,
        graph_order_greedy=greedy_by_size(plain, [b.size_bytes for b in plain]).size_bytes,
        our_order_greedy=greedy_by_size(buffers, held).size_bytes,
        ours=packing.size_bytes,
        peak=live_peak_bytes(buffers, held),
        order_bound=order.bound_bytes,
        by_cpsat=packing.seconds > 0,
        order_s=ordered - begin,
        packing_s=packed - packed_from,
    )


def _made(rng: random.Random) -> Window:
    """An arena of random buffers; there is no order to choose."""
    starts = [rng.randint(0, 30) for _ in range(rng.randint(10, 40))]
    buffers = [LiveRange((i,), rng.randint(1, 64), start, start + rng.randint(0, 8)) for i, start in enumerate(starts)]
    held = [b.size_bytes for b in buffers]
    peak = live_peak_bytes(buffers, held)
    greedy = greedy_by_size(buffers, held).size_bytes
    begin = time.perf_counter()
    packing = pack(buffers, held, BUDGET_S)
    seconds = time.perf_counter() - begin
    return Window(
        model="random buffers",
        first=0,
        last=len(buffers),
        in_place=False,
        graph_order_greedy=greedy,
        our_order_greedy=greedy,
        ours=packing.size_bytes,
        peak=peak,
        order_bound=peak,
        by_cpsat=packing.seconds > 0,
        order_s=0.0,
        packing_s=seconds,
    )


def _print(model: str, in_place: bool, found: Sequence[Window]) -> None:
    if not found:
        return
    asked = [w for w in found if w.by_cpsat]
    cells = [
        _ratio([w.graph_order_greedy / w.ours for w in found]),
        _ratio([w.our_order_greedy / w.ours for w in found]),
        _ratio([w.ours / w.peak for w in found]),
        _ratio([w.peak / w.order_bound for w in found]),
    ]
    seconds = max(w.order_s + w.packing_s for w in found)
    print(
        f"{model:>18} {'yes' if in_place else 'no':>8} {' '.join(f'{c:>14}' for c in cells)} {len(asked):7d} "
        f"{sum(w.ours == w.peak for w in asked):4d} {seconds:7.3f}",
        flush=True,
    )


def _ratio(values: Sequence[float]) -> str:
    return f"{math.exp(statistics.fmean(map(math.log, values))):.4f} / {max(values):.3f}"


if __name__ == "__main__":
    main()
