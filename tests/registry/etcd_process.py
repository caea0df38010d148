"""A real etcd for tests: its own process, kernel-chosen ports, killed by its pid."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

ETCD = Path(sys.executable).parent / "etcd"


def free_port() -> int:
    """Return a port that the kernel gave out a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class EtcdProcess:
    """One etcd member with a data directory that survives `kill` and `start`.

    Args:
        directory: for data and log.
        arguments: further flags.
    """

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.directory = directory
        self.arguments = arguments
        self.client_port = free_port()
        self.peer_port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.client_port}"

    def start(self, deadline_seconds: float = 20) -> None:
        """Start etcd and wait until it accepts connections."""
        peer = f"http://127.0.0.1:{self.peer_port}"
        with (self.directory / "etcd.log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    ETCD,
                    "--name=test",
                    f"--data-dir={self.directory / 'data'}",
                    f"--listen-client-urls={self.endpoint}",
                    f"--advertise-client-urls={self.endpoint}",
                    f"--listen-peer-urls={peer}",
                    f"--initial-advertise-peer-urls={peer}",
                    f"--initial-cluster=test={peer}",
                    "--unsafe-no-fsync",
                    "--log-level=error",
                    *self.arguments,
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + deadline_seconds
        while not self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"etcd did not start: see {self.directory / 'etcd.log'}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End etcd at once. Harmless when it is not running."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait(10)
            self._process = None

    def _accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.client_port)) == 0
