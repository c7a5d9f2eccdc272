"""What a server is told once, when it starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["ServerConfig"]


@dataclass(frozen=True)
class ServerConfig:
    """Settings of one server and its workers. ``data`` is its own folder; nothing else writes there."""

    data: Path
    labs: Mapping[str, Path] = field(default_factory=dict)
    """Lab files by the name that measure jobs use."""
    max_upload_bytes: int = 512 * 2**20
    """Of one model file. The zoo's largest, VGG-19, has 575 MB of weights but needs no upload."""
    max_json_bytes: int = 16 * 2**20
    """Of any other request body: inline costs of ResNet-152 on eight boards take a fifth of it."""

    @property
    def database(self) -> Path:
        return self.data / "edgecut.sqlite3"

    @property
    def models(self) -> Path:
        """One folder a model, named by its hash."""
        return self.data / "models"

    @property
    def incoming(self) -> Path:
        """Uploads on their way in; emptied when a server starts."""
        return self.data / "incoming"

    @property
    def jobs(self) -> Path:
        """One folder of result files a finished job."""
        return self.data / "jobs"

    @property
    def scratch(self) -> Path:
        """Unfinished results and temporary files, a folder a worker; emptied when a server starts."""
        return self.data / "scratch"
