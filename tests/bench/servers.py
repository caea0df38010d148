"""The programs under measurement, each started on ports from the kernel and stopped afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

BIN = Path(sys.executable).parent
START_SECONDS = 30.0
_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Server:
    """A program under measurement.

    Attributes:
        port: where its clients connect.
        pid: its first process.
    """

    port: int
    pid: int

    def cpu_seconds(self) -> float:
        """Return the CPU time that it and its children have used: the figure that other work on
        the machine disturbs least."""
        return sum(_cpu_seconds(pid) for pid in _family(self.pid))

    def memory_mib(self) -> float:
        """Return the memory that it and its children hold, pages that they share counted once
        (proportional set size)."""
        return sum(_memory_kib(pid) for pid in _family(self.pid)) / 1024


def _family(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in children for found in _family(int(child)))]


def _cpu_seconds(pid: int) -> float:
    # The name, in parentheses, may hold spaces; user and system time are fields 14 and 15.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS


def _memory_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1])
    return 0


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_for(what: str, condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"{what} did not start within {START_SECONDS:.0f} s")
        time.sleep(0.02)


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(
    command: list[str], environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program for the length of a block; its output goes nowhere."""
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **(environment or {})},
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextlib.contextmanager
def scratch(where: Path | None = None) -> Iterator[Path]:
    """Make a directory for one run. `where` chooses the disk: fsync must be a real one."""
    made = Path(tempfile.mkdtemp(prefix="tianlu-bench-", dir=where))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _is_healthy(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).is_success
    except httpx.HTTPError:
        return False


@contextlib.contextmanager
def etcd(where: Path | None = None) -> Iterator[Server]:
    """Run one etcd with its defaults."""
    with scratch(where) as directory:
        port, peer = free_port(), free_port()
        urls = [
            *("--listen-client-urls", f"http://127.0.0.1:{port}"),
            *("--advertise-client-urls", f"http://127.0.0.1:{port}"),
            *("--listen-peer-urls", f"http://127.0.0.1:{peer}"),
            *("--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}"),
            *("--initial-cluster", f"default=http://127.0.0.1:{peer}"),
        ]
        command = [str(BIN / "etcd"), "--data-dir", str(directory), "--log-level", "error", *urls]
        with running(command) as process:
            wait_for("etcd", lambda: _is_healthy(port))  # it elects itself after it listens
            yield Server(port, process.pid)


@contextlib.contextmanager
def registry(where: Path | None = None) -> Iterator[Server]:
    """Run one registry node with its defaults."""
    with scratch(where) as directory:
        run_file = directory / "run.json"
        command = [
            *(sys.executable, "-m", "tianlu", "registry", "--data-dir", str(directory / "data")),
            *("--listen-client-urls", "http://127.0.0.1:0", "--run-file", str(run_file)),
        ]
        with running(command) as process:
            wait_for("the registry", run_file.exists)
            urls = json.loads(run_file.read_text())["addresses"]["client_urls"]
            yield Server(int(urls[0].rpartition(":")[2]), process.pid)


SERVERS = {"tianlu": registry, "etcd": etcd}
