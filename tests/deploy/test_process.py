"""Parts as real processes: restarted when they die or hang, stopped in time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tianlu_standalone import process as process_module
from tianlu_standalone.logs import PartLog
from tianlu_standalone.parts import Part, Probe
from tianlu_standalone.process import PartProcess, PartState

SERVER = """
import http.server, json, os, sys, pathlib, signal, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if pathlib.Path(sys.argv[2]).exists(): time.sleep(60)
        ready = not pathlib.Path(sys.argv[2]).with_name("not-ready").exists()
        self.send_response(200 if ready else 503); self.end_headers()
    def log_message(self, *a): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
path = pathlib.Path(sys.argv[1])
path.with_suffix(".t").write_text(json.dumps(
    {"addresses": {"http": f"http://127.0.0.1:{server.server_port}"}}))
path.with_suffix(".t").replace(path)
print("serving", os.getpid(), flush=True)
server.serve_forever()
"""


class Harness:
    """One part with what it said."""

    def __init__(self, part: Part, directory: Path) -> None:
        self.said: list[str] = []
        self._changed = asyncio.Event()
        self.process = PartProcess(
            part, PartLog(directory / "part.log"), self.said.append, self._changed.set
        )
        self.task = asyncio.create_task(self.process.run())

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():
                self._changed.clear()
                if condition():
                    return
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._changed.wait(), 0.1)

    async def stop(self) -> None:
        await self.process.stop()
        await self.task


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Callable[[Part], Harness]]:
    started: list[Harness] = []

    def begin(part: Part) -> Harness:
        started.append(Harness(part, tmp_path))
        return started[-1]

    yield begin
    for harness in started:
        await harness.stop()


def server_part(tmp_path: Path, **changes: object) -> Part:
    run_file = tmp_path / "run.json"
    return Part(
        "server",
        (sys.executable, "-c", SERVER, str(run_file), str(tmp_path / "hang")),
        run_file=run_file,
        probe=Probe("/"),
        **changes,  # type: ignore[arg-type]
    )


async def test_serves_once_its_probe_answers(
    tmp_path: Path, start: Callable[[Part], Harness]
) -> None:
    harness = start(server_part(tmp_path))
    await harness.until(lambda: harness.process.state is PartState.SERVING)
    assert harness.process.addresses["http"].startswith("http://127.0.0.1:")


async def test_a_killed_part_is_started_again_and_said_so(
    tmp_path: Path, start: Callable[[Part], Harness]
) -> None:
    harness = start(server_part(tmp_path))
    await harness.until(lambda: harness.process.state is PartState.SERVING)
    first = harness.process.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    await harness.until(lambda: harness.process.restarts == 1)
    await harness.until(lambda: harness.process.state is PartState.SERVING)
    assert harness.process.pid != first
    assert "server ended (killed by SIGKILL), starting it again in 0.2 s" in harness.said[0]


async def test_a_part_that_hangs_is_killed_and_started_again(
    tmp_path: Path, start: Callable[[Part], Harness], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "PROBE_TIMEOUT_SECONDS", 0.3)
    harness = start(server_part(tmp_path, stuck_seconds=1.5))
    await harness.until(lambda: harness.process.state is PartState.SERVING)
    (tmp_path / "hang").touch()
    await harness.until(lambda: any("stopped answering" in line for line in harness.said))
    (tmp_path / "hang").unlink()
    await harness.until(lambda: harness.process.restarts == 1)
    await harness.until(lambda: harness.process.state is PartState.SERVING)


async def test_a_part_that_says_it_is_not_ready_is_left_alone(
    tmp_path: Path, start: Callable[[Part], Harness], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_module, "PROBE_INTERVAL_SECONDS", 0.1)
    harness = start(server_part(tmp_path, stuck_seconds=0.2))
    await harness.until(lambda: harness.process.state is PartState.SERVING)
    (tmp_path / "not-ready").touch()
    await harness.until(lambda: harness.process.state is PartState.NOT_READY)
    probes = 0

    async def count(probe: Probe, addresses: dict[str, object]) -> process_module.Answer:
        nonlocal probes
        probes += 1
        return await ask(probe, addresses)

    ask = process_module.ask
    monkeypatch.setattr(process_module, "ask", count)
    await harness.until(lambda: probes > 5)
    assert harness.process.restarts == 0
    (tmp_path / "not-ready").unlink()
    await harness.until(lambda: harness.process.state is PartState.SERVING)


REASON = "print('tianlu liar: no room'); print('WARNING last'); raise SystemExit(3)"


async def test_last_words_tell_why_a_part_died(
    tmp_path: Path, start: Callable[[Part], Harness]
) -> None:
    harness = start(Part("liar", (sys.executable, "-c", REASON)))
    await harness.until(lambda: bool(harness.said))
    assert "liar ended (exit code 3)" in harness.said[0]
    assert "its last words: tianlu liar: no room" in harness.said[0]


async def test_a_part_that_ignores_sigterm_is_killed_in_time(
    tmp_path: Path, start: Callable[[Part], Harness]
) -> None:
    code = (
        "import signal,time; signal.signal(15, signal.SIG_IGN); print(1, flush=True)\n"
        "while 1: time.sleep(9)"
    )
    harness = start(Part("stubborn", (sys.executable, "-c", code), stop_seconds=0.3))
    log = tmp_path / "part.log"
    await harness.until(lambda: log.read_text() != "")
    await harness.stop()
    assert harness.said == ["stubborn did not stop within 0 s: killed"]
    assert harness.process.state is PartState.STOPPED


async def test_stopping_does_not_wait_for_a_backoff(
    tmp_path: Path, start: Callable[[Part], Harness], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tianlu_standalone.restart.FIRST_DELAY_SECONDS", 3600.0)
    monkeypatch.setattr("tianlu_standalone.restart.DELAY_SECONDS_MAX", 3600.0)
    harness = start(Part("brief", (sys.executable, "-c", "")))
    await harness.until(lambda: harness.process.state is PartState.WAITING)
    async with asyncio.timeout(5):
        await harness.stop()


async def test_a_stop_while_the_part_is_being_started_ends_it(
    start: Callable[[Part], Harness], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn = asyncio.create_subprocess_exec

    async def stop_meanwhile(*arguments: str, **more: object) -> asyncio.subprocess.Process:
        made = await spawn(*arguments, **more)
        await harness.process.stop()  # there is no process yet, as far as it can see
        return made

    monkeypatch.setattr(asyncio, "create_subprocess_exec", stop_meanwhile)
    harness = start(Part("sleeper", (sys.executable, "-c", "import time; time.sleep(600)")))
    async with asyncio.timeout(10):
        await harness.task
    assert harness.process.state is PartState.STOPPED
    assert harness.process.pid is None


async def test_a_part_that_cannot_be_started_now_is_tried_again(
    start: Callable[[Part], Harness], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spawn, refusals = asyncio.create_subprocess_exec, [BlockingIOError("no more processes")]

    async def refuse_first(*arguments: str, **more: object) -> asyncio.subprocess.Process:
        if refusals:
            raise refusals.pop()
        return await spawn(*arguments, **more)

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refuse_first)
    harness = start(server_part(tmp_path))
    await harness.until(lambda: harness.process.state is PartState.SERVING)
    assert harness.process.restarts == 1
    assert "cannot be started: no more processes" in harness.said[0]


async def test_children_die_with_their_supervisor(tmp_path: Path) -> None:
    """SIGKILL of the supervisor leaves nothing behind."""
    code = f"""
import asyncio, pathlib, sys
from tianlu_standalone.logs import PartLog
from tianlu_standalone.parts import Part
from tianlu_standalone.process import PartProcess
async def main():
    part = Part("child", (sys.executable, "-c", "import time; time.sleep(600)"))
    process = PartProcess(part, PartLog(pathlib.Path({str(tmp_path / "l")!r})), print,
                          lambda: process.pid and print(process.pid, flush=True))
    await process.run()
asyncio.run(main())
"""
    supervisor = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE
    )
    assert supervisor.stdout is not None
    child = int(await supervisor.stdout.readline())
    supervisor.kill()
    await supervisor.communicate()
    async with asyncio.timeout(10):
        while _alive(child):
            await asyncio.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_log_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tianlu_standalone.logs.LOG_BYTES_MAX", 1000)
    log = PartLog(tmp_path / "x.log")
    for _ in range(300):
        log.write(b"0123456789\n")
    log.close()
    assert (tmp_path / "x.log").stat().st_size <= 1000
    assert (tmp_path / "x.log.1").stat().st_size <= 1000
    assert json.dumps(sorted(path.name for path in tmp_path.iterdir())) == '["x.log", "x.log.1"]'


def test_a_log_that_could_not_be_moved_on_goes_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tianlu_standalone.logs.LOG_BYTES_MAX", 10)
    path = tmp_path / "part.log"
    log = PartLog(path)
    log.write(b"12345678\n")
    open_ = Path.open
    monkeypatch.setattr(Path, "open", _no_descriptors)
    log.write(b"lost\n")
    monkeypatch.setattr(Path, "open", open_)
    log.write(b"back\n")
    log.close()
    assert path.read_bytes() == b"back\n"
    assert path.with_suffix(".log.1").read_bytes() == b"12345678\n"


def _no_descriptors(*_: object, **__: object) -> None:
    raise OSError(24, "Too many open files")
