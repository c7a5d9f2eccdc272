"""C source of the firmware's build hash: SHA-256 over the compiler's options and the sources, names included."""

import hashlib
import sys
from pathlib import Path


def main() -> None:
    digest = hashlib.sha256(sys.argv[1].encode())
    for path in sorted(Path(name) for name in sys.argv[2:]):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    values = ", ".join(f"0x{value:02x}" for value in digest.digest())
    sys.stdout.write(
        f"#include <stdint.h>\n\nextern const uint8_t build_hash[32];\nconst uint8_t build_hash[32] = {{{values}}};\n"
    )


if __name__ == "__main__":
    main()
