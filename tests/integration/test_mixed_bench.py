"""A microcontroller board and a board that runs the agent on one bench: tensors go through the host."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hil.measure import measure, random_stimuli
from hil.run import run
from tests.hil.mcu_bench import bundle_of, expected_outputs, played

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.timeout(300)]

MODEL = "zoo:tiny_digits_int8"
FRAMES = 6


def system(folder: Path, source: str, sink: str) -> Path:
    path = folder / "mixed.yaml"
    path.write_text(
        "schema: edgecut/system/1\nname: mixed\ndescription: A small board and a large one.\n"
        "boards:\n  small: {use: mps2-an386}\n  large: {use: local-core}\n"
        "links:\n  - {between: [small, large], medium: uart-115200}\n"
        f"source: {source}\nsink: {sink}\n"
    )
    return path


@pytest.mark.parametrize("boards", [["small", "large"], ["large", "small"]], ids="-".join)
def test_outputs_are_those_of_one_board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, boards: list[str]) -> None:
    path = system(tmp_path, boards[0], boards[1])
    bundle = bundle_of(tmp_path / "b", MODEL, boards, system=path)
    inputs = random_stimuli(bundle, FRAMES)
    with played(monkeypatch, path) as lab:
        assert {name: target.serial is not None for name, target in lab.targets.items()} == {
            "small": True,
            "large": False,
        }
        outputs = run(bundle.directory, lab, inputs, stall_s=120.0)
        found = measure(bundle.directory, lab, windows=6, window_s=0.3, warmup_s=0.2)
    for name, expected in expected_outputs(bundle, inputs).items():
        np.testing.assert_array_equal(outputs[name], expected)
    assert len(found.windows) + found.void_windows >= 6
    assert {stage.processor for stage in found.stages} == {"small/m4", "large/cpu"}
    assert all(stage.frames > 0 and stage.compute_s > 0 for stage in found.stages)
    assert found.latency is None
