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
from pathlib import Path

BIN = Path(sys.executable).parent
START_SECONDS = 30.0


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


@contextlib.contextmanager
def etcd(where: Path | None = None) -> Iterator[int]:
    """Run one etcd with its defaults; gives its client port."""
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
        with running(command):
            wait_for("etcd", lambda: accepts(port))
            time.sleep(1.0)  # it elects itself after it listens
            yield port


@contextlib.contextmanager
def registry(where: Path | None = None) -> Iterator[int]:
    """Run one registry node with its defaults; gives its client port."""
    with scratch(where) as directory:
        run_file = directory / "run.json"
        command = [
            *(sys.executable, "-m", "tianlu", "registry", "--data-dir", str(directory / "data")),
            *("--listen-client-urls", "http://127.0.0.1:0", "--run-file", str(run_file)),
        ]
        with running(command):
            wait_for("the registry", run_file.exists)
            urls = json.loads(run_file.read_text())["addresses"]["client_urls"]
            yield int(urls[0].rpartition(":")[2])


SERVERS = {"tianlu": registry, "etcd": etcd}
