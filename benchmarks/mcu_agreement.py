"""What boards make of the small networks against ONNX Runtime, on the firmware as a process of this machine.

Run: python -m benchmarks.mcu_agreement [--inputs N] [--seed N] [MODEL ...]

int8: the share of output bytes that are equal, and the largest difference in steps, over random inputs (all values of
int8; the digits network on its 360 pictures, with the share of equal answers). float32: the largest difference over the
largest magnitude of the output.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

from firmware_interface.board_client import BoardClient
from firmware_interface.compiler import CompiledSegment, WireTensor, compile_segment
from firmware_interface.firmware_build import Limits, build_firmware
from optimizer.zoo import load_zoo_model, tiny_names
from optimizer.zoo_digits import digits_test

Array = npt.NDArray[np.generic]
BUILD = Path(__file__).parent.parent / "build" / "firmware"
LIMITS = Limits(ram_bytes=1 << 20, slot_bytes=1088 * 1024)
TOO_LARGE = "tiny_mobilenet_v2_035"
"""In float32 it has 2 MB, which no slot holds."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("models", nargs="*", default=[n for n in tiny_names() if n != TOO_LARGE])
    parser.add_argument("--inputs", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with posix_board() as client:
        for name in options.models:
            model = load_zoo_model(name)
            segment = compile_segment(model, board="posix")
            inputs = inputs_of(name, segment.inputs[0], options.inputs, np.random.default_rng(options.seed))
            print(f"{name:>28} {len(inputs):4d} inputs  {compare(client, model, segment, inputs)}", flush=True)


@contextmanager
def posix_board() -> Iterator[BoardClient]:
    """A session with a board of its own."""
    program = build_firmware(BUILD, "posix", LIMITS)
    with tempfile.TemporaryDirectory() as folder:
        line = Path(folder) / "u0"
        command = [str(program), "--uart", f"0=unix:{line}"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
            try:
                while process.stdout is not None and "ready" not in process.stdout.readline():
                    pass
                with BoardClient.open(f"unix:{line}", "posix") as client:
                    yield client
            finally:
                process.kill()


def inputs_of(name: str, tensor: WireTensor, count: int, rng: np.random.Generator) -> list[Array]:
    """Pictures for the digits network, random elements for all others."""
    if name == "tiny_digits_int8":
        pictures, _ = digits_test()
        return [np.asarray(p, np.int8).reshape(tensor.shape) for p in pictures]
    if tensor.dtype == "int8":
        return [rng.integers(-128, 128, tensor.shape, dtype=np.int8) for _ in range(count)]
    return [rng.standard_normal(tensor.shape).astype(np.float32) for _ in range(count)]


def compare(client: BoardClient, model: onnx.ModelProto, segment: CompiledSegment, inputs: list[Array]) -> str:
    """The figures of one network."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    client.load(client.write_image(segment.image).sha256)
    source, target = segment.inputs[0], segment.outputs[0]
    made, wanted = [], []
    for values in inputs:
        on_wire = values.transpose(0, 2, 3, 1) if source.layout == "nhwc" else values
        client.write_input(0, np.ascontiguousarray(on_wire).tobytes())
        client.run()
        made.append(np.frombuffer(client.read_output(0, target.size_bytes), target.dtype))
        wanted.append(np.asarray(session.run(None, {source.name: values})[0]).reshape(-1))
    ours, theirs = np.array(made), np.array(wanted)
    if target.dtype != "int8":
        return f"largest difference {np.abs(ours - theirs).max() / np.abs(theirs).max():.1e} of the largest magnitude"
    steps = np.abs(ours.astype(int) - theirs.astype(int))
    same = np.mean(ours.argmax(axis=1) == theirs.argmax(axis=1))
    return f"{np.mean(steps == 0):7.2%} of bytes equal, largest difference {steps.max()} steps, same answer {same:.1%}"


if __name__ == "__main__":
    main()
