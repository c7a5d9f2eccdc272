"""Latency that a hop between two agents adds, against a raw socket ping-pong of the same bytes.

Run: python -m benchmarks.hop_latency [--rounds N] [--json FILE]

Two agents, each on a core of its own. Two trivial segments run frame by frame, once both on one board and once on
two. Added: how much later after the end of the first the second begins (both clocks are this machine's monotonic
clock). End to end: the difference of the latencies of whole frames, which also holds what cold caches do to the
segments themselves. Raw: half the round trip between two bare Python processes on the same cores, each sending and
receiving the bytes. All are medians of single frames; they are measured in turns, and the ratio is the median over
the rounds. Wanted: added / raw at most 2 for 4 KB and 1.3 for 784 KB.
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
from firmware_interface.messages import Mode
from hil.deploy import deploy
from hil.deploy_bundle import open_bundle
from hil.lab_types import Lab
from hil.measure import random_stimuli
from optimizer.split_manifest import Bundle

SIZES = {"4 KB": 4096, "784 KB": 802816}
WANTED = {"4 KB": 2.0, "784 KB": 1.3}
ROUNDS = 5
FRAMES = 300
PINGS = 300
TIMEOUT_S = 30.0


def main() -> None:
    """Print the table; write the JSON file if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", type=Path)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    rows = [_row(label, size, options.rounds) for label, size in SIZES.items()]
    print(f"{'bytes':>8} {'added us':>9} {'end to end us':>14} {'raw us':>8} {'ratio':>6} {'wanted':>7}")
    for r in rows:
        print(
            f"{r['label']:>8} {r['added_us']:9.1f} {r['end_to_end_us']:14.1f} {r['raw_us']:8.1f} "
            f"{r['ratio']:6.2f} {'<= ' + str(r['wanted']):>7}"
        )
    if options.json:
        options.json.write_text(json.dumps(rows, indent=1) + "\n")


def _row(label: str, size: int, rounds: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="edgecut-bench-") as name:
        folder = Path(name)
        together = open_bundle(two_part_bundle(folder / "one", size, "a", "a"))
        apart = open_bundle(two_part_bundle(folder / "two", size, "a", "b"))
        with pinned_lab(folder, ["a", "b"]) as lab:
            found = [_round(together, apart, lab, size) for _ in range(rounds)]
    columns = {key: statistics.median(r[key] for r in found) for key in found[0]}
    return {
        "label": label,
        "size_bytes": size,
        **columns,
        "ratio": statistics.median(r["added_us"] / r["raw_us"] for r in found),
        "wanted": WANTED[label],
        "rounds": found,
    }


def _round(together: Bundle, apart: Bundle, lab: Lab, size: int) -> dict[str, float]:
    gap_one, whole_one = _frames_s(together, lab)
    gap_two, whole_two = _frames_s(apart, lab)
    return {
        "added_us": (gap_two - gap_one) * 1e6,
        "end_to_end_us": (whole_two - whole_one) * 1e6,
        "raw_us": _raw_s(size) * 1e6,
    }


def _frames_s(bundle: Bundle, lab: Lab) -> tuple[float, float]:
    """Medians: from the end of s0 to the begin of s1, and of the whole frame, seconds."""
    with deploy(bundle, lab, stimuli=random_stimuli(bundle)) as deployment:
        deployment.start(Mode.LATENCY, FRAMES)
        counters = deployment.finish(FRAMES, TIMEOUT_S)
    spans = {name: s for c in counters.values() for name, s in c["latency"]["timeline"].items()}
    gaps = [second[0] - first[1] for first, second in zip(spans["s0"], spans["s1"], strict=True)]
    latency = counters[bundle.source]["latency"]
    whole = statistics.median(latency["samples_ns"]) - latency["return_ns"]
    return statistics.median(gaps) / 1e9, whole / 1e9


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
