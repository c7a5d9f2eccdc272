"""Print what each firmware takes, by part, and keep it as sizes.json: sizes.py BUILD CROSS

Parts of flash: the model runtime with its kernels, the port with its start-up code, the C library, and all the rest,
which is the protocol (frames, sessions, slot, links) and every table that the debug information names no file for.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

SYMBOLS = {"memory_text", "memory_bss_end", "memory_arena_end", "memory_flash_used", "memory_flash_bytes"}
MODEL = re.compile(r"/src/(kernel\w*|runtime|run)\.c|/kernels/")
# Tables are local data, for which there are no lines: these are not the protocol's.
TABLES = {
    **dict.fromkeys(("first_vectors", "board_interrupts", "board_interrupt_count", "cmsdk_uarts", "uarts"), "port"),
    "any.0": "model",
}
_SYMBOL = re.compile(r"^(\w+) (\w+) (\w) (\S+)(?:\t(\S+):\d+)?$", re.MULTILINE)


def _tool(name: str, *arguments: str | Path) -> str:
    return subprocess.run([name, *arguments], capture_output=True, text=True, check=True).stdout


def _part(file: str, kind: str) -> str:
    if MODEL.search(file):
        return "model"
    if "/port/" in file:
        return "port"
    return "library" if "newlib" in file or "libgcc" in file or (not file and kind in "TW") else "protocol"


def _parts(elf: Path, cross: str, begin: int, size: int) -> dict[str, int]:
    """Bytes of .text by part, without the protocol's. The C library has several names for some code: ranges overlap."""
    parts = {"model": 0, "port": 0, "library": 0}
    counted_to = begin
    for symbol in _SYMBOL.finditer(_tool(f"{cross}nm", "--numeric-sort", "-S", "-l", elf)):
        at = int(symbol[1], 16)
        end = min(at + int(symbol[2], 16), begin + size)
        table = "model" if symbol[4].startswith("kernel_") else TABLES.get(symbol[4])
        part = table or _part(symbol[5] or "", symbol[3])
        if symbol[3] not in "tTrRW" or not begin <= at < begin + size:
            continue
        if part in parts:
            parts[part] += max(0, end - max(at, counted_to))
        counted_to = max(counted_to, end)
    return parts


def figures(elf: Path, cross: str) -> dict[str, int]:
    """Bytes by name: parts of flash, sections of RAM, what RAM leaves for a model's arena, the limits."""
    names = _tool(f"{cross}nm", elf)
    marks = {m[2]: int(m[1], 16) for m in re.finditer(r"^(\w+) \w (\w+)$", names, re.MULTILINE) if m[2] in SYMBOLS}
    sections = {
        m[1]: int(m[2]) for m in re.finditer(r"^\.(\w+)\s+(\d+)", _tool(f"{cross}size", "-A", elf), re.MULTILINE)
    }
    text = sections["text"]
    parts = _parts(elf, cross, marks["memory_text"], text)
    return {
        "protocol": text - sum(parts.values()),
        **parts,
        "text": text,
        "data": sections.get("data", 0),
        "bss": sections["bss"] + sections["kept"],
        "stack": sections["stack"],
        "arena": marks["memory_arena_end"] - marks["memory_bss_end"],
        "flash_used": marks["memory_flash_used"],
        "flash_limit": marks["memory_flash_bytes"],
    }


def main() -> None:
    build, cross = Path(sys.argv[1]), sys.argv[2]
    found = {elf.parent.name: figures(elf, cross) for elf in sorted(build.glob("*/firmware.elf"))}
    columns = ("protocol", "model", "port", "library", "text", "data", "bss", "stack", "arena")
    sys.stdout.write(f"{'board':14}" + "".join(f"{c:>9}" for c in columns) + "   flash\n")
    for board, sizes in found.items():
        line = "".join(f"{sizes[c]:9}" for c in columns)
        sys.stdout.write(f"{board:14}{line}   {sizes['flash_used']} of {sizes['flash_limit']}\n")
    (build / "sizes.json").write_text(json.dumps(found, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
