"""Layers modelled so far, in a file beside the cost table to be: what a killed run leaves, the next one takes up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from optimizer.atomic import write_atomically
from optimizer.errors import InputError
from optimizer.layer_loops import Loops

__all__ = ["LayerStore"]

Kind = tuple[Loops, int]
"""Loops of a layer, and bits of its operands."""
Figures = tuple[float, float]
"""Cycles, and picojoules."""


class LayerStore:
    """One JSON line a layer behind a first line that says by what model; a file of another model is begun anew.

    ``model``: everything that decides on the figures of a layer. Raises InputError where the file cannot be written.
    """

    def __init__(self, path: Path, model: Sequence[str]) -> None:
        self.path = path
        digest = hashlib.sha256(json.dumps(list(model)).encode()).hexdigest()
        self._known = self._read(digest)
        lines = [json.dumps({"model_sha256": digest}), *(_line(key, f) for key, f in self._known.items())]
        write_atomically(path, "\n".join(lines) + "\n")

    def get(self, kind: Kind) -> Figures | None:
        return self._known.get(_key(kind))

    def add(self, kind: Kind, figures: Figures) -> None:
        self._known[_key(kind)] = figures
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(_key(kind), figures) + "\n")
        except OSError as e:
            raise InputError(
                "what is modelled cannot be kept",
                where=str(self.path),
                expected="a file that can be written",
                got=e.strerror or str(e),
            ) from e

    def _read(self, digest: str) -> dict[str, Figures]:
        try:
            first, *lines = self.path.read_text(encoding="utf-8").splitlines()
            if json.loads(first) != {"model_sha256": digest}:
                return {}
        except (OSError, ValueError):
            return {}
        found: dict[str, Figures] = {}
        for line in lines:
            try:
                row = json.loads(line)
                cycles, energy_pj = row["figures"]
                found[row["layer"]] = (float(cycles), float(energy_pj))
            except (ValueError, KeyError, TypeError):
                continue  # the last line of a run that was killed
        return found


def _line(key: str, figures: Figures) -> str:
    return json.dumps({"layer": key, "figures": figures})


def _key(kind: Kind) -> str:
    loops, bits = kind
    return json.dumps([asdict(loops), bits], sort_keys=True)
