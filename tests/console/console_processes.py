"""Real processes: `tianlu registry`, `tianlu console` and an application that registers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TIANLU = str(Path(sys.executable).with_name("tianlu"))
START_SECONDS = 30.0
STOP_SECONDS = 15.0


@dataclass
class Part:
    """A running subcommand."""

    process: subprocess.Popen[bytes]
    addresses: Mapping[str, Any]
    run_file: Path

    def stop(self) -> int:
        """Ask it to stop and return its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(STOP_SECONDS)

    def kill(self) -> None:
        """End it, and whatever it has started, without warning."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(STOP_SECONDS)


@contextmanager
def part(directory: Path, *arguments: str) -> Iterator[Part]:
    """Run `tianlu ARGUMENTS --run-file ...` in its own process group until the context ends."""
    directory.mkdir(parents=True, exist_ok=True)
    run_file, log = directory / "run.json", directory / "log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [TIANLU, *arguments, "--run-file", str(run_file)],
            stderr=stream,
            stdout=stream,
            process_group=0,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not run_file.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"{arguments[0]} did not start:\n{log.read_text()[-4000:]}")
            time.sleep(0.05)
        addresses = json.loads(run_file.read_text())["addresses"]
        yield Part(process, addresses, run_file)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(STOP_SECONDS)


def console_arguments(directory: Path, registry: str, listen: str = "127.0.0.1:0") -> list[str]:
    """Return the command line of a console."""
    data_dir = str(directory / "data")
    return ["console", "--listen", listen, "--registry", registry, "--data-dir", data_dir]


APPLICATION = """
import asyncio, sys, tianlu

async def main(registry, service, instance_id):
    async with tianlu.AsyncClient([registry], ttl_seconds=3) as client:
        await client.register(
            service, id=instance_id, port=8000, version="1.0", zone="z1", metadata={"team": "shop"}
        )
        print("registered", flush=True)
        await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


@contextmanager
def application(registry: str, service: str, instance_id: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that registers one instance and holds it; returns once it is registered."""
    command = [sys.executable, "-c", APPLICATION, registry, service, instance_id]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line == b"registered\n", line
        yield process
    finally:
        process.kill()
        process.wait(STOP_SECONDS)
        process.stdout.close()  # type: ignore[union-attr]
