"""Chromium without a window, driven by the WebDriver protocol."""

import base64
import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--hide-scrollbars",
)  # fmt: skip


class Browser:
    """One page at a time.

    Args:
        folder: Where Chromium keeps its profile.
    """

    def __init__(self, folder: Path):
        driver = shutil.which("chromedriver")
        if driver is None:
            pytest.fail(
                "This test needs Chromium: apt-get install chromium chromium-driver, "
                "or leave the tests out that need more: -m 'not outside'"
            )
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.process = subprocess.Popen(
            [driver, f"--port={self.port}"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.session = ""
        self._wait_for_driver()
        options = {"args": [*_FLAGS, f"--user-data-dir={folder}"]}
        wanted = {
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"performance": "ALL", "browser": "ALL"},
        }
        made = self._call("", {"capabilities": {"alwaysMatch": wanted}})
        self.session = f"/{made['sessionId']}"

    def _wait_for_driver(self):
        for _ in range(300):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise TimeoutError("chromedriver did not start")

    def _call(self, path, body=None, method="POST"):
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/session{self.session}{path}",
            method=method,
            data=None if method != "POST" else json.dumps(body or {}).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=300) as answer:
            return json.load(answer)["value"]

    def _devtools(self, command, **arguments):
        body = {"cmd": command, "params": arguments}
        return self._call("/goog/cdp/execute", body)

    def open(self, path: Path, *, width: int, height: int, dark: bool = False) -> None:
        """Open a file in a window of that size."""
        self._devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=height, deviceScaleFactor=1, mobile=False,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", features=[scheme])
        self._call("/url", {"url": path.as_uri()})

    def run(self, script: str, *arguments: object) -> object:
        """Run JavaScript and return what it returns."""
        return self._call("/execute/sync", {"script": script, "args": arguments})

    def wait_for(self, script: str) -> object:
        """Ask until the answer is neither null, false nor empty."""
        for _ in range(300):
            if answer := self.run(script):
                return answer
            time.sleep(0.1)
        raise TimeoutError(f"Never true: {script}")

    def mouse(self, kind: str, x: float, y: float, pressed: bool = False) -> None:
        """`mouseMoved`, `mousePressed` or `mouseReleased` at a place of the window."""
        button = "left" if pressed or kind != "mouseMoved" else "none"
        self._devtools(
            "Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button,
            buttons=int(pressed), clickCount=int(kind != "mouseMoved"),
        )  # fmt: skip

    def screenshot(self) -> bytes:
        """What the window shows, as PNG."""
        return base64.b64decode(self._call("/screenshot", method="GET"))

    def log(self, kind: str) -> list[str]:
        """Messages since the last call: `browser` or `performance`."""
        return [entry["message"] for entry in self._call("/se/log", {"type": kind})]

    def close(self) -> None:
        """End the browser and its driver."""
        try:
            if self.session:
                self._call("", method="DELETE")
        except (urllib.error.URLError, TimeoutError):
            pass
        finally:
            self.process.terminate()
            self.process.wait()
