"""`tianlu up` as a real process, for tests: started on a port from the kernel, asked, killed,
stopped."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import httpx

START_SECONDS = 120.0

T = TypeVar("T")


def wait_until(what: str, condition: Callable[[], T], seconds: float = 20.0) -> T:
    """Return the condition's first true value; fail, saying `what`, when there is none in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what}: not within {seconds} s"
        time.sleep(0.02)  # between looks at another process; nothing is assumed of its speed


class Platform:
    """A running `tianlu up`."""

    def __init__(self, data_dir: Path, *arguments: str, environment: dict[str, str] | None = None):
        self.data_dir = data_dir
        self.output = data_dir.parent / f"{data_dir.name}.out"
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tianlu", "up", "--data-dir", str(data_dir)),
                    *("--listen", "127.0.0.1:0"),
                    *arguments,
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )

    def run(self) -> dict[str, Any]:
        """Return the content of run.json, empty while there is none."""
        try:
            content: dict[str, Any] = json.loads((self.data_dir / "run.json").read_text())
        except FileNotFoundError:
            return {}
        return content

    def wait_ready(self, *, demo: bool = False) -> Platform:
        """Wait until all parts serve, with `demo` those of the shop as well."""

        def ready() -> bool:
            assert self.process.poll() is None, self.output.read_text()
            parts = self.run().get("parts", {})
            names = {name for name, part in parts.items() if part["state"] == "serving"}
            return (
                "gateway" in names  # with --auth the registry is started, and listed, before
                and names == set(parts)
                and (not demo or "demo-load" in names)
                and httpx.get(self.entrance + "/readyz").status_code == httpx.codes.OK
            )

        wait_until("the platform is ready", ready, START_SECONDS)
        return self

    @property
    def entrance(self) -> str:
        """Return the gateway's URL."""
        return str(self.run()["entrance"])

    @property
    def authority(self) -> str:
        """Return the gateway's HOST:PORT."""
        return self.entrance.removeprefix("http://")

    def pid(self, part: str) -> int:
        """Return the process id of a part's own process (a launcher, for those on Envoy)."""
        return int(self.run()["parts"][part]["pid"])

    def address(self, part: str, key: str = "http") -> Any:
        return self.run()["parts"][part]["addresses"][key]

    def kill(self, part: str) -> None:
        os.kill(self.pid(part), signal.SIGKILL)

    def wait_restarted(self, part: str, restarts: int = 1) -> None:
        def restarted() -> bool:
            found = self.run()["parts"][part]
            return found["restarts"] >= restarts and found["state"] == "serving"

        wait_until(f"{part} is back", restarted, START_SECONDS)

    def stop(self) -> int:
        """Stop as Ctrl-C would; return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


@contextlib.contextmanager
def platform(data_dir: Path, *arguments: str) -> Iterator[Platform]:
    """Run `tianlu up` for the length of a block."""
    running = Platform(data_dir, *arguments)
    try:
        yield running
    finally:
        running.stop()


def tianlu(*arguments: str, endpoints: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run the command line against an entrance."""
    return subprocess.run(
        [sys.executable, "-m", "tianlu", *arguments],
        env={**os.environ, "TIANLU_ENDPOINTS": endpoints, "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=check,
    )
