"""Write boards/runtimes/edgecut-mcu.yaml from the firmware build and the compiler's coverage.

    python tools/mcu_runtime.py            # build what is not up to date, write the file
    python tools/mcu_runtime.py --check    # say whether the file is what would be written

Needs make, gcc and gcc-arm-none-eabi. Sizes depend on the compiler; its version stands in the file.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from firmware_interface import coverage
from firmware_interface.compiler_emit import BLOB_ALIGNMENT
from firmware_interface.compiler_layout import ALIGNMENT
from firmware_interface.firmware_build import FIRMWARE_SOURCE, build_firmware
from firmware_interface.image import HEADER_BYTES
from firmware_interface.record_sizes import record_sizes

ROOT = Path(__file__).parent.parent
BUILD = ROOT / "build" / "runtime"
TARGET = ROOT / "boards" / "runtimes" / "edgecut-mcu.yaml"
CROSS = "arm-none-eabi-"
PORTS = {
    "lm3s6965evb": ("lm3s6965evb", ""),
    "mps2-an386": ("mps2", "BOARD_AN386"),
    "mps2-an500": ("mps2", "BOARD_AN500"),
    "mps3-an547": ("mps3", ""),
    "netduinoplus2": ("stm32f405", "BOARD_NETDUINOPLUS2"),
    "posix": ("posix", ""),
    "stm32f405": ("stm32f405", ""),
}
"""Folder of the port by board type, and what its board.h is read with."""
AREAS = {"stm32f405": 0x20000}
"""Flash kept for the firmware and the slot's header; 64 KiB unless said here."""
BLOCK = 16
RECORD_RAM = 8
TENSOR_ENTRY = 8


def describe() -> dict[str, Any]:
    """The content of the file."""
    return {
        "schema": "edgecut/runtime/1",
        "name": "edgecut-mcu",
        **coverage_part(),
        "compilers": {"posix": compiler_version("cc"), "cortex-m": compiler_version(f"{CROSS}gcc")},
        "firmware": {board: firmware_figures(board) for board in PORTS},
    }


def coverage_part() -> dict[str, Any]:
    """What follows from the compiler alone."""
    return {
        "image": {"header": HEADER_BYTES, "tensor": TENSOR_ENTRY},
        "arena": {"alignment": ALIGNMENT, "block": BLOCK, "record": RECORD_RAM, "weights": BLOB_ALIGNMENT},
        "overwriting": list(coverage.OVERWRITING),
        "elementwise": list(coverage.ELEMENTWISE),
        "views": list(coverage.VIEWS),
        "limited": list(coverage.LIMITED_KERNELS),
        "kernels": {
            name: {"record": size, "scratch": coverage.SCRATCH.get(name, "0")} for name, size in record_sizes().items()
        },
        "operators": {name: _operator(found) for name, found in sorted(coverage.OPERATORS.items())},
    }


def _operator(found: coverage.Coverage) -> dict[str, Any]:
    cases = {"int8": found.int8, "float32": found.float32, "mixed": found.mixed}
    return {"takes": found.takes} | {
        precision: [{"when": c.when, "records": dict(c.records), "weights": c.weights} for c in listed]
        for precision, listed in cases.items()
        if listed
    }


def compiler_version(compiler: str) -> str:
    """Of a C compiler."""
    return subprocess.run([compiler, "-dumpfullversion"], capture_output=True, text=True, check=True).stdout.strip()


def firmware_figures(board: str) -> dict[str, int]:
    """Memory of one board's firmware as MEMORY tells it, built with the chip's own limits."""
    program = build_firmware(BUILD, board)
    macros = board_macros(*PORTS[board])
    rings = _symbol_bytes(program, "uart_rings", "" if board == "posix" else CROSS)
    fixed = {"area": AREAS.get(board, 0x10000), "sector": macros["BOARD_SECTOR_BYTES"]}
    if board == "posix":  # the host's memory is its own affair
        stack = macros["BOARD_STACK_BYTES"]
        gap = -(stack + rings) % BLOCK
        return {"data": 0, "bss": 0, "rings": rings, "stack": stack, "gap": gap, "flash_used": 0, **fixed}
    found = _sizes_module().figures(program, CROSS)
    ram = _address(program, "memory_ram_bytes")
    taken = found["data"] + found["bss"] + found["stack"] + found["arena"]
    return {
        "data": found["data"], "bss": found["bss"] - rings, "rings": rings, "stack": found["stack"], "gap": ram - taken,
        "flash_used": found["flash_used"], **fixed,
    }  # fmt: skip


def board_macros(port: str, define: str) -> Mapping[str, int]:
    """Whole-number macros of a port's board.h."""
    header = FIRMWARE_SOURCE / "port" / port / "board.h"
    command = ["cc", "-E", "-dM", *([f"-D{define}"] if define else []), str(header)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {}
    for name, value in re.findall(r"^#define (BOARD_\w+) ([\d(][\w() *]*)$", text, re.MULTILINE):
        found[name] = _number(ast.parse(re.sub(r"\b(\d+)u\b", r"\1", value), mode="eval").body)
    return found


def _number(node: ast.expr) -> int:
    if isinstance(node, ast.Constant):
        return int(node.value)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        return _number(node.left) * _number(node.right)
    raise ValueError(f"board.h: {ast.unparse(node)} is no product of numbers")


def _sizes_module() -> Any:
    spec = importlib.util.spec_from_file_location("firmware_sizes", FIRMWARE_SOURCE / "sizes.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _symbols(program: Path, cross: str, *options: str) -> str:
    return subprocess.run([f"{cross}nm", *options, program], capture_output=True, text=True, check=True).stdout


def _symbol_bytes(program: Path, symbol: str, cross: str) -> int:
    match = re.search(rf"^\w+ (\w+) \w {symbol}$", _symbols(program, cross, "-S"), re.MULTILINE)
    assert match is not None, symbol
    return int(match[1], 16)


def _address(program: Path, symbol: str) -> int:
    match = re.search(rf"^(\w+) \w {symbol}$", _symbols(program, CROSS), re.MULTILINE)
    assert match is not None, symbol
    return int(match[1], 16)


def text() -> str:
    """The file."""
    head = "# Generated by tools/mcu_runtime.py from the firmware build and the compiler's coverage; do not edit.\n"
    return head + yaml.safe_dump(describe(), sort_keys=False, width=118)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    made = text()
    if parser.parse_args().check:
        sys.exit(0 if TARGET.read_text("utf-8") == made else f"{TARGET} is not up to date")
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(made, "utf-8")


if __name__ == "__main__":
    main()
