"""The catalog: boards, media and ready systems by name, and systems from files.

Every figure of the catalog has its source; ``board_figures`` and ``medium_figures`` list them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from boards.board import Board, System
from boards.errors import DescriptionError, Fault, UnknownNameError
from boards.faults import key_text, validate
from boards.medium import Medium
from boards.schema import FIGURES, BoardSpec, MediumSpec
from boards.system_file import board_from_spec, medium_from_spec, read_system
from boards.units import Quantity
from boards.use import Shelf, board_shelf, medium_shelf, resolve
from boards.yaml_tree import Node

__all__ = [
    "Figure",
    "board_figures",
    "list_boards",
    "list_media",
    "list_systems",
    "load_board",
    "load_medium",
    "load_system",
    "medium_figures",
]

_SYSTEMS = Path(__file__).parent / "systems"


@dataclass(frozen=True)
class Figure:
    """One figure of a catalog entry as it is written, and where it comes from."""

    key: str
    text: str
    quantity: Quantity
    source: str
    file: str
    line: int


def list_boards() -> tuple[str, ...]:
    """Names of all boards of the catalog, sorted."""
    return tuple(board_shelf().names())


def list_media() -> tuple[str, ...]:
    """Names of all media of the catalog, sorted."""
    return tuple(medium_shelf().names())


def list_systems() -> tuple[str, ...]:
    """Names of all ready systems, sorted."""
    return tuple(sorted(path.stem for path in _SYSTEMS.glob("*.yaml")))


def load_board(name: str) -> Board:
    """A board of the catalog, or of a .yaml file. Raises UnknownNameError, DescriptionError."""
    node = _entry(board_shelf(), name)
    stem = Path(name).stem if _is_path(name) else name
    return board_from_spec(stem, stem, validate(BoardSpec, node))


def load_medium(name: str) -> Medium:
    """A medium of the catalog, or of a .yaml file. Raises UnknownNameError, DescriptionError."""
    node = _entry(medium_shelf(), name)
    return medium_from_spec(Path(name).stem if _is_path(name) else name, validate(MediumSpec, node))


def load_system(name_or_path: str | Path) -> System:
    """A ready system by name, or the system in a file. Raises UnknownNameError, DescriptionError."""
    if isinstance(name_or_path, str) and name_or_path in list_systems():
        return read_system(_SYSTEMS / f"{name_or_path}.yaml")
    path = Path(name_or_path)
    if isinstance(name_or_path, str) and not _is_path(name_or_path) and not path.is_file():
        raise UnknownNameError("system", name_or_path, list_systems())
    return read_system(path)


def board_figures(name: str) -> tuple[Figure, ...]:
    """Every figure of a board of the catalog. Raises UnknownNameError, DescriptionError."""
    return tuple(_figures(_entry(board_shelf(), name), ()))


def medium_figures(name: str) -> tuple[Figure, ...]:
    """Every figure of a medium of the catalog. Raises UnknownNameError, DescriptionError."""
    return tuple(_figures(_entry(medium_shelf(), name), ()))


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml")) or "/" in name or "\\" in name


def _entry(shelf: Shelf, name: str) -> Node:
    """The entry written out in full, each of its figures with a source if it is the catalog's own."""
    if _is_path(name):
        path = Path(name)
        beside = Shelf(shelf.kind, shelf.schema, shelf.folder, {}, path.parent)
        return resolve(path.stem, shelf.file(path), beside, "").node
    node = resolve(name, shelf.entry(name), shelf, "", origin=name).node
    bare = [f for f in _figures(node, ()) if not f.source]
    if bare:
        raise DescriptionError(
            Fault(
                "a catalog figure without a source",
                file=f.file,
                line=f.line,
                key=f.key,
                expected=f"{{value: {f.text}, source: where it comes from}}",
                got=f.text,
            )
            for f in bare
        )
    return node


def _figures(node: Node, path: tuple[str | int, ...], key: str = "") -> Iterator[Figure]:
    """All figures below a node, in file order; below `macs` every key is one."""
    children: list[tuple[str | int, Node]] = []
    if isinstance(node.value, dict):
        children = list(node.value.items())
    elif isinstance(node.value, list):
        children = list(enumerate(node.value))
    for step, child in children:
        name = key if key == "macs" else str(step)
        if name not in FIGURES or (name == "macs" and key != "macs"):
            yield from _figures(child, (*path, step), name)
            continue
        value, source = child, None
        if isinstance(child.value, dict):
            value, source = child.value.get("value", child), child.value.get("source")
        yield Figure(
            key=key_text((*path, step)),
            text=str(value.value),
            quantity=FIGURES[name],
            source=str(source.value or "") if source is not None else "",
            file=child.file,
            line=child.line,
        )
