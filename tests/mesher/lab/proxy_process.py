"""`tianlu mesher` and `tianlu gateway` as real processes."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
from mesher.lab.envoy_bench import until


class ProxyProcess:
    """One proxy with its launcher, agent and Envoy; all are gone after the `async with` block.

    Args:
        part: "mesher" or "gateway".
        options: flags beside --data-dir, --run-file and --listen.
        directory: a data directory of an earlier one; None for a new one.
    """

    def __init__(
        self, part: str, *options: str, directory: Path | None = None, listen: str = "127.0.0.1:0"
    ) -> None:
        self.part = part
        self.directory = directory or Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
        self._owned = directory is None
        self.run_file = self.directory / "run.json"
        module = f"tianlu_{part}.cli"
        self._command = (
            *(sys.executable, "-c", f"from {module} import app; app()"),
            *("--data-dir", str(self.directory / "data"), "--run-file", str(self.run_file)),
            *("--listen", listen, "--log-level", "warning", *options),
        )
        self.addresses: dict[str, Any] = {}

    async def __aenter__(self) -> Self:
        await self.start()
        await self.until_ready()
        return self

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            *self._command, stderr=asyncio.subprocess.PIPE
        )
        self._errors = asyncio.create_task(self._collect())
        self.client = httpx.AsyncClient(trust_env=False)

    async def _collect(self) -> str:
        assert self.process.stderr is not None
        return (await self.process.stderr.read()).decode()

    async def until_ready(self) -> None:
        await until(lambda: self.run_file.exists() or self.process.returncode is not None, 30)
        assert self.process.returncode is None, await self.errors()
        content = json.loads(self.run_file.read_text())
        assert (content["part"], content["pid"]) == (self.part, self.process.pid)
        self.addresses = content["addresses"]

    async def errors(self) -> str:
        return await self._errors

    def child(self, name: str) -> psutil.Process:
        """Return the agent or the Envoy."""
        marks = {"agent": "tianlu_mesher.agent.process", "envoy": "--config-path"}
        (found,) = [
            each
            for each in psutil.Process(self.process.pid).children()
            if marks[name] in each.cmdline()
        ]
        return found

    async def get(self, path: str = "/", *, host: str = "orders.default") -> httpx.Response:
        return await self.client.get(self.addresses["http"] + path, headers={"host": host})

    async def status(self, path: str = "/status") -> httpx.Response:
        return await self.client.get(self.addresses["admin"] + path)

    async def stop(self) -> int:
        if self.process.returncode is None:
            self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), 15)

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._errors
        if self._owned:
            shutil.rmtree(self.directory)
