"""A headless Chromium driven through chromedriver's HTTP interface, with the standard library only."""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
import urllib.error
import urllib.request
from base64 import b64decode
from pathlib import Path
from types import TracebackType
from typing import Any

__all__ = ["Browser"]

_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
_TIMEOUT_S = 60.0


class Browser:
    """One browser window with an empty profile; a context manager that leaves no process behind."""

    def __init__(self, chromium: str, chromedriver: str, width: int = 1280, height: int = 900) -> None:
        self._chromium, self._chromedriver = chromium, chromedriver
        self._size = (width, height)

    def __enter__(self) -> Browser:
        self._profile = tempfile.TemporaryDirectory(prefix="edgecut-browser-", ignore_cleanup_errors=True)
        self._driver = subprocess.Popen(
            [self._chromedriver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            self._base = f"http://127.0.0.1:{self._announced_port()}"
            options = {
                "binary": self._chromium,
                "args": [
                    *_FLAGS,
                    f"--user-data-dir={self._profile.name}",
                    f"--window-size={self._size[0]},{self._size[1]}",
                ],
            }
            capabilities = {"goog:chromeOptions": options, "goog:loggingPrefs": {"browser": "ALL"}}
            session = self._call("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
            self._session = f"/session/{session['sessionId']}"
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._call("DELETE", self._session)
        finally:
            self._stop()

    def open(self, path: Path) -> None:
        """Load a file through file://."""
        self._call("POST", f"{self._session}/url", {"url": path.resolve().as_uri()})

    def run(self, script: str, *arguments: object) -> Any:
        """What ``script`` returns ("return document.title")."""
        return self._call("POST", f"{self._session}/execute/sync", {"script": script, "args": arguments})

    def click(self, selector: str) -> None:
        """A real click in the middle of the element, scrolled into view."""
        self._call("POST", f"{self._element(selector)}/click", {})

    def press(self, selector: str, key: str) -> None:
        """Type ``key`` into the element."""
        self._call("POST", f"{self._element(selector)}/value", {"text": key})

    def resize(self, width: int, height: int) -> None:
        """Lay out for a screen of that size, narrower than a window can be."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.protocol("Emulation.setDeviceMetricsOverride", metrics)

    def protocol(self, command: str, parameters: dict[str, object]) -> Any:
        """One command of the DevTools protocol."""
        return self._call("POST", f"{self._session}/goog/cdp/execute", {"cmd": command, "params": parameters})

    def console(self) -> list[str]:
        """What the console has said since the last call, network failures included."""
        entries = self._call("POST", f"{self._session}/se/log", {"type": "browser"})
        return [f"{e['level']}: {e['message']}" for e in entries]

    def screenshot(self, path: Path) -> None:
        """The visible part of the page as PNG."""
        path.write_bytes(b64decode(self._call("GET", f"{self._session}/screenshot")))

    def _element(self, selector: str) -> str:
        found = self._call("POST", f"{self._session}/element", {"using": "css selector", "value": selector})
        return f"{self._session}/element/{next(iter(found.values()))}"

    def _announced_port(self) -> int:
        assert self._driver.stdout is not None
        for line in self._driver.stdout:
            found = re.search(r"started successfully on port (\d+)", line)
            if found:
                return int(found[1])
        raise RuntimeError(f"{self._chromedriver} ended without naming its port")

    def _call(self, method: str, path: str, body: object = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._base + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"{method} {path}: {error.read().decode(errors='replace')[:600]}") from error

    def _stop(self) -> None:
        self._driver.terminate()
        try:
            self._driver.wait(10)
        except subprocess.TimeoutExpired:
            self._driver.kill()
            self._driver.wait()
        assert self._driver.stdout is not None
        self._driver.stdout.close()
        self._profile.cleanup()
