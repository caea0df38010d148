"""`tianlu registry` as a real process on a unix socket that stays the same over restarts."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from mesher.lab.envoy_bench import until


class RegistryProcess:
    """One registry node with its data; both are gone after the `async with` block.

    Args:
        arguments: further flags.
        scheme: of its port; the Unix socket beside it is always plaintext.
    """

    def __init__(self, *arguments: str, scheme: str = "http") -> None:
        self._arguments = arguments
        self._scheme = scheme
        self.port = 0
        self.directory = Path(tempfile.mkdtemp(prefix="tl-", dir="/tmp"))
        self.endpoint = f"unix:{self.directory / 'client.sock'}"
        self._run_file = self.directory / "run.json"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def start(self) -> None:
        self._run_file.unlink(missing_ok=True)
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tianlu", "registry"),
            *("--data-dir", str(self.directory / "data")),
            *("--listen-client-urls", f"{self.url},{self.endpoint}"),
            *("--run-file", str(self._run_file)),
            *self._arguments,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await until(lambda: self._run_file.exists() or self.process.returncode is not None, 30)
        assert self.process.returncode is None, "the registry ended"
        urls = json.loads(self._run_file.read_text())["addresses"]["client_urls"]
        self.port = urlsplit(urls[0]).port or 0

    @property
    def url(self) -> str:
        """Its port, which a restart keeps."""
        return f"{self._scheme}://127.0.0.1:{self.port}"

    async def kill(self) -> None:
        """SIGKILL; its children die with it."""
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    async def __aexit__(self, *_: object) -> None:
        await self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
