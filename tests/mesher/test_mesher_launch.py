"""Children that end, hang and refuse to stop; and the few HTTP requests of this host."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from mesher.lab.envoy_bench import until
from mesher.lab.upstreams import http_upstream

from tianlu_mesher.launch import child as child_module
from tianlu_mesher.launch.child import Child, ChildSpec
from tianlu_mesher.launch.process import _listener_port
from tianlu_mesher.local_http import _parse, ask

SLEEP = "import time; time.sleep(60)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); {SLEEP}"


async def answers() -> bool:
    return True


async def silent() -> bool:
    return False


def spec(code: str, **more: object) -> ChildSpec:
    given = {"probe": answers, **more}
    return ChildSpec("child", lambda: (sys.executable, "-c", code), **given)


async def test_a_child_that_ends_is_started_again() -> None:
    child = Child(spec("raise SystemExit(7)"))
    task = asyncio.create_task(child.run())
    await until(lambda: child.restarts >= 2)
    assert child.last_exit == 7
    await child.stop()
    await asyncio.wait_for(task, 5)


async def test_a_child_that_hangs_is_killed_and_started_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child_module, "_PROBE_INTERVAL_SECONDS", 0.02)
    child = Child(spec(SLEEP, probe=silent, stuck_seconds=0.1))
    task = asyncio.create_task(child.run())
    await until(lambda: child.restarts >= 1)
    assert child.last_exit == -9
    await child.stop()
    await asyncio.wait_for(task, 5)


async def test_a_stop_while_the_child_is_being_started_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spawn = asyncio.create_subprocess_exec

    async def stop_meanwhile(*arguments: str, **more: object) -> asyncio.subprocess.Process:
        made = await spawn(*arguments, **more)
        await child.stop()  # there is no process yet, as far as it can see
        return made

    monkeypatch.setattr(asyncio, "create_subprocess_exec", stop_meanwhile)
    child = Child(spec(SLEEP))
    await asyncio.wait_for(child.run(), 10)
    assert child.pid is None


async def test_a_child_that_cannot_be_started_now_is_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spawn, refusals = asyncio.create_subprocess_exec, [BlockingIOError("no more processes")]

    async def refuse_first(*arguments: str, **more: object) -> asyncio.subprocess.Process:
        if refusals:
            raise refusals.pop()
        return await spawn(*arguments, **more)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse_first)
    child = Child(spec(SLEEP))
    task = asyncio.create_task(child.run())
    await until(lambda: child.pid is not None)
    assert (child.restarts, child.last_exit) == (1, child_module.EXIT_NOT_STARTED)
    await child.stop()
    await asyncio.wait_for(task, 5)


async def test_a_child_that_will_not_stop_is_killed(tmp_path: Path) -> None:
    ready = tmp_path / "ready"
    code = DEAF.replace("print('up')", f"open({str(ready)!r}, 'w')")
    child = Child(spec(code, stop_seconds=0.2))
    task = asyncio.create_task(child.run())
    await until(ready.exists)
    await child.stop()
    await asyncio.wait_for(task, 5)
    assert child.pid is None
    assert child.last_exit == -9


async def test_requests_of_this_host_answer_or_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.sock"
    async with http_upstream("x", unix=path):
        answer = await ask("/status/503", unix_socket=str(path))
        assert answer.status == 503
        assert b'"name": "x"' in answer.content
    assert (await ask("/", unix_socket=str(path))).status == 0
    assert (await ask("/", address=("127.0.0.1", 1))).status == 0


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "status", "content"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\nabc", 200, b"abc"),
        (
            CHUNKED + b"3\r\nabc\r\n2;x=1\r\nde\r\n0\r\n\r\n",
            200,
            b"abcde",
        ),
        (b"", 0, b""),
        (b"nonsense", 0, b""),
        (b"HTTP/1.1 abc\r\n\r\n", 0, b""),
    ],
)
def test_answers_are_read_as_they_come(raw: bytes, status: int, content: bytes) -> None:
    assert _parse(raw) == (status, content)


@pytest.mark.parametrize("content", [b"", b"{}", b'{"listener_statuses": [{}]}', b"\xff"])
def test_no_port_is_found_where_none_is(content: bytes) -> None:
    assert _listener_port(content) == 0
