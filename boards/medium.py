"""A medium: what a link is made of, before it is known which boards it joins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from boards.board import Link

__all__ = ["Medium"]


@dataclass(frozen=True)
class Medium:
    """Figures of a kind of connection; see ``boards.board.Link`` for their meaning.

    ``duplex`` "full": each direction is a resource of its own; "half": both share one.
    """

    name: str
    duplex: Literal["full", "half"]
    bandwidth_bytes_per_s: float
    setup_s: float
    latency_s: float
    mtu_bytes: int | None
    header_bytes: int
    min_payload_bytes: int
    energy_j_per_byte: float
    overlap: bool
    send_s_per_byte: float
    receive_s_per_byte: float

    def link(self, name: str, source: str, target: str, resource: str) -> Link:
        """A directed link of this medium; ``resource`` names what its hops occupy."""
        return Link(
            name=name,
            source=source,
            target=target,
            medium=resource,
            bandwidth_bytes_per_s=self.bandwidth_bytes_per_s,
            setup_s=self.setup_s,
            latency_s=self.latency_s,
            mtu_bytes=self.mtu_bytes,
            header_bytes=self.header_bytes,
            min_payload_bytes=self.min_payload_bytes,
            energy_j_per_byte=self.energy_j_per_byte,
            overlap=self.overlap,
            send_s_per_byte=self.send_s_per_byte,
            receive_s_per_byte=self.receive_s_per_byte,
        )
