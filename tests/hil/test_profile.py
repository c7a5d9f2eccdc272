"""Profiling a lab through boards that only pretend."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from boards.catalog import load_system
from hil.errors import DeviceLostError, LabError
from hil.lab_types import Lab, LabLink, LabTarget
from hil.profile import ProfileOptions, profile
from hil.profile_models import choose_cuts, profile_models
from hil.targets.target import LinkProbe, ModelProfile, ModelTimes
from optimizer.graph import Graph
from tests.optimizer.profiled_samples import OPTIMISED, TRACE, recorded_graph

WHOLE_NS = 1_000_000
CUT_NS = 50_000


@dataclass
class _Board:
    """Takes 1 ms for the whole model and 50 us more for its halves."""

    name: str
    files: dict[str, Path] = field(default_factory=dict)
    timed: list[str] = field(default_factory=list)
    probes: list[dict[str, Any]] = field(default_factory=list)
    dies: bool = False
    closed: bool = False

    def __enter__(self) -> _Board:
        return self

    def __exit__(self, *_: object) -> None:
        self.closed = True

    def identify(self) -> Any:
        return SimpleNamespace(facts={"onnxruntime": "1.0"})

    def put_file(self, path: Path) -> str:
        self.files[path.name] = path
        return path.stem

    def profile_model(self, model: str, *, runs: int, level: str, companions: Mapping[str, str]) -> ModelProfile:
        if self.dies:
            raise DeviceLostError("the connection broke", phase="profile", board=self.name)
        times = (WHOLE_NS,) * runs
        return ModelProfile(self.name, TRACE, OPTIMISED, times, times, runs, level, 1)

    def time_model(self, model: str, *, runs: int, level: str, companions: Mapping[str, str]) -> ModelTimes:
        self.timed.append(model)
        time_ns = WHOLE_NS if model == "whole" else (WHOLE_NS + CUT_NS) // 2
        return ModelTimes(self.name, (time_ns,) * runs, (time_ns,) * runs, level, 1)

    def probe_link(self, link: str, target: str, address: tuple[str, int], **how: Any) -> LinkProbe:
        self.probes.append({"link": link, "address": address, **how})
        size = how["burst_messages"] * how["burst_size"]
        return LinkProbe(self.name, target, {0: (100_000,) * how["repeats"]}, size, size * 100, size, size * 2)


@pytest.fixture
def lab() -> Lab:
    targets = {name: LabTarget(name, "network_agent", "h", 1) for name in ("left", "right")}
    links = {"left->right": LabLink("left->right", "relay", 9)}
    return Lab(Path("lab.yaml"), "demo", b"", True, "none", targets, links)


@pytest.fixture
def graph(tmp_path: Path) -> Graph:
    return recorded_graph(tmp_path)


def _boards(**changes: Any) -> dict[str, _Board]:
    return {name: _Board(name, **changes.get(name, {})) for name in ("left", "right")}


def test_costs_add_up_and_links_are_those_measured(graph: Graph, lab: Lab) -> None:
    boards = _boards()
    options = ProfileOptions(runs=3, cuts=2)
    costs = profile(graph, load_system("demo"), lab, options, open_target=lambda _, name: boards[name])
    for board in ("left", "right"):
        boundary = costs.boundaries[f"{board}/cpu"]
        ends = sum(graph.tensors[t].size_bytes for t in (*graph.inputs, *graph.outputs))
        total_s = sum(c.time_s for (_, p, _), c in costs.operators.items() if p == f"{board}/cpu")
        assert total_s + boundary.segment_s + boundary.s_per_byte * ends == pytest.approx(1e-3)
        assert boundary.segment_s == pytest.approx(50e-6)  # the same for every cut
        assert boards[board].closed
    link = costs.links["left->right"]
    assert link.bandwidth_bytes_per_s == pytest.approx(1e7, rel=0.05)
    assert (link.send_s_per_byte, link.receive_s_per_byte) == (pytest.approx(1e-9), pytest.approx(2e-9))
    assert boards["left"].probes[0]["address"] == ("relay", 9)
    assert boards["right"].probes[0]["address"] == ("h", 1)
    assert costs.model_sha256 == graph.sha256


def test_whole_model_is_timed_beside_each_cut(graph: Graph, lab: Lab) -> None:
    boards = _boards()
    profile(graph, load_system("demo"), lab, ProfileOptions(3, cuts=2), open_target=lambda _, name: boards[name])
    timed = boards["left"].timed
    assert len(timed) == 7
    assert timed[::3] == ["whole"] * 3
    assert not boards["left"].files["whole.onnx"].exists()  # the folder is gone


def test_burst_on_a_slow_link_is_short(graph: Graph, lab: Lab) -> None:
    system = load_system("demo")
    slow = replace(system, links=tuple(replace(link, bandwidth_bytes_per_s=1e5) for link in system.links))
    boards = _boards()
    profile(graph, slow, lab, ProfileOptions(3, cuts=0), open_target=lambda _, name: boards[name])
    probe = boards["left"].probes[0]
    assert probe["burst_messages"] * probe["burst_size"] == pytest.approx(7e4, rel=0.1)


def test_failure_of_one_board_ends_all_and_is_the_error(graph: Graph, lab: Lab) -> None:
    boards = _boards(right={"dies": True})
    with pytest.raises(DeviceLostError, match="Board right, phase profile"):
        profile(graph, load_system("demo"), lab, ProfileOptions(3), open_target=lambda _, name: boards[name])
    assert boards["left"].closed
    assert boards["right"].closed
    assert boards["left"].probes == []


def test_lab_without_a_board_is_refused_before_anything_starts(graph: Graph, lab: Lab) -> None:
    alone = replace(lab, targets={"left": lab.targets["left"]})
    with pytest.raises(LabError, match="no target for board 'right'"):
        profile(graph, load_system("demo"), alone, open_target=lambda *_: pytest.fail("opened"))


def test_cuts_spread_from_the_smallest_to_the_largest(graph: Graph) -> None:
    sizes = [cut.size_bytes for cut in choose_cuts(graph, 10)]
    assert sizes == sorted(set(sizes))
    two = choose_cuts(graph, 2)
    assert [cut.size_bytes for cut in two] == [sizes[0], sizes[-1]]
    assert len(choose_cuts(graph, 1)) == 1


def test_models_of_a_cut_hold_all_operators_between_them(graph: Graph) -> None:
    with profile_models(graph, 2) as models:
        for cut in models.cuts:
            assert cut.before.path.is_file()
            assert cut.behind.path.is_file()
            assert cut.crossing_bytes > 0
        folder = models.whole.path.parent
    assert not folder.exists()
