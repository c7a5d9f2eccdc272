"""agent.pyz: the agent in one file, for a board that has only Python, numpy and onnxruntime."""

from __future__ import annotations

import os
import tempfile
import zipfile
from pathlib import Path

import firmware_interface
import hil

__all__ = ["build_agent_bundle", "bundled_files"]

# Of the wire, what agents speak; the rest drives serial boards and needs pyserial.
_WIRE = (
    "__init__", "auth", "board_messages", "board_run_messages", "board_session_messages", "board_slot_messages",
    "catalogue", "client", "errors", "fields", "figure_messages", "file_messages", "framing", "keys", "messages",
    "run_messages", "session_messages", "transport",
)  # fmt: skip
_MAIN = "from hil.agent_cli import main\n\nraise SystemExit(main())\n"
_EPOCH = (2020, 1, 1, 0, 0, 0)  # the same sources give the same file


def bundled_files() -> dict[str, Path]:
    """Sources in the bundle, by their name inside. They import nothing but each other, numpy, onnxruntime."""
    room = Path(hil.__file__).parent
    wire = Path(firmware_interface.__file__).parent
    files = {f"hil/{p.name}": p for p in sorted(room.glob("agent*.py")) if p.name != "agent_bundle.py"}
    files["hil/__init__.py"] = room / "__init__.py"
    files |= {f"firmware_interface/{name}.py": wire / f"{name}.py" for name in _WIRE}
    return files


def build_agent_bundle(path: Path) -> Path:
    """Write agent.pyz, replacing the file as a whole; returns its path. Raises OSError."""
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(b"#!/usr/bin/env python3\n")
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                contents = {name: source.read_bytes() for name, source in bundled_files().items()}
                for name, data in sorted({**contents, "__main__.py": _MAIN.encode()}.items()):
                    archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
        Path(temporary).chmod(0o755)
        Path(temporary).replace(path)
    finally:
        Path(temporary).unlink(missing_ok=True)
    return path
