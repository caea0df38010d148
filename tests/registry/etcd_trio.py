"""Three real etcd members for tests: own processes, kernel-chosen ports, killed by their pids."""

from __future__ import annotations

import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path

from registry.etcd_process import ETCD, free_port


@dataclass(slots=True)
class EtcdMember:
    """One member, whose data survives `kill` and `start`."""

    name: str
    directory: Path
    initial_cluster: str = ""
    state: str = "new"
    client_port: int = field(default_factory=free_port)
    peer_port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.client_port}"

    @property
    def peer_url(self) -> str:
        return f"http://127.0.0.1:{self.peer_port}"

    @property
    def accepts(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.client_port)) == 0

    def start(self) -> None:
        client = f"http://{self.endpoint}"
        with (self.directory / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    ETCD,
                    f"--name={self.name}",
                    f"--data-dir={self.directory / self.name}",
                    f"--listen-client-urls={client}",
                    f"--advertise-client-urls={client}",
                    f"--listen-peer-urls={self.peer_url}",
                    f"--initial-advertise-peer-urls={self.peer_url}",
                    f"--initial-cluster={self.initial_cluster}",
                    f"--initial-cluster-state={self.state}",
                    # Generous: a leader must not change because the machine is busy.
                    "--heartbeat-interval=200",
                    "--election-timeout=2000",
                    "--unsafe-no-fsync",
                    "--log-level=error",
                ],
                stdout=log,
                stderr=log,
            )

    def kill(self) -> None:
        """End it at once. Harmless when it is not running."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait(10)
            self.process = None


class EtcdTrio:
    """Three members, a cluster."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.members = [EtcdMember(name, directory) for name in ("one", "two", "three")]
        for member in self.members:
            member.initial_cluster = self.initial_cluster

    @property
    def initial_cluster(self) -> str:
        return ",".join(f"{member.name}={member.peer_url}" for member in self.members)

    @property
    def endpoints(self) -> str:
        return ",".join(member.endpoint for member in self.members)

    def start(self, deadline_seconds: float = 30) -> None:
        """Start all and wait until they accept: etcd listens for clients once there is a leader."""
        for member in self.members:
            member.start()
        deadline = time.monotonic() + deadline_seconds
        while not all(member.accepts for member in self.members):
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"etcd did not start: see {self.directory}")
            time.sleep(0.05)

    def kill(self) -> None:
        for member in self.members:
            member.kill()
