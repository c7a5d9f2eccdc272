"""lab.yaml, the facts of one lab: read, checked, written.

schema: edgecut/lab/1
system: demo            # a ready system, or a path (relative to this file)
key_file: lab.key       # at least 32 bytes in hex, mode 0600; relative to this file
emulated: true          # default false
shaping: tc             # tc, relay or none (default): how an emulation slows its links
targets:
  left:  {driver: network_agent, host: 127.0.0.1, port: 41001}
  probe: {driver: serial-mcu, port: /dev/ttyACM0, uid: 32003a000d51373333313233, baud: 115200,
          flasher: {kind: pyocd, image: firmware.elf, device: 066BFF...}}   # hil/flashers.py
links:                  # only where the sender connects elsewhere than to the receiving target
  left->right: {host: 127.0.0.1, port: 42001}
wires:                  # UARTs of microcontroller boards that are joined; links without one go through the host
  - {boards: [head, middle], uarts: [2, 1], baud: 115200}
notes: []               # what a reader of results should know of this lab
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import Any, get_args

import yaml

from boards.board import System
from boards.catalog import load_system
from boards.errors import DescriptionError, near_match
from boards.yaml_tree import read_tree
from hil.errors import LabError
from hil.lab_reader import Reader
from hil.lab_types import FLASHERS, Flasher, Lab, LabLink, LabTarget, LabWire, SerialLine, Shaping
from hil.targets import DRIVERS, SERIAL_MCU

__all__ = ["check_lab", "load_lab", "load_lab_system", "make_key", "save_key", "save_lab"]

_SCHEMA = "edgecut/lab/1"
_KEYS = ("schema", "system", "key_file", "emulated", "shaping", "targets", "links", "wires", "notes")
_MIN_KEY_BYTES = 32
_MAX_KEY_FILE_BYTES = 4096  # a key of 32 bytes is 64 digits; more than this is another file
_MAX_UART = 7
_MAX_BAUD = 20_000_000


def load_lab(path: Path) -> Lab:
    """Read and check a lab file and its key. Raises LabError."""
    path = path.expanduser()
    try:
        root = Reader(read_tree(path), "")
    except DescriptionError as e:
        fault = e.faults[0]
        place = f"{path}:{fault.line}" if fault.line else str(path)
        where = f"{place}, {fault.key}" if fault.key else place
        raise LabError(
            fault.what,
            where=where,
            expected=fault.expected,
            got=fault.got,
            hint=fault.hint or "`hil emulate SYSTEM` writes a lab file.",
        ) from e
    root.only(_KEYS)
    schema = root.child("schema")
    if schema.text() != _SCHEMA:
        schema.fail("unknown schema", expected=_SCHEMA, got=schema.text())
    key_file = root.child("key_file")
    return Lab(
        path=path,
        system=root.child("system").text(),
        key=_read_key(path.parent / Path(key_file.text()).expanduser(), named_in=key_file),
        emulated=root.optional("emulated", "false").one_of("true", "false") == "true",
        shaping=_shaping(root.optional("shaping", "none")),
        targets=_targets(root.child("targets")),
        links={name: _link(name, entry) for name, entry in root.optional_mapping("links")},
        wires=tuple(_wire(entry) for entry in root.optional_items("wires")),
        notes=root.optional_texts("notes"),
    )


def load_lab_system(lab: Lab) -> System:
    """The system that the lab says it is, checked against the lab's boards and links.

    Raises LabError, or the boards package's errors when the system itself cannot be used.
    """
    relative = lab.path.parent / Path(lab.system).expanduser()
    system = load_system(str(relative) if relative.is_file() else lab.system)
    check_lab(lab, system)
    return system


def check_lab(lab: Lab, system: System) -> None:
    """Raise LabError unless every board of the system has a target and every lab link is the system's."""
    boards = [board.name for board in system.boards]
    for name in boards:
        if name not in lab.targets:
            raise LabError(
                f"no target for board {name!r} of system {system.name!r}",
                where=f"{lab.path}, targets",
                expected=f"an entry for each of {', '.join(boards)}",
                got=", ".join(lab.targets) or "none",
                hint=f"Add `{name}: {{driver: network_agent, host: ..., port: ...}}`; a microcontroller board has "
                "{driver: serial-mcu, port: ..., uid: ...}.",
            )
    for name in lab.targets:
        if name not in boards:
            raise LabError(
                f"target {name!r} is no board of system {system.name!r}",
                where=f"{lab.path}, targets.{name}",
                expected=f"one of {', '.join(boards)}",
                got=name,
                hint=near_match(name, boards),
            )
    _check_wires(lab, boards)
    links = [link.name for link in system.links]
    for name in lab.links:
        if name not in links:
            raise LabError(
                f"{name!r} is no link of system {system.name!r}",
                where=f"{lab.path}, links.{name}",
                expected=f"one of {', '.join(links)}",
                got=name,
                hint=near_match(name, links),
            )


def _check_wires(lab: Lab, boards: list[str]) -> None:
    used: set[tuple[str, int]] = set()
    for number, wire in enumerate(lab.wires):
        for board, uart in zip(wire.boards, wire.uarts, strict=True):
            target = lab.targets.get(board)
            where = f"{lab.path}, wires[{number}]"
            if target is None or target.serial is None:
                hint = near_match(board, boards)
                raise LabError("a wire joins microcontroller boards", where=where, got=board, hint=hint)
            if uart == 0 or (board, uart) in used:
                expected = "a UART that nothing else uses; 0 is the line to the host"
                raise LabError(f"UART {uart} of board {board} is taken", where=where, expected=expected, got=str(uart))
            used.add((board, uart))


def make_key() -> bytes:
    """A new random key."""
    return secrets.token_bytes(_MIN_KEY_BYTES)


def save_key(path: Path, key: bytes) -> None:
    """Write a key file, mode 0600. Raises LabError."""
    _write(path, key.hex() + "\n")


def save_lab(lab: Lab) -> Path:
    """Write ``lab.path`` and, beside it, its key file (mode 0600); both whole or not at all.

    Returns the key file's path. Raises LabError when they cannot be written.
    """
    key_path = lab.path.with_suffix(".key")
    document = {
        "schema": _SCHEMA,
        "system": lab.system,
        "key_file": key_path.name,
        "emulated": lab.emulated,
        "shaping": lab.shaping,
        "targets": {name: _target_document(target) for name, target in lab.targets.items()},
    }
    if lab.links:
        document["links"] = {name: {"host": a.host, "port": a.port} for name, a in lab.links.items()}
    if lab.wires:
        document["wires"] = [{"boards": list(w.boards), "uarts": list(w.uarts), "baud": w.baud} for w in lab.wires]
    if lab.notes:
        document["notes"] = list(lab.notes)
    save_key(key_path, lab.key)
    _write(lab.path, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    return key_path


def _target_document(target: LabTarget) -> dict[str, Any]:
    line = target.serial
    if line is None:
        return {"driver": target.driver, "host": target.host, "port": target.port}
    document: dict[str, Any] = {"driver": target.driver, "port": line.url, "uid": line.uid, "baud": line.baud}
    if line.flasher is not None:
        filled = {key: value for key, value in vars(line.flasher).items() if value}
        document["flasher"] = {**filled, "image": str(line.flasher.image)}
    return document


def _write(path: Path, text: str) -> None:
    """Replace a file atomically; mkstemp makes it mode 0600."""
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        Path(temporary).replace(path)
    except OSError as e:
        if temporary is not None:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise LabError(
            "cannot be written",
            where=str(path),
            got=e.strerror or str(e),
            hint="Choose another folder with --lab-out, or make room there.",
        ) from e


def _read_key(path: Path, *, named_in: Reader) -> bytes:
    try:
        with path.open("rb") as stream:
            mode = stat.S_IMODE(os.fstat(stream.fileno()).st_mode)
            data = stream.read(_MAX_KEY_FILE_BYTES + 1)
    except OSError as e:
        named_in.fail(
            "the key file cannot be read",
            expected=f"{path}, readable, with the agents' shared key",
            got=e.strerror or str(e),
            hint=f"Copy the key there, or make one with `(umask 077; openssl rand -hex 32 > {path})` and "
            "give it to the agents too.",
        )
    if mode & 0o077:
        named_in.fail(
            f"the key file {path} is open to other users",
            expected="mode 0600",
            got=f"mode {mode:04o}",
            hint=f"`chmod 600 {path}`, and make a new key if others may have read it.",
        )
    try:
        key = bytes.fromhex(data.decode("ascii").strip())
    except ValueError:  # UnicodeDecodeError too; the text itself stays out of the message
        key = b""
    if len(key) < _MIN_KEY_BYTES:
        named_in.fail(
            f"the key file {path} holds no usable key",
            expected=f"at least {2 * _MIN_KEY_BYTES} hexadecimal digits",
            got=f"{len(key)} bytes of key" if key else f"{len(data)} bytes that are not hexadecimal digits",
        )
    return key


def _shaping(reader: Reader) -> Shaping:
    given = reader.one_of(*get_args(Shaping))
    shapings: tuple[Shaping, ...] = get_args(Shaping)
    return next(shaping for shaping in shapings if shaping == given)


def _targets(reader: Reader) -> dict[str, LabTarget]:
    targets: dict[str, LabTarget] = {}
    for name, entry in reader.mapping():
        driver = entry.child("driver").one_of(*DRIVERS)
        targets[name] = _serial(name, entry) if driver == SERIAL_MCU else _network(name, driver, entry)
    if not targets:
        reader.fail("no targets", expected="one entry a board", got="none")
    return targets


def _network(name: str, driver: str, entry: Reader) -> LabTarget:
    entry.only(("driver", "host", "port"))
    return LabTarget(name, driver, entry.child("host").text(), entry.child("port").port())


def _serial(name: str, entry: Reader) -> LabTarget:
    entry.only(("driver", "port", "uid", "baud", "flasher"))
    flasher = entry.find("flasher")
    line = SerialLine(
        url=entry.child("port").text(),
        uid=entry.child("uid").text().lower(),
        baud=_baud(entry),
        flasher=None if flasher is None else _flasher(flasher),
    )
    return LabTarget(name, SERIAL_MCU, serial=line)


def _baud(entry: Reader) -> int:
    return entry.optional("baud", "115200").number(_MAX_BAUD)


def _flasher(entry: Reader) -> Flasher:
    entry.only(("kind", "image", "port", "chip", "target", "device", "config", "address"))
    texts = {key: entry.optional_text(key) for key in ("port", "chip", "target", "device", "config", "address")}
    return Flasher(entry.child("kind").one_of(*FLASHERS), Path(entry.child("image").text()), **texts)


def _wire(entry: Reader) -> LabWire:
    entry.only(("boards", "uarts", "baud"))
    boards = [board.text() for board in entry.child("boards").items()]
    uarts = [uart.number(_MAX_UART) for uart in entry.child("uarts").items()]
    if len(boards) != 2 or len(uarts) != 2:
        entry.fail("not a wire", expected="two boards and the UART of each", got=f"{boards}, {uarts}")
    return LabWire((boards[0], boards[1]), (uarts[0], uarts[1]), _baud(entry))


def _link(name: str, entry: Reader) -> LabLink:
    entry.only(("host", "port"))
    return LabLink(name, entry.child("host").text(), entry.child("port").port())
