from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from server.app import create_app
from server.config import ServerConfig
from server.store import Store
from tests.server.samples import small_model

UPLOAD_LIMIT_BYTES = 200_000
JSON_LIMIT_BYTES = 100_000


@pytest.fixture
def config(tmp_path: Path) -> ServerConfig:
    return ServerConfig(tmp_path / "data", {"bench": tmp_path / "lab.yaml"}, UPLOAD_LIMIT_BYTES, JSON_LIMIT_BYTES)


@pytest.fixture
def app(config: ServerConfig) -> Flask:
    """Without workers: jobs stay queued, and a test may play the worker through the store."""
    return create_app(config)


@pytest.fixture
def client(app: Flask) -> Iterator[FlaskClient]:
    with app.test_client() as found:
        yield found


@pytest.fixture
def store(app: Flask, config: ServerConfig) -> Store:
    return Store(config.database)


@pytest.fixture
def model_id(client: FlaskClient) -> str:
    answer = client.post("/v1/models", data=small_model(), content_type="application/octet-stream")
    return str(answer.json["id"])  # type: ignore[index]
