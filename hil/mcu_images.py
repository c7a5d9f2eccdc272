"""The images of a bundle's microcontroller boards: compiled, converted for at the ends of wires, checked for room."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from boards.board import System
from firmware_interface.board_messages import Memory
from firmware_interface.compiler import CompiledSegment, SegmentLayout, compile_segment
from firmware_interface.errors import CompileError
from hil.errors import BundleError
from hil.lab_types import Lab
from hil.mcu_routes import board_routes, link_buffer_bytes
from hil.targets.serial_mcu import SerialMcu
from optimizer.split_manifest import Bundle, BundleSegment, BundleTensor

__all__ = [
    "POSIX",
    "BoardImage",
    "board_type",
    "check_room",
    "compile_boards",
    "from_wire",
    "mcu_boards",
    "to_wire",
]

Array = npt.NDArray[Any]
POSIX = "posix"
_NCHW_TO_NHWC, _NHWC_TO_NCHW = (0, 2, 3, 1), (0, 3, 1, 2)


@dataclass(frozen=True)
class BoardImage:
    """What one board runs."""

    board: str
    segment: str
    compiled: CompiledSegment
    ram_bytes: int
    """Of the arena: the model's, and the buffers of its tensors on the wires."""

    @property
    def size_bytes(self) -> int:
        """Of the slot."""
        return len(self.compiled.image)


def mcu_boards(bundle: Bundle, lab: Lab) -> list[str]:
    """Names of the bundle's boards that are microcontrollers. Raises LabError for boards that the lab lacks."""
    lab.require(bundle.boards)
    return [name for name in bundle.boards if lab.targets[name].serial is not None]


def board_type(board: SerialMcu, lab: Lab, system: System | None) -> str:
    """The type of firmware on a board, which images are made for. Raises WrongBoardError for another than the system's.

    Where an emulation has no emulator, processes play boards of any type.
    """
    played = lab.emulated and board.facts.board == POSIX
    if system is not None and not played:
        board.require_type(system.board(board.name).firmware)
    return board.facts.board


def compile_boards(bundle: Bundle, lab: Lab, types: Mapping[str, str]) -> dict[str, BoardImage]:
    """The image of every board in ``types`` (type by board) that runs a segment. Raises BundleError."""
    compiled = {s.name: _compile(bundle, s, types) for s in bundle.segments if s.board in types}
    routes = board_routes(bundle, lab, compiled, "run")
    images: dict[str, BoardImage] = {}
    for segment in bundle.segments:
        if segment.board in types:
            found = compiled[segment.name]
            ram = found.ram_bytes + link_buffer_bytes(routes[segment.board].routes)
            images[segment.board] = BoardImage(segment.board, segment.name, found, ram)
    return images


def _compile(bundle: Bundle, segment: BundleSegment, types: Mapping[str, str]) -> CompiledSegment:
    path = bundle.directory / segment.file
    wire = {t.name: "nchw" for t in bundle.tensors if t.id in (*segment.inputs, *segment.outputs)}
    boards = {s.name: s.board for s in bundle.segments}
    for tensor in bundle.tensors:
        ends = {boards[name] for name in (*tensor.consumers, *([tensor.producer] if tensor.producer else []))}
        ends |= {bundle.source} if tensor.producer is None else set()
        ends |= {bundle.sink} if tensor.to_sink else set()
        if tensor.name in wire and ends <= set(types):
            del wire[tensor.name]  # both ends keep channels last; the host turns what enters and leaves the bench
    try:
        model = onnx.load(str(path))
        return compile_segment(model, board=types[segment.board], layout=_layout(segment), wire=wire)
    except CompileError as e:
        raise BundleError(
            f"segment {segment.name} cannot be made an image: {e}",
            where=str(path),
            hint="`optimizer solve` says which operators a board has kernels for; other boards may run the rest.",
        ) from e


def _layout(segment: BundleSegment) -> SegmentLayout | None:
    arena = segment.arena
    return None if arena is None else SegmentLayout(arena.operators, arena.offsets, arena.size_bytes)


def check_room(image: BoardImage, memory: Memory) -> None:
    """Raise BundleError unless the board has the room: to be asked before a byte is sent."""
    for what, need, have in (
        ("image", image.size_bytes, memory.slot),
        ("arena, scratch and link buffers", image.ram_bytes, memory.arena),
    ):
        if need > have:
            raise BundleError(
                f"segment {image.segment} does not fit board {image.board}: {what}",
                where=f"board {image.board}",
                expected=f"at most {have} bytes",
                got=f"{need} bytes",
                hint="Solve again with the board's true memory in the system file.",
            )


def to_wire(frame: Array, layout: str) -> bytes:
    """A tensor in ONNX's layout (batch included) as the bytes that a board takes."""
    if layout == "nhwc" and frame.ndim == 4:
        frame = frame.transpose(_NCHW_TO_NHWC)
    return np.ascontiguousarray(frame).tobytes()


def from_wire(data: bytes, tensor: BundleTensor, layout: str) -> Array:
    """The inverse: an array of the tensor's shape."""
    flat = np.frombuffer(data, np.dtype(tensor.dtype))
    if layout == "nhwc" and len(tensor.shape) == 4:
        n, c, h, w = tensor.shape
        return flat.reshape(n, h, w, c).transpose(_NHWC_TO_NCHW)
    return flat.reshape(tensor.shape)
