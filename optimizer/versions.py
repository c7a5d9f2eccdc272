"""Versions of what a result depends on."""

from __future__ import annotations

import functools
import importlib.metadata

__all__ = ["versions"]


def versions() -> dict[str, str]:
    """By package name; "unknown" for what is not installed."""
    return dict(_versions())


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    return tuple((package, _version(package)) for package in ("edgecut", "ortools", "pymoo", "onnx", "numpy"))


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
