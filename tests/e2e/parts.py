"""The parts run one by one, for tests in which a part stays dead: nothing starts them again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from e2e.platform_process import wait_until


class Part:
    """One of Tianlu's processes, run by hand."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self._directory = directory
        self._arguments = arguments
        self._run_file = directory / "run.json"
        directory.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes]
        self.start()

    def start(self) -> None:
        self._run_file.unlink(missing_ok=True)
        with (self._directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "tianlu", *self._arguments),
                    *("--data-dir", str(self._directory / "data")),
                    *("--run-file", str(self._run_file)),
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_serving(self) -> Part:
        """Wait for the run file, which a part writes once it serves."""

        def serving() -> bool:
            assert self.process.poll() is None, self.log()
            return self._run_file.exists()

        wait_until(f"{self._arguments[0]} serves", serving, 40)
        return self

    def address(self, key: str = "http") -> Any:
        return json.loads(self._run_file.read_text())["addresses"][key]

    def log(self) -> str:
        return (self._directory / "log").read_text()

    def kill(self) -> None:
        """SIGKILL the launcher; what it started dies with it."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            raise


class Parts:
    """A registry, a mesher and a gateway that know each other by unix sockets."""

    def __init__(self, directory: Path) -> None:
        self.socket = directory / "registry.sock"
        self.endpoint = f"unix:{self.socket}"
        urls = f"http://127.0.0.1:0,unix:{self.socket}"
        self.registry = Part(directory / "registry", "registry", "--listen-client-urls", urls)
        agents = {
            name: Part(
                directory / name,
                name,
                *("--listen", "127.0.0.1:0", "--registry", self.endpoint),
                *("--snapshot-dir", str(directory / name / "snapshot")),
            )
            for name in ("mesher", "gateway")
        }
        self.mesher, self.gateway = agents["mesher"], agents["gateway"]

    def all(self) -> tuple[Part, ...]:
        return (self.gateway, self.mesher, self.registry)

    def wait_serving(self) -> Parts:
        for part in self.all():
            part.wait_serving()
        return self


@contextlib.contextmanager
def parts(directory: Path) -> Iterator[Parts]:
    """Run the parts for the length of a block."""
    running = Parts(directory)
    try:
        yield running.wait_serving()
    finally:
        for part in running.all():
            part.stop()
