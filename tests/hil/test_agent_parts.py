"""Parts of the agent without a network: deployments, files, progress, bundles for the board."""

from __future__ import annotations

import ast
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from firmware_interface.messages import ErrorCode
from hil.agent_bundle import build_agent_bundle, bundled_files
from hil.agent_deployment import parse_deployment
from hil.agent_model import aligned
from hil.agent_progress import Progress, Waiter
from hil.agent_store import AgentError, FileStore
from hil.deploy_bundle import open_bundle
from hil.deploy_document import Settings, board_document, routes_of
from hil.errors import BundleError
from hil.lab_types import Lab, LabLink, LabTarget
from optimizer.split_manifest import BundleHop, BundleTensor
from tests.hil.bench_samples import branches, chain, skip_over_relay, write_bundle


def _lab(names: str = "abc") -> Lab:
    targets = {n: LabTarget(n, "network_agent", "127.0.0.1", 4000 + i) for i, n in enumerate(names)}
    return Lab(
        Path("lab.yaml"), "sample", bytes(32), True, "none", targets, {"a->b": LabLink("a->b", "127.0.0.1", 5000)}
    )


def _document(folder: Path, board: str = "b") -> dict[str, Any]:
    bundle = open_bundle(write_bundle(folder / "bundle", skip_over_relay()))
    return board_document(
        bundle,
        board,
        _lab(),
        deployment_id="id",
        settings=Settings(),
        stimuli={0: "00"},
        repeats_after=3,
        companions={},
    )


def test_a_relay_takes_in_and_sends_on_what_it_does_not_use(tmp_path: Path) -> None:
    deployment = parse_deployment(_document(tmp_path), "b")
    skip = next(t for t in deployment.tensors.values() if t.name == "skip")
    assert (skip.origin, skip.from_link, skip.to_links, skip.consumers) == ("link", "a->b", ("b->c",), ())
    sent = [deployment.tensors[s.tensor].name for s in deployment.senders["b->c"]]
    assert sorted(sent) == ["skip", "t", "u"]
    assert (deployment.token_in, deployment.token_out) == ("a->b", "b->c")
    assert (deployment.stimuli, deployment.repeats_after) == ({}, 3)


def test_the_sending_board_connects_where_the_lab_says(tmp_path: Path) -> None:
    deployment = parse_deployment(_document(tmp_path, "a"), "a")
    assert deployment.out_links["a->b"].port == 5000
    assert deployment.stimuli == {0: "00"}


def test_a_switch_is_taken_out_of_the_way() -> None:
    hops = (BundleHop("a->sw", "a", "sw"), BundleHop("sw->b", "sw", "b"), BundleHop("sw->c", "sw", "c"))
    tensor = BundleTensor(1, "t", "float32", (1,), 4, "s0", ("s1", "s2"), False, hops, ("a", "b", "c"), 2)
    found = [(r.name, r.first, r.source, r.target) for r in routes_of(tensor, ("a", "b", "c"))]
    assert found == [("a->sw+sw->b", "a->sw", "a", "b"), ("a->sw+sw->c", "a->sw", "a", "c")]


def _break(document: dict[str, Any], how: str) -> None:
    tensor = document["tensors"][0]
    changes: dict[str, Any] = {
        "schema": lambda: document.update(schema="other"),
        "missing": lambda: document.pop("tensors"),
        "size": lambda: tensor.update(size_bytes=tensor["size_bytes"] + 1),
        "dtype": lambda: tensor.update(dtype="object"),
        "unknown dtype": lambda: tensor.update(dtype="nonsense"),
        "negative": lambda: tensor.update(shape=[-1]),
        "bool depth": lambda: tensor.update(depth=True),
        "huge depth": lambda: tensor.update(depth=10**9),
        "level": lambda: document.update(level="more"),
        "link": lambda: tensor.update(from_link="nowhere"),
        "out link": lambda: tensor.update(to_links=["nowhere"]),
        "sender": lambda: document.update(senders={}),
        "processor": lambda: document.update(processors={}),
        "segment input": lambda: document["segments"][0].update(inputs=[99]),
        "no input": lambda: document["segments"][0].update(inputs=[]),
        "port": lambda: document["out_links"]["b->c"].update(port=0),
        "token": lambda: document.update(token_out="nowhere"),
    }
    changes[how]()


@pytest.mark.parametrize(
    "how",
    [
        "schema",
        "missing",
        "size",
        "dtype",
        "unknown dtype",
        "negative",
        "bool depth",
        "huge depth",
        "level",
        "link",
        "out link",
        "sender",
        "processor",
        "segment input",
        "no input",
        "port",
        "token",
    ],
)
def test_a_broken_deployment_is_refused(tmp_path: Path, how: str) -> None:
    document = _document(tmp_path)
    _break(document, how)
    with pytest.raises(AgentError) as caught:
        parse_deployment(document, "b")
    assert caught.value.code is ErrorCode.BAD_DEPLOYMENT


def test_a_deployment_for_another_board_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AgentError) as caught:
        parse_deployment(_document(tmp_path), "c")
    assert caught.value.code is ErrorCode.WRONG_BOARD


def test_a_changed_segment_is_noticed_before_anything_is_sent(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", chain())
    with (folder / "segments" / "s1.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(BundleError, match="s1"):
        open_bundle(folder)


def test_a_directory_that_is_no_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json"):
        open_bundle(tmp_path)


def test_files_are_kept_by_hash_and_read_back(tmp_path: Path) -> None:
    import hashlib

    data = bytes(range(256)) * 10
    sha = hashlib.sha256(data).digest()
    with FileStore(tmp_path) as store:
        assert store.state(sha)[0] == 0
        store.begin(sha, len(data))
        store.chunk(0, data[:1000])
        store.chunk(1000, data[1000:])
        assert store.end() == (1, len(data), sha)
        assert store.read(sha, 10, 5) == data[10:15]
        model = store.lay_out(sha.hex(), {"data/weights.bin": sha.hex()})
        assert (model.parent / "data" / "weights.bin").read_bytes() == data
        store.path(sha.hex()).unlink()
        with pytest.raises(AgentError, match="NO_SUCH_FILE"):
            store.path(sha.hex())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("chunks", "code"),
    [
        ([(0, b"abcd")], ErrorCode.HASH_MISMATCH),
        ([(0, b"ab")], ErrorCode.HASH_MISMATCH),
        ([(1, b"abc")], ErrorCode.BAD_MESSAGE),
        ([(0, b"abcde")], ErrorCode.BAD_MESSAGE),
    ],
)
def test_a_damaged_file_is_refused(tmp_path: Path, chunks: list[tuple[int, bytes]], code: ErrorCode) -> None:
    with FileStore(tmp_path) as store:
        store.begin(bytes(32), 4)
        for offset, data in chunks:
            store.chunk(offset, data)
        with pytest.raises(AgentError) as caught:
            store.end()
        assert caught.value.code is code


def test_a_file_larger_than_the_disk_is_refused_at_once(tmp_path: Path) -> None:
    with FileStore(tmp_path) as store:
        store.begin(bytes(32), 1 << 60)
        with pytest.raises(AgentError, match="STORAGE"):
            store.end()


def test_folders_of_killed_agents_are_removed_and_no_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    abandoned, elsewhere = tmp_path / "edgecut-agent-killed", tmp_path / "other"
    for folder in (abandoned, elsewhere):
        folder.mkdir()
        (folder / "x").touch()
    with FileStore(tmp_path) as alive:
        assert abandoned.exists(), "too young to be sure"
        monkeypatch.setattr("hil.agent_store._YOUNG_S", 0.0)
        with FileStore(tmp_path):
            assert not abandoned.exists()
            assert elsewhere.exists()
            assert alive.root.exists()
    assert [p.name for p in tmp_path.iterdir()] == ["other"]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "", "a/../../x", "a\\b"])
def test_companions_cannot_leave_their_folder(tmp_path: Path, name: str) -> None:
    import hashlib

    sha = hashlib.sha256(b"").digest()
    with FileStore(tmp_path) as store:
        store.begin(sha, 0)
        store.end()
        with pytest.raises(AgentError, match="leaves its folder"):
            store.lay_out(sha.hex(), {name: sha.hex()})


def test_a_slot_is_free_only_when_every_user_is_done() -> None:
    progress = Progress([1])
    progress.set_users(1, ["s1", "left->right"])
    assert progress.use(1, "s1", 3) is None
    assert progress.use(1, "left->right", 2) == 2
    assert progress.use(1, "left->right", 5) == 3


def test_waiting_ends_when_the_condition_holds_or_everything_stops() -> None:
    progress = Progress([1])
    progress.set_users(1, ["s"])
    woken: list[str] = []

    def wait(frame: int) -> None:
        progress.wait(Waiter(f"w{frame}"), lambda: progress.available[1] > frame, lambda: f"frame {frame}")
        woken.append(f"w{frame}")

    threads = [threading.Thread(target=wait, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    while len(progress.waits()) < 2:
        pass
    progress.available[1] = 1
    progress.wake()
    threads[0].join(5.0)
    assert woken == ["w0"]
    assert progress.waits() == {"w1": "frame 1"}
    progress.stop("because")
    threads[1].join(5.0)
    assert (woken, progress.failure) == (["w0", "w1"], "because")


def test_slots_start_on_a_cache_line() -> None:
    for shape in ((3,), (1, 3, 5), (), (0, 4)):
        array = aligned(shape, "float16")
        assert array.shape == shape
        assert array.ctypes.data % 64 == 0 or array.size == 0
        assert not np.any(array)


def test_the_bundle_imports_nothing_but_numpy_onnxruntime_and_itself() -> None:
    allowed = set(sys.stdlib_module_names) | {"numpy", "onnxruntime", "hil", "firmware_interface"}
    inside = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in bundled_files()}
    for name, path in bundled_files().items():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
            for imported in names:
                assert imported.split(".")[0] in allowed, f"{name} imports {imported}"
                if imported.split(".")[0] in ("hil", "firmware_interface"):
                    ours = isinstance(node, ast.ImportFrom) and imported in ("hil", "firmware_interface")
                    for part in [f"{imported}.{a.name}" for a in node.names] if ours else [imported]:
                        assert part in inside, f"{name} imports {part}, which is not in the bundle"


def test_the_same_sources_give_the_same_bundle(tmp_path: Path) -> None:
    first = build_agent_bundle(tmp_path / "one.pyz").read_bytes()
    assert build_agent_bundle(tmp_path / "two.pyz").read_bytes() == first
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.pyz", "two.pyz"]


def test_branches_keep_the_plans_order_on_each_link(tmp_path: Path) -> None:
    bundle = open_bundle(write_bundle(tmp_path / "bundle", branches()))
    raw = board_document(
        bundle, "a", _lab(), deployment_id="id", settings=Settings(), stimuli={}, repeats_after=0, companions={}
    )
    deployment = parse_deployment(raw, "a")
    assert set(deployment.senders) == {"a->b", "a->c"}
    assert [t.name for t in deployment.tensors.values() if t.to_sink] == ["y"]
