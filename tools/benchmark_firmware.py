"""Build the firmware that answers standard benchmark runners, with a network of the zoo or a file.

python tools/benchmark_firmware.py zoo:tiny_resnet8_int8 ic01 mps2-an386 posix
"""

from __future__ import annotations

import argparse
from pathlib import Path

import onnx

from firmware_interface.eembc_network import SUITE, build_benchmark_firmware
from optimizer.zoo import load_zoo_model

ZOO = "zoo:"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="zoo:NAME or a file; int8 between DequantizeLinear and QuantizeLinear")
    parser.add_argument("task", choices=sorted(SUITE))
    parser.add_argument("boards", nargs="+", help="board types")
    parser.add_argument("--build", type=Path, default=Path("build/firmware"))
    arguments = parser.parse_args()
    name: str = arguments.model
    model = load_zoo_model(name.removeprefix(ZOO)) if name.startswith(ZOO) else onnx.load(name)
    print(build_benchmark_firmware(arguments.build, arguments.boards, arguments.task, model))


if __name__ == "__main__":
    main()
