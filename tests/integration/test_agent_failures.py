"""Real agents on loopback: failures end with a name and a phase, and the boards are free again."""

from __future__ import annotations

import contextlib
import json
import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from firmware_interface.messages import Mode
from hil.deploy import deploy
from hil.deploy_bundle import open_bundle
from hil.errors import (
    BusyError,
    ConnectError,
    DeviceFailedError,
    DeviceLostError,
    DeviceTimeoutError,
    LabError,
    MeasurementAbortedError,
    WrongBoardError,
    WrongKeyError,
)
from hil.lab_types import Lab, LabLink, LabTarget
from hil.measure import measure, random_stimuli
from hil.run import run
from hil.targets import connect_target
from tests.hil.bench_agents import BOARDS, lab_of, wait_idle
from tests.hil.bench_samples import chain, frames_for, skip_over_relay, whole_model_outputs, write_bundle
from tests.waiting import wait_for

pytestmark = pytest.mark.integration


def test_killing_an_agent_ends_the_measurement_with_its_name(tmp_path: Path) -> None:
    sample = chain(work=4)
    path = tmp_path / "measurement.json"
    with lab_of(tmp_path, BOARDS) as (lab, agents):
        bundle = write_bundle(tmp_path / "bundle", sample)

        def kill_after_the_second_window(text: str) -> None:
            if text.startswith("window 2"):
                agents["b"].process.kill()

        with pytest.raises(MeasurementAbortedError) as caught:
            measure(
                bundle,
                lab,
                window_s=0.5,
                warmup_s=0.2,
                output=path,
                progress=kill_after_the_second_window,
            )
        cause = caught.value.cause
        assert isinstance(cause, DeviceLostError)
        assert (cause.board, cause.phase) == ("b", "measure")
        assert "Board b, phase measure" in str(caught.value)
        saved = json.loads(path.read_text())
        assert saved["partial"] is True
        assert len(saved["windows"]) == 2
        assert "Board b" in saved["failure"]
        rest = Lab(lab.path, lab.system, lab.key, True, "none", {n: lab.targets[n] for n in ("a", "c")})
        wait_idle(rest)
    assert all(agent.process.poll() is not None for agent in agents.values())


def test_killing_an_agent_ends_a_run_with_its_name(tmp_path: Path) -> None:
    sample = replace(chain(work=8), shape=(1, 64, 256))
    with lab_of(tmp_path, BOARDS) as (lab, agents):
        bundle = write_bundle(tmp_path / "bundle", sample)

        # More than can be computed until then, in the memory of one.
        frames = np.broadcast_to(frames_for(sample, 1), (10_000, *sample.shape))

        def kill_once_frames_flow(text: str) -> None:
            if text[0].isdigit() and not text.startswith("0 of"):
                agents["c"].process.kill()

        with pytest.raises(DeviceLostError) as caught:
            run(bundle, lab, {"x": frames}, progress=kill_once_frames_flow)
        assert (caught.value.board, caught.value.phase) == ("c", "run")


def test_after_the_controller_vanishes_the_boards_are_free_again(bench: Lab, tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "bundle", skip_over_relay()))
    with contextlib.suppress(DeviceLostError), deploy(bundle, bench, stimuli=random_stimuli(bundle)) as deployment:
        deployment.start(Mode.MEASURE, 0)
        wait_for(lambda: deployment.statistics("test")["c"]["sink"]["frames"] > 0, "no frame arrives")
        for board in deployment.boards.values():
            board.client.connection.close()  # no goodbye: as if the host had died
    wait_idle(bench)
    frames = frames_for(skip_over_relay(), 10)
    outputs = run(tmp_path / "bundle", bench, {"x": frames})
    assert np.array_equal(outputs["y"], whole_model_outputs(skip_over_relay(), frames)["y"])


def test_a_second_controller_is_told_that_the_board_is_busy(bench: Lab, tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "bundle", chain()))
    with deploy(bundle, bench), pytest.raises(BusyError) as caught, deploy(bundle, bench):
        pass
    assert caught.value.board in BOARDS
    wait_idle(bench)


def test_a_second_controller_cannot_put_files_meanwhile(bench: Lab, tmp_path: Path) -> None:
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.write_bytes(bytes(3_000_000))
    other.write_bytes(b"other")
    with connect_target(bench, "a") as first, connect_target(bench, "a") as second:
        sha = first.put_file(mine)
        with pytest.raises(BusyError):
            second.put_file(other)
        assert second.identify().facts["state"] == "held"  # the connection is in step after the refusal
        assert first.fetch_file(sha, 3_000_000) == mine.read_bytes()


def test_the_wrong_key_is_refused_and_says_so(bench: Lab) -> None:
    with pytest.raises(WrongKeyError, match=r"Board a, phase connect: the key is wrong"):
        connect_target(replace(bench, key=bytes(32)), "a")


def test_boards_that_do_not_share_a_key_cannot_be_linked(tmp_path: Path) -> None:
    """The host knows both keys in turn only through the lab, so an impostor board shows when links open."""
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    with lab_of(tmp_path / "one", ["a", "b"]) as (lab, _), lab_of(tmp_path / "two", ["b"]) as (other, _agents):
        stranger = other.targets["b"]
        false = replace(lab, links={"a->b": LabLink("a->b", stranger.host, stranger.port)})
        bundle = write_bundle(tmp_path / "bundle", chain(boards=("a", "b")))
        with pytest.raises(DeviceFailedError, match=r"link a->b to b at .*key"):
            run(bundle, false, {"x": frames_for(chain(), 1)})
        wait_idle(lab)


def test_another_board_behind_the_address_is_found_out(bench: Lab) -> None:
    swapped = replace(bench, targets={**bench.targets, "a": replace(bench.targets["b"], name="a")})
    with pytest.raises(WrongBoardError, match="this is board b, not a"):
        connect_target(swapped, "a")


def test_a_link_that_leads_to_another_board_is_found_out(bench: Lab, tmp_path: Path) -> None:
    wrong = bench.targets["c"]
    false = replace(bench, links={"a->b": LabLink("a->b", wrong.host, wrong.port)})
    with pytest.raises(DeviceFailedError, match="this is board c, not b"):
        run(write_bundle(tmp_path / "bundle", chain()), false, {"x": frames_for(chain(), 1)})
    wait_idle(bench)


def test_nobody_at_the_address_is_said_with_the_board(bench: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    gone = replace(bench, targets={"a": LabTarget("a", "network_agent", "127.0.0.1", port)})
    with pytest.raises(ConnectError, match=r"Board a, phase connect: cannot connect to 127\.0\.0\.1"):
        connect_target(gone, "a")


def test_a_silent_board_ends_at_the_deadline(bench: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
        mute = replace(bench, targets={"a": LabTarget("a", "network_agent", host, port)})
        with pytest.raises(DeviceTimeoutError):
            connect_target(mute, "a")


def test_a_plan_for_boards_that_the_lab_lacks_is_refused(bench: Lab, tmp_path: Path) -> None:
    small = replace(bench, targets={"a": bench.targets["a"]})
    with pytest.raises(LabError, match="b, c"):
        measure(write_bundle(tmp_path / "bundle", chain()), small)
    with pytest.raises(LabError, match="no board z"):
        connect_target(bench, "z")


def test_a_model_that_does_not_load_is_named(bench: Lab, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a model")
    with connect_target(bench, "a") as board:
        sha = board.put_file(broken)
        with pytest.raises(DeviceFailedError, match="MODEL"):
            board.time_model(sha, runs=1)
        with pytest.raises(DeviceFailedError, match="NO_SUCH_FILE"):
            board.time_model("0" * 64, runs=1)
