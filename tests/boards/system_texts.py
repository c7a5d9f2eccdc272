"""Pieces of system files."""

from __future__ import annotations

HEAD = "schema: edgecut/system/1\nname: bench\n"
TWO = HEAD + "boards:\n  a: {use: local-core}\n  b: {use: local-core}\n"
ENDS = "source: a\nsink: b\n"
CABLE = "links:\n  - {between: [a, b], medium: ethernet-100m}\n"
PROCESSOR = "{name: cpu, kind: cpu, macs: {fp32: 1GMAC/s}, memory_bandwidth: 1GB/s, active_power: 2W, idle_power: 1W}"
BOARD = f"processors: [{PROCESSOR}], ram: 1GiB"
