"""The launcher with real Envoys: serving, stuck Python, death, stopping, side by side."""

from __future__ import annotations

import asyncio
import errno
import signal
import sys
import time
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import psutil
import pytest
from registry.api.adapter_service import Text
from registry.server.server_process import QUICK, RunningLauncher, launched

from tianlu_registry.node.datadir import DataDir
from tianlu_registry.server.errors import EXIT_CANNOT_CREATE
from tianlu_registry.server.supervision import Limits


def say(channel: grpc.aio.Channel) -> Any:
    return channel.unary_unary(
        "/adapter.test.Echo/Say",
        request_serializer=lambda message: message.SerializeToString(),
        response_deserializer=Text.FromString,
    )


async def answers(running: RunningLauncher, url: str | None = None) -> bool:
    target = (url or running.urls[0]).removeprefix("http://")
    async with grpc.aio.insecure_channel(target) as channel:
        answer = await say(channel)(Text(text="a"), timeout=5, wait_for_ready=True)
        return bool(answer.count == 1)


def envoys() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child.name() == "envoy"]


async def test_serves_every_address_until_stopped(tmp_path: Path) -> None:
    listen = f"http://127.0.0.1:0,http://127.0.0.1:0,unix:{tmp_path}/s"
    async with launched(listen=listen) as running:
        await running.serving()
        assert [await answers(running, url) for url in running.urls] == [True, True, True]
        (child,) = envoys()
        running.launcher.stop()
        assert running.task is not None
        assert await running.task == 0
        assert not child.is_running()


async def test_two_side_by_side() -> None:
    async with launched() as one, launched() as two:
        await one.serving()
        await two.serving()
        assert one.urls != two.urls
        assert await answers(one)
        assert await answers(two)


async def test_stuck_python_is_killed_and_replaced(caplog: pytest.LogCaptureFixture) -> None:
    async with launched() as running:
        await running.serving()
        (stuck,) = envoys()
        async with grpc.aio.insecure_channel(running.target) as channel:
            with pytest.raises(grpc.aio.AioRpcError):
                await say(channel)(Text(text="block"), timeout=20)
        await running.serving(times=2)
        assert not stuck.is_running()
        assert await answers(running)  # at the same port
    assert "node_stuck" in caplog.text
    assert "node_restarting after='killed by SIGKILL'" in caplog.text


async def test_a_run_file_that_cannot_be_written_stops_no_probe(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with launched() as running:
        running.telling_fails = OSError(errno.ENOSPC, "No space left on device")
        await running.serving()
        (stuck,) = envoys()
        stuck.suspend()
        await running.serving(times=2)
        assert not stuck.is_running()
    assert "run_file_failed reason='No space left on device'" in caplog.text


async def test_a_launcher_that_cannot_watch_ends() -> None:
    """A bug in the watch must not leave a child that nobody looks after."""
    async with launched() as running:
        running.telling_fails = RuntimeError("a bug")
        assert running.task is not None
        with pytest.raises(RuntimeError, match="a bug"):
            await running.task
        assert envoys() == []


async def test_a_handler_cannot_end_the_server() -> None:
    async with launched() as running:
        await running.serving()
        for text in ("exit", "interrupt", "crash"):
            async with grpc.aio.insecure_channel(running.target) as channel:
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await say(channel)(Text(text=text), timeout=5)
                assert caught.value.code() is grpc.StatusCode.UNKNOWN
        assert await answers(running)
        assert running.served == 1


async def test_dead_child_is_replaced() -> None:
    async with launched() as running:
        await running.serving()
        envoys()[0].send_signal(signal.SIGSEGV)
        await running.serving(times=2)
        assert await answers(running)


async def test_calls_in_flight_end_before_the_server() -> None:
    """`sleep` would take 30 s: its deadline of 0.3 s must be what ends it, not the stop."""
    async with launched() as running:
        await running.serving()
        async with grpc.aio.insecure_channel(running.target) as channel:
            call = say(channel)(Text(text="sleep"), timeout=0.3)
            await asyncio.sleep(0.1)
            running.launcher.stop()
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


@pytest.mark.parametrize(
    ("app", "limits"),
    [("registry.server.no_such_app:app", Limits()), ("registry.server.exits:app", Limits())],
)
async def test_failure_before_serving_is_not_repeated(app: str, limits: Limits) -> None:
    async with launched(app=app, limits=limits) as running:
        assert running.task is not None
        async with asyncio.timeout(20):
            status = await running.task
        assert status not in (0, -signal.SIGKILL)
        assert running.served == 0


async def test_a_node_that_cannot_start_says_why_and_ends(tmp_path: Path) -> None:
    held = DataDir.acquire(tmp_path / "data")
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tianlu_registry",
            f"--data-dir={tmp_path}/data",
            "--listen-client-urls=http://127.0.0.1:0",
            f"--run-file={tmp_path}/run.json",
            "--log-level=error",
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(30):
            _, output = await process.communicate()
    finally:
        held.release()
    assert process.returncode == EXIT_CANNOT_CREATE
    assert f"tianlu registry: {tmp_path}/data" in output.decode() or "held" in output.decode()
    assert "Traceback" not in output.decode()
    assert not (tmp_path / "run.json").exists()


async def test_stopping_while_starting_is_quick(tmp_path: Path) -> None:
    async with launched(app="registry.server.never_starts:app") as running:
        await asyncio.sleep(0.3)
        before = time.monotonic()
        running.launcher.stop()
        assert running.task is not None
        await running.task
        assert time.monotonic() - before < QUICK.stop_max


async def test_child_dies_with_its_launcher(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tianlu_registry",
        f"--data-dir={tmp_path}/data",
        "--listen-client-urls=http://127.0.0.1:0",
        f"--run-file={tmp_path}/run.json",
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with asyncio.timeout(30):
        while not (tmp_path / "run.json").exists():
            await asyncio.sleep(0.02)
        (child,) = psutil.Process(process.pid).children()
        process.kill()
        await process.wait()
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            await asyncio.sleep(0.02)
