from __future__ import annotations

from pathlib import Path

import pytest

from boards.board import System
from boards.catalog import load_system
from boards.errors import DescriptionError, Fault


@pytest.fixture
def load(tmp_path: Path):
    def read(text: str) -> System:
        path = tmp_path / "bench.yaml"
        path.write_text(text, encoding="utf-8")
        return load_system(path)

    return read


@pytest.fixture
def refuse(load):
    def faults(text: str) -> tuple[Fault, ...]:
        with pytest.raises(DescriptionError) as caught:
            load(text)
        for fault in caught.value.faults:
            assert fault.file.endswith(".yaml")
            assert str(fault) in str(caught.value) or len(caught.value.faults) > 8
        return caught.value.faults

    return faults
