"""A real registry process for the SDK's tests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import urlsplit

START_SECONDS_MAX = 30.0


class RegistryProcess:
    """`python -m tianlu_registry` on a port that the kernel chose and that a restart keeps.

    Args:
        arguments: further flags.
        scheme: of the port; the Unix socket beside it is always plaintext.
    """

    def __init__(self, directory: Path, *arguments: str, scheme: str = "http") -> None:
        self.directory = directory
        self._scheme = scheme
        self._arguments = arguments
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._log = (directory / "registry.log").open("ab")

    @property
    def socket(self) -> str:
        """Its second address: a Unix socket."""
        return f"unix:{self.directory / 'registry.sock'}"

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it serves."""
        run_file = self.directory / "run.json"
        run_file.unlink(missing_ok=True)
        urls = f"{self._scheme}://127.0.0.1:{self.port},{self.socket}"
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "tianlu_registry",
                f"--data-dir={self.directory / 'data'}",
                f"--listen-client-urls={urls}",
                f"--run-file={run_file}",
                *self._arguments,
            ],
            stderr=self._log,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + START_SECONDS_MAX
        while not run_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.close()
                raise RuntimeError((self.directory / "registry.log").read_text())
            time.sleep(0.02)
        serving, _ = json.loads(run_file.read_text())["addresses"]["client_urls"]
        self.port = urlsplit(serving).port or 0

    def kill(self) -> None:
        """SIGKILL it with all its processes, as a power cut would."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def stop(self) -> None:
        """Stop it as a person would."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()

    def close(self) -> None:
        self.kill()
        self._log.close()
