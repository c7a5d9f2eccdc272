"""Latency that a hop between two agents adds, against a raw socket ping-pong of the same bytes.

Run: python -m benchmarks.hop_latency [--json FILE]

Two agents, each on a core of its own. The same two trivial segments run once on one board (no hop) and once on
two (one hop); the difference of the medians of single-frame latency is what the hop adds. The raw figure is
half the round trip between two bare Python processes on the same cores, each sending and receiving the bytes.
The two are measured in turns, several times, and the median ratio is reported. Wanted: at most 2 for 4 KB and
1.3 for 784 KB.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import tempfile
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from pathlib import Path
from typing import Any

from benchmarks.agents import pinned_lab, two_part_bundle
from hil.lab_types import Lab
from hil.measure import measure

SIZES = {"4 KB": 4096, "784 KB": 802816}
WANTED = {"4 KB": 2.0, "784 KB": 1.3}
ROUNDS = 5
FRAMES = 300
PINGS = 300
TIMEOUT_S = 30.0


def main() -> None:
    """Print the table; write the JSON file if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    rows = [_row(label, size, options.rounds) for label, size in SIZES.items()]
    print(f"{'bytes':>8} {'no hop us':>10} {'one hop us':>11} {'added us':>9} {'raw us':>8} {'ratio':>6} {'wanted':>7}")
    for r in rows:
        print(
            f"{r['label']:>8} {r['none_us']:10.1f} {r['one_us']:11.1f} {r['added_us']:9.1f} {r['raw_us']:8.1f} "
            f"{r['ratio']:6.2f} {'<= ' + str(r['wanted']):>7}"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def _row(label: str, size: int, rounds: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory(prefix="edgecut-bench-") as name:
        folder = Path(name)
        together = two_part_bundle(folder / "one", size, "a", "a")
        apart = two_part_bundle(folder / "two", size, "a", "b")
        with pinned_lab(folder, ["a", "b"]) as lab:
            found = [(_latency_s(together, lab), _latency_s(apart, lab), _raw_s(size)) for _ in range(rounds)]
    none, one, raw = (statistics.median(column) for column in zip(*found, strict=True))
    ratio = statistics.median((two - alone) / bare for alone, two, bare in found)
    return {
        "label": label,
        "size_bytes": size,
        "none_us": none * 1e6,
        "one_us": one * 1e6,
        "added_us": (one - none) * 1e6,
        "raw_us": raw * 1e6,
        "ratio": ratio,
        "wanted": WANTED[label],
        "rounds": [{"none_s": a, "one_s": b, "raw_s": c} for a, b, c in found],
    }


def _latency_s(bundle: Path, lab: Lab) -> float:
    result = measure(bundle, lab, window_s=0.05, warmup_s=0.05, latency_frames=FRAMES)
    if result.latency is None:
        raise RuntimeError("no latency was measured")
    return result.latency.p50_s


def _raw_s(size: int) -> float:
    """Half the round trip of ``size`` bytes each way between two bare processes, seconds."""
    context = get_context("spawn")
    port_here, port_there = context.Pipe(duplex=False)
    answer_here, answer_there = context.Pipe(duplex=False)
    other = context.Process(target=_echo, args=(port_there, size), daemon=True)
    other.start()
    asker = context.Process(target=_ask, args=(answer_there, _receive(port_here), size), daemon=True)
    asker.start()
    result: float = _receive(answer_here)
    asker.join(TIMEOUT_S)
    other.join(TIMEOUT_S)
    return result


def _receive(pipe: Pipe) -> Any:
    if not pipe.poll(TIMEOUT_S):
        raise RuntimeError("a ping-pong process did not answer")
    return pipe.recv()


def _echo(pipe: Pipe, size: int) -> None:
    os.sched_setaffinity(0, [cores()[1]])
    with socket.create_server(("127.0.0.1", 0)) as server:
        pipe.send(server.getsockname()[1])
        sock, _ = server.accept()
    buffer = memoryview(bytearray(size))
    with sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(PINGS):
            _fill(sock, buffer)
            sock.sendall(buffer)


def _ask(pipe: Pipe, port: int, size: int) -> None:
    os.sched_setaffinity(0, [cores()[0]])
    buffer = memoryview(bytearray(size))
    trips: list[int] = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(PINGS):
            start = time.monotonic_ns()
            sock.sendall(buffer)
            _fill(sock, buffer)
            trips.append(time.monotonic_ns() - start)
    pipe.send(statistics.median(trips) / 2e9)


def _fill(sock: socket.socket, buffer: memoryview) -> None:
    while len(buffer):
        buffer = buffer[sock.recv_into(buffer, 0, socket.MSG_WAITALL) :]


def cores() -> list[int]:
    """Two cores for the two ends; the same one twice where there is only one."""
    available = sorted(os.sched_getaffinity(0))
    return [available[0], available[-1]]


if __name__ == "__main__":
    main()
