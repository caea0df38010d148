"""A registry node for tests: `python -m tianlu_registry` as a process, on ports of the kernel's."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path


class RegistryProcess:
    """One node with a data directory that survives `kill`, `stop` and `start`.

    Args:
        directory: for data, run file and log.
        arguments: further flags.
    """

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self.urls: list[str] = []
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The first client URL."""
        return self.urls[0]

    @property
    def target(self) -> str:
        """The same as ``host:port``."""
        return self.url.removeprefix("http://")

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        return (self.directory / "registry.log").read_text()

    def start(self, deadline_seconds: float = 30) -> None:
        """Start the node and wait until it serves."""
        run_file = self.directory / "run.json"
        with (self.directory / "registry.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "tianlu_registry",
                    f"--data-dir={self.directory / 'data'}",
                    "--listen-client-urls=http://127.0.0.1:0",
                    f"--run-file={run_file}",
                    *self._arguments,
                ],
                stderr=log,
            )
        deadline = time.monotonic() + deadline_seconds
        while not run_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the registry did not start: {self.log}")
            time.sleep(0.02)
        self.urls = json.loads(run_file.read_text())["addresses"]["client_urls"]

    def stop(self) -> int:
        """Stop the node in order; returns its exit status."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the launcher at once; the kernel ends Envoy with it. Harmless when not running."""
        if self._process is not None:
            self._end(signal.SIGKILL)
            (self.directory / "run.json").unlink(missing_ok=True)

    def _end(self, number: signal.Signals) -> int:
        assert self._process is not None
        self._process.send_signal(number)
        status = self._process.wait(30)
        self._process = None
        return status
