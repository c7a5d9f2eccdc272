"""The answers of a sweep on disk: cases/<key>.json, each whole or not there, and a folder of files beside it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optimizer.atomic import write_atomically
from optimizer.errors import InputError
from optimizer.sweep_case import REPORT_FILES, Answer

__all__ = ["CASE_SCHEMA", "Damaged", "Store"]

CASE_SCHEMA = "edgecut/sweep-case/1"
_MAX_FILE_BYTES = 16 * 2**20  # a front of 60 plans on 64 boards takes a hundredth of it


@dataclass(frozen=True)
class Damaged:
    """An answer that is there and cannot be used."""

    path: Path
    reason: str


class Store:
    """The folder of one sweep. Raises InputError where it cannot be written to."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.cases = out / "cases"

    def path(self, key: str) -> Path:
        return self.cases / f"{key}.json"

    def report(self, key: str) -> str:
        """Where a case's report is, seen from the sweep's page."""
        return f"cases/{key}/report.html"

    def read(self, key: str) -> Mapping[str, Any] | Damaged | None:
        """The record of a case, None where there is none yet."""
        path = self.path(key)
        try:
            with path.open("rb") as stream:
                data = stream.read(_MAX_FILE_BYTES + 1)
        except FileNotFoundError:
            return None
        except OSError as e:
            return Damaged(path, e.strerror or type(e).__name__)
        try:
            record = json.loads(data)
        except (ValueError, RecursionError) as e:
            return Damaged(path, f"not JSON ({e})")
        if not isinstance(record, dict) or record.get("schema") != CASE_SCHEMA or record.get("key") != key:
            return Damaged(path, "not the answer of this case")
        if record.pop("sha256", None) != _digest(record):
            return Damaged(path, "its content does not fit its checksum")
        missing = [name for name in REPORT_FILES if not (self.cases / key / name).is_file()]
        if record["status"] == "solved" and missing:
            return Damaged(path, f"{', '.join(missing)} beside it is gone")
        return record

    def write(self, key: str, answer: Answer) -> Mapping[str, Any]:
        """Keep an answer: its files first, so that a record always has them. Returns the record."""
        record = {"schema": CASE_SCHEMA, "key": key, **answer.record}
        folder = self.cases / key if answer.files else self.cases
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as e:
            got, hint = e.strerror or type(e).__name__, "Give another place with -o."
            raise InputError(
                "the folder cannot be made", where=str(folder), expected="a place for results", got=got, hint=hint
            ) from e
        for name, content in answer.files.items():
            write_atomically(folder / name, content)
        write_atomically(self.path(key), _text({**record, "sha256": _digest(record)}))
        return record


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def _text(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=1, allow_nan=False) + "\n"
