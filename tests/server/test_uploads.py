from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.app import make_folders
from server.config import ServerConfig
from server.errors import RequestError
from server.uploads import file_name, keep, receive


@given(st.one_of(st.none(), st.text(max_size=300)))
def test_any_name_becomes_a_plain_file_name(given_name: str | None) -> None:
    name = file_name(given_name)
    assert Path(name).name == name
    assert name.endswith(".onnx") and len(name) > len(".onnx") and len(name) < 120
    assert name.isascii() and not name.startswith((".", "-", "_"))
    assert file_name(name) == name


@pytest.mark.parametrize(
    ("given_name", "name"),
    [
        (None, "model.onnx"),
        ("net.onnx", "net.onnx"),
        ("net", "net.onnx"),
        ("../../etc/passwd", "passwd.onnx"),
        ("C:\\nets\\net v2.onnx", "net_v2.onnx"),
        (".onnx", "onnx.onnx"),
        ("..", "model.onnx"),
    ],
)
def test_names(given_name: str | None, name: str) -> None:
    assert file_name(given_name) == name


@pytest.fixture
def config(tmp_path: Path) -> ServerConfig:
    found = ServerConfig(tmp_path / "data", max_upload_bytes=10)
    make_folders(found)
    return found


def test_received_file_goes_away_unless_it_is_kept(config: ServerConfig) -> None:
    with receive(config, io.BytesIO(b"0123456789"), "a.onnx") as upload:
        assert upload.path.read_bytes() == b"0123456789"
        assert upload.size_bytes == 10
    assert list(config.incoming.iterdir()) == []
    with receive(config, io.BytesIO(b"0123456789"), "a.onnx") as upload:
        keep(config, upload)
        keep_place = config.models / upload.sha256 / "a.onnx"
    assert keep_place.read_bytes() == b"0123456789"
    assert list(config.incoming.iterdir()) == []


def test_file_that_a_crash_left_is_no_obstacle(config: ServerConfig) -> None:
    for name in ("a.onnx", "b.onnx"):
        with receive(config, io.BytesIO(b"x"), name) as upload:
            keep(config, upload)
    assert sorted(p.name for p in (config.models / upload.sha256).iterdir()) == ["a.onnx", "b.onnx"]


def test_more_than_the_limit_is_not_kept_on_disk(config: ServerConfig) -> None:
    with pytest.raises(RequestError) as refused, receive(config, io.BytesIO(bytes(11)), "a.onnx"):
        pytest.fail("received")
    assert refused.value.problem.status == 413
    assert list(config.incoming.iterdir()) == []
