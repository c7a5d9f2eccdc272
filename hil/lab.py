"""lab.yaml, the facts of one lab: read, checked, written.

schema: edgecut/lab/1
system: demo            # a ready system, or a path (relative to this file)
key_file: lab.key       # at least 32 bytes in hex, mode 0600; relative to this file
emulated: true          # default false
shaping: tc             # tc, relay or none (default): how an emulation slows its links
targets:
  left:  {driver: network_agent, host: 127.0.0.1, port: 41001}
links:                  # only where the sender connects elsewhere than to the receiving target
  left->right: {host: 127.0.0.1, port: 42001}
notes: []               # what a reader of results should know of this lab
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
import tempfile
from pathlib import Path
from typing import NoReturn, get_args

import yaml

from boards.board import System
from boards.catalog import load_system
from boards.errors import DescriptionError, near_match
from boards.yaml_tree import Node, read_tree
from hil.errors import LabError
from hil.lab_types import Lab, LabLink, LabTarget, Shaping
from hil.targets import DRIVERS

__all__ = ["check_lab", "load_lab", "load_lab_system", "make_key", "save_key", "save_lab"]

_SCHEMA = "edgecut/lab/1"
_KEYS = ("schema", "system", "key_file", "emulated", "shaping", "targets", "links", "notes")
_MIN_KEY_BYTES = 32
_MAX_KEY_FILE_BYTES = 4096  # a key of 32 bytes is 64 digits; more than this is another file
_MAX_PORT = 65535


def load_lab(path: Path) -> Lab:
    """Read and check a lab file and its key. Raises LabError."""
    path = path.expanduser()
    try:
        root = _Reader(read_tree(path), "")
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
                hint=f"Add `{name}: {{driver: network_agent, host: ..., port: ...}}`.",
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
        "targets": {
            name: {"driver": target.driver, "host": target.host, "port": target.port}
            for name, target in lab.targets.items()
        },
    }
    if lab.links:
        document["links"] = {name: {"host": a.host, "port": a.port} for name, a in lab.links.items()}
    if lab.notes:
        document["notes"] = list(lab.notes)
    save_key(key_path, lab.key)
    _write(lab.path, yaml.safe_dump(document, sort_keys=False, allow_unicode=True))
    return key_path


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


def _read_key(path: Path, *, named_in: _Reader) -> bytes:
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


def _shaping(reader: _Reader) -> Shaping:
    given = reader.one_of(*get_args(Shaping))
    shapings: tuple[Shaping, ...] = get_args(Shaping)
    return next(shaping for shaping in shapings if shaping == given)


def _targets(reader: _Reader) -> dict[str, LabTarget]:
    targets: dict[str, LabTarget] = {}
    for name, entry in reader.mapping():
        entry.only(("driver", "host", "port"))
        driver = entry.child("driver").one_of(*DRIVERS)
        targets[name] = LabTarget(name, driver, entry.child("host").text(), entry.child("port").port())
    if not targets:
        reader.fail("no targets", expected="one entry a board", got="none")
    return targets


def _link(name: str, entry: _Reader) -> LabLink:
    entry.only(("host", "port"))
    return LabLink(name, entry.child("host").text(), entry.child("port").port())


class _Reader:
    """A node and its dotted key; every complaint names file, line and key."""

    def __init__(self, node: Node, key: str) -> None:
        self._node, self._key = node, key

    def fail(self, what: str, *, expected: str, got: str, hint: str = "") -> NoReturn:
        place = f"{self._node.file}:{self._node.line}"
        where = f"{place}, {self._key}" if self._key else place
        raise LabError(what, where=where, expected=expected, got=got, hint=hint)

    def text(self) -> str:
        value = self._node.value
        if not isinstance(value, str) or not value:
            self.fail("not a text", expected="a text", got=_kind(self._node))
        return value

    def one_of(self, *allowed: str) -> str:
        value = self.text()
        if value not in allowed:
            hint = near_match(value, allowed)
            self.fail("not one of the known words", expected=" or ".join(allowed), got=value, hint=hint)
        return value

    def port(self) -> int:
        value = self.text()
        if not value.isascii() or not value.isdigit() or not 0 < int(value) <= _MAX_PORT:
            self.fail("not a port", expected=f"a whole number from 1 to {_MAX_PORT}", got=value)
        return int(value)

    def mapping(self) -> list[tuple[str, _Reader]]:
        value = self._node.value
        if not isinstance(value, dict):
            self.fail("not a mapping", expected="`name: {...}` entries", got=_kind(self._node))
        return [(name, self._at(name, node)) for name, node in value.items()]

    def only(self, keys: tuple[str, ...]) -> None:
        for name, reader in self.mapping():
            if name not in keys:
                reader.fail(f"unknown key {name!r}", expected=", ".join(keys), got=name, hint=near_match(name, keys))

    def find(self, name: str) -> _Reader | None:
        return next((reader for key, reader in self.mapping() if key == name), None)

    def child(self, name: str) -> _Reader:
        found = self.find(name)
        if found is None:
            self.fail(f"key {name!r} is missing", expected=f"`{name}: ...`", got="no such key")
        return found

    def optional(self, name: str, default: str) -> _Reader:
        return self.find(name) or self._at(name, Node(default, self._node.file, self._node.line))

    def optional_mapping(self, name: str) -> list[tuple[str, _Reader]]:
        found = self.find(name)
        return [] if found is None or found._node.value is None else found.mapping()

    def optional_texts(self, name: str) -> tuple[str, ...]:
        found = self.find(name)
        if found is None or found._node.value is None:
            return ()
        if not isinstance(found._node.value, list):
            found.fail("not a list", expected="a list of texts", got=_kind(found._node))
        return tuple(found._at(f"[{i}]", node).text() for i, node in enumerate(found._node.value))

    def _at(self, name: str, node: Node) -> _Reader:
        return _Reader(node, f"{self._key}.{name}" if self._key else name)


def _kind(node: Node) -> str:
    kinds = {dict: "a mapping", list: "a list", str: "an empty text"}
    return "nothing" if node.value is None else kinds[type(node.value)]
