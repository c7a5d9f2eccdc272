"""The golden file as a C header, for test_units.c: vectors_header.py vectors.json > vectors.h"""

from __future__ import annotations

import json
import sys
from pathlib import Path


def c_bytes(text: str) -> str:
    """A hexadecimal text as a C string literal of the same bytes."""
    return '"' + "".join(f"\\x{text[i : i + 2]}" for i in range(0, len(text), 2)) + '"'


def main() -> None:
    vectors = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    frames = [v["serial"] for v in vectors["messages"]]
    out = sys.stdout.write
    out("struct golden { const char *frame; unsigned bytes; };\nstatic const struct golden golden_frames[] = {\n")
    for text in frames:
        out(f"    {{{c_bytes(text)}, {len(text) // 2}}},\n")
    out("};\nstruct refused { const char *field; const char *frame; unsigned bytes; };\n")
    out("static const struct refused golden_refused[] = {\n")
    for v in vectors["serial_refused"]:
        out(f'    {{"{v["field"]}", {c_bytes(v["frame"])}, {len(v["frame"]) // 2}}},\n')
    out(
        "};\nstruct crc { const char *data; unsigned bytes; unsigned crc; };\n"
        "static const struct crc golden_crcs[] = {\n"
    )
    for v in vectors["crc32"]:
        out(f"    {{{c_bytes(v['data'])}, {len(v['data']) // 2}, {v['crc']}u}},\n")
    out("};\n")


if __name__ == "__main__":
    main()
