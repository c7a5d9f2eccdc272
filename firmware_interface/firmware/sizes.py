"""Print what each firmware takes: text, data, bss, and what its RAM leaves for a model's arena."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

SYMBOLS = ("memory_bss_end", "memory_arena_end", "memory_flash_used", "memory_flash_bytes")


def figures(elf: Path, cross: str) -> dict[str, int]:
    """Bytes by name; the linker script's symbols and the sections' sizes."""
    names = subprocess.run([f"{cross}nm", elf], capture_output=True, text=True, check=True).stdout
    found = {m[2]: int(m[1], 16) for m in re.finditer(r"^(\w+) \w (\w+)$", names, re.MULTILINE) if m[2] in SYMBOLS}
    sections = subprocess.run([f"{cross}size", "-A", elf], capture_output=True, text=True, check=True).stdout
    found |= {m[1]: int(m[2]) for m in re.finditer(r"^\.(\w+)\s+(\d+)", sections, re.MULTILINE)}
    return found


def main() -> None:
    build, cross = Path(sys.argv[1]), sys.argv[2]
    sys.stdout.write(f"{'board':16}{'text':>8}{'data':>8}{'bss':>8}{'arena':>10}   of flash\n")
    for elf in sorted(build.glob("*/firmware.elf")):
        f = figures(elf, cross)
        arena = f["memory_arena_end"] - f["memory_bss_end"]
        sys.stdout.write(
            f"{elf.parent.name:16}{f['text']:8}{f.get('data', 0):8}{f['bss'] + f['kept']:8}{arena:10}"
            f"   {f['memory_flash_used']} of {f['memory_flash_bytes']}\n"
        )


if __name__ == "__main__":
    main()
