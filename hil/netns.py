"""Boards in network namespaces of their own, joined by virtual cables that `tc` slows down.

The namespaces have no names: each lives as long as the agent in it, and takes its cables along when it goes.
So nothing is left on the machine even after the starter was killed. Addresses of data cables exist only
inside; on the host there is one end of a control cable a board, in a 10.x network that nothing else uses.

Linux, root, iproute2 and util-linux are needed; :func:`namespaces_unavailable` says what is missing.
"""

from __future__ import annotations

import ipaddress
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from hil.errors import EmulationError

__all__ = [
    "MAX_BOARDS",
    "ControlNetwork",
    "await_namespace",
    "connect",
    "in_new_namespace",
    "namespaces_unavailable",
    "tbf_options",
]

MAX_BOARDS = 64
"""A control network of 256 addresses holds 64 cables of 4."""

_COMMAND_TIMEOUT_S = 10.0
_TCP_IP_HEADER_BYTES = 20 + 32  # IPv4, and TCP with time stamps
_ETHERNET_HEADER_BYTES = 14
_FAST_MTU_BYTES, _SLOW_MTU_BYTES = 1500, 576
_SLOW_BYTES_PER_S = 1e6
"""Below this a full packet would hold up a small message for long: use small packets."""
_BURST_S = 400e-6
"""Credit of a shaper. Less, and late timers cost rate at 1 Gbit/s; more, and small tensors cross for free."""
_QUEUE_BYTES = 4 << 20  # more than one TCP flow ever queues: a drop would be a stall no wire has
_PROBE = (
    "ip link add probe0 type veth peer name probe1 && "
    "tc qdisc add dev probe0 root tbf rate 1mbit burst 3200 limit 100000"
)
"""What a container's root may lack the rights for, or its kernel the modules."""
_numbers = itertools.count()


def namespaces_unavailable() -> str:
    """Why network namespaces cannot be used here; "" when they can."""
    if not sys.platform.startswith("linux"):
        return "network namespaces are a matter of Linux"
    for program, package in (
        ("ip", "iproute2"),
        ("tc", "iproute2"),
        ("unshare", "util-linux"),
        ("nsenter", "util-linux"),
    ):
        if shutil.which(program) is None:
            return f"the program {program!r} is missing (package {package})"
    if os.geteuid() != 0:
        return "network namespaces and tc need root"
    probe = subprocess.run(
        in_new_namespace(["sh", "-c", _PROBE]),
        capture_output=True,
        text=True,
        timeout=_COMMAND_TIMEOUT_S,
        check=False,
    )
    if probe.returncode != 0:
        return f"this root may not shape links in network namespaces ({' '.join(probe.stderr.split())})"
    return ""


def in_new_namespace(command: Sequence[str]) -> list[str]:
    """The command, to be started in a fresh network namespace; it keeps its process id and parent."""
    return ["unshare", "--net", "--", *command]


def await_namespace(pid: int, timeout_s: float = 5.0) -> None:
    """Wait until the process has its own network namespace. Raises EmulationError."""
    ours = Path("/proc/self/ns/net").readlink()
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/ns/net").readlink() != ours:
                return
        except OSError:
            break  # the process is gone
        time.sleep(0.002)
    raise EmulationError(
        "a board did not get its network namespace",
        where=f"process {pid}",
        expected=f"its own namespace within {timeout_s:g} s",
        got="none",
        hint="Use --shaping relay, which needs no namespaces.",
    )


class ControlNetwork:
    """The host's unshaped way to the boards: one cable a board in a free 10.x.y.0/24 network."""

    def __init__(self) -> None:
        number = next(_numbers)
        self._prefix = _free_prefix(os.getpid() * 7 + number)
        self._device = f"ec{os.getpid():x}.{number}."  # 15 characters at most, with the board's number

    def attach(self, pid: int, index: int) -> str:
        """Cable board ``index`` (its process is ``pid``) to the host; the board's address."""
        host_end = f"{self._device}{index}"
        host, board = (f"{self._prefix}.{4 * index + i}" for i in (1, 2))
        _run(["ip", "link", "add", host_end, "type", "veth", "peer", "name", "control", "netns", str(pid)])
        _batch(["ip"], [f"addr add {host}/30 dev {host_end}", f"link set {host_end} up"])
        inside = [f"addr add {board}/30 dev control", "link set control up", "link set lo up"]
        _batch(_inside(pid, "ip"), inside)
        return board


def connect(source_pid: int, target_pid: int, index: int, payload_bytes_per_s: float) -> str:
    """Cable two boards for directed link ``index``, shaped towards the target; the target's address on it.

    What flows back on this cable (acknowledgements, credits) is not shaped.
    """
    devices = f"data{index}", f"data{index}r"
    source, target = (f"169.254.{1 + index // MAX_BOARDS}.{4 * (index % MAX_BOARDS) + i}" for i in (1, 2))
    mtu = _mtu_bytes(payload_bytes_per_s)
    _run(
        [
            *("ip", "link", "add", devices[0], "mtu", str(mtu), "netns", str(source_pid), "type", "veth"),
            *("peer", "name", devices[1], "mtu", str(mtu), "netns", str(target_pid)),
        ]
    )
    for pid, device, address in zip((source_pid, target_pid), devices, (source, target), strict=True):
        _batch(_inside(pid, "ip"), [f"addr add {address}/30 dev {device}", f"link set {device} up"])
    shaper = ["tc", "qdisc", "add", "dev", devices[0], "root", "tbf", *tbf_options(payload_bytes_per_s)]
    _run(_inside(source_pid, *shaper))
    return target


def tbf_options(payload_bytes_per_s: float) -> list[str]:
    """Options of `tc ... tbf` under which TCP carries payload at that rate."""
    mtu = _mtu_bytes(payload_bytes_per_s)
    frame = mtu + _ETHERNET_HEADER_BYTES
    frame_bytes_per_s = payload_bytes_per_s * frame / (mtu - _TCP_IP_HEADER_BYTES)
    burst = max(2 * frame + 100, round(frame_bytes_per_s * _BURST_S))
    rate = max(8, round(frame_bytes_per_s * 8))
    return ["rate", f"{rate}bit", "burst", str(burst), "limit", str(_QUEUE_BYTES)]


def _mtu_bytes(payload_bytes_per_s: float) -> int:
    return _FAST_MTU_BYTES if payload_bytes_per_s >= _SLOW_BYTES_PER_S else _SLOW_MTU_BYTES


def _free_prefix(seed: int) -> str:
    """First three bytes of a 10.x.y.0/24 network that no address or route of this host touches."""
    used = [ipaddress.ip_network(text, strict=False) for text in _host_networks()]
    for step in range(1 << 16):
        number = (seed + step) % (1 << 16)
        prefix = f"10.{number >> 8}.{number & 255}"
        network = ipaddress.ip_network(f"{prefix}.0/24")
        if not any(network.overlaps(other) for other in used):
            return prefix
    raise EmulationError(
        "no free control network",
        expected="an unused 10.x.y.0/24 network",
        got="routes of this host over all of 10.0.0.0/8",
        hint="Use --shaping relay, which needs no addresses.",
    )


def _host_networks() -> list[str]:
    routes = json.loads(_run(["ip", "-j", "-4", "route", "show", "table", "all"]) or "[]")
    return [r["dst"] for r in routes if r.get("dst", "default") not in ("default", "0.0.0.0/0")]


def _inside(pid: int, *command: str) -> list[str]:
    return ["nsenter", "--target", str(pid), "--net", "--", *command]


def _batch(command: Sequence[str], lines: Sequence[str]) -> None:
    _run([*command, "-batch", "-"], "".join(f"{line}\n" for line in lines))


def _run(command: Sequence[str], text: str = "") -> str:
    try:
        done = subprocess.run(
            command, input=text, capture_output=True, text=True, timeout=_COMMAND_TIMEOUT_S, check=False
        )
        fault = "" if done.returncode == 0 else done.stderr.strip() or f"exit code {done.returncode}"
    except subprocess.TimeoutExpired:
        fault = f"no end within {_COMMAND_TIMEOUT_S:g} s"
    if fault:
        raise EmulationError(
            "the emulated network cannot be set up",
            where=" ".join([*command, *text.splitlines()]),
            expected="success",
            got=fault,
            hint="Use --shaping relay, which needs no namespaces.",
        )
    return done.stdout
