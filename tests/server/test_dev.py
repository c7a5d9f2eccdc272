from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from server import dev
from server.app import make_folders
from server.config import ServerConfig
from server.errors import StartError
from server.records import NewJob
from server.store import Store


@pytest.mark.parametrize("host", ["127.0.0.1", "127.5.5.5", "::1", "localhost"])
def test_addresses_of_this_machine_are_taken(host: str) -> None:
    _, address = dev._loopback(host)
    assert address.startswith("127.") or address == "::1"


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "", "no such host", "x" * 300])
def test_other_addresses_are_refused(host: str) -> None:
    with pytest.raises(StartError):
        dev._loopback(host)


def test_name_of_this_machine_and_another_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def both(*_: Any, **__: Any) -> list[Any]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("127.0.0.1", 0)), (*kind, ("192.0.2.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", both)
    with pytest.raises(StartError, match=r"192\.0\.2\.1"):
        dev._loopback("both.example")


def test_data_folder_serves_one_server_at_a_time(config: ServerConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dev, "_LOCK_WAIT_S", 0.1)
    make_folders(config)
    with dev._locked(config), pytest.raises(StartError, match="in use"), dev._locked(config):
        pass
    with dev._locked(config):
        pass


def test_recovery_settles_jobs_and_empties_what_is_unfinished(config: ServerConfig) -> None:
    make_folders(config)
    store = Store(config.database)
    job = store.add_job(NewJob("solve", {}))
    store.claim("w")
    (config.scratch / "w").mkdir()
    (config.scratch / "w" / "plan.json").touch()
    (config.incoming / "x").mkdir()
    (config.jobs / "kept").mkdir()
    dev._recover(config, store)
    found = store.job(job.id)
    assert found is not None and found.state == "queued" and found.losses[0].counted
    assert list(config.scratch.iterdir()) == [] == list(config.incoming.iterdir())
    assert (config.jobs / "kept").is_dir()


def test_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(StartError, match=f"port {port}"), dev._listening(socket.AF_INET, "127.0.0.1", port):
            pass
