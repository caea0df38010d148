"""etcdctl's commands that go on: interactive ones, watches that run programs, mirrors, checks."""

from __future__ import annotations

import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from interop.interop_servers import ETCDCTL, Server, without_ids

SECONDS = 20.0


class Running:
    """A command of etcdctl that goes on, with its standard input open."""

    def __init__(self, server: Server, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [ETCDCTL, f"--endpoints={server.target}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def type(self, *lines: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write("".join(f"{line}\n" for line in lines))
        self._process.stdin.flush()

    def lines(self, count: int) -> list[str]:
        """Return the next lines of output."""
        assert self._process.stdout is not None
        return [self._process.stdout.readline().rstrip("\n") for _ in range(count)]

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str]:
        """Close its input; returns its status and the rest of its output."""
        rest, _ = self._process.communicate(timeout=SECONDS)
        return self._process.returncode, rest

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate(timeout=SECONDS)


@contextmanager
def running(server: Server, *arguments: str) -> Iterator[Running]:
    command = Running(server, *arguments)
    try:
        yield command
    finally:
        command.kill()


def same(servers: tuple[Server, Server], scenario: Callable[[Server], Any]) -> None:
    """Check that a scenario ends alike, but for ids and where revisions begin."""
    seen = [_relative(scenario(server), server) for server in servers]
    assert seen[1] == seen[0]
    assert seen[0]


def _relative(value: Any, server: Server) -> Any:
    if isinstance(value, list | tuple):
        return [_relative(each, server) for each in value]
    if not isinstance(value, str):
        return value
    at = server.base_revision
    return re.sub(r"\b\d+\b", lambda found: _distance(int(found[0]), at), without_ids(value))


def _distance(number: int, base: int) -> str:
    """Return a number that may be a revision of this scenario as its distance."""
    return f"+{number - base}" if base < number <= base + 50 else str(number)


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def test_same_interactive_transaction(servers: tuple[Server, Server]) -> None:
    def scenario(server: Server) -> Any:
        text = (
            'mod("st/a") > "0"\n\nput st/a "two words"\nget st/a\n\nput st/b 1\nget st/b --hex\n\n'
        )
        done = [server.etcdctl("txn", "--interactive", stdin=text) for _ in range(2)]
        return [each.comparable(server) for each in done]

    same(servers, scenario)


def test_same_interactive_watch(servers: tuple[Server, Server]) -> None:
    def scenario(server: Server) -> Any:
        start = f"--rev={server.base_revision + 1}"
        with running(server, "watch", "--interactive") as watching:
            watching.type(f"watch si/ --prefix --prev-kv {start}", "nonsense")
            said = watching.lines(1)
            server.etcdctl("put", "si/a", "1")
            server.etcdctl("put", "si/a", "2")
            server.etcdctl("del", "si/a")
            said += watching.lines(3 + 5 + 5)
            watching.type("progress")
            said += watching.lines(1)
            return said

    same(servers, scenario)


def test_same_watch_that_runs_a_program(servers: tuple[Server, Server]) -> None:
    shown = "$ETCD_WATCH_EVENT_TYPE $ETCD_WATCH_KEY $ETCD_WATCH_VALUE $ETCD_WATCH_REVISION"

    def scenario(server: Server) -> Any:
        start = f"--rev={server.base_revision + 1}"
        program = ["--", "sh", "-c", f"echo {shown}"]
        with running(server, "watch", "sx/a", start, *program) as watching:
            server.etcdctl("put", "sx/a", "1")
            server.etcdctl("del", "sx/a")
            # The event's own lines and the program's, whose order is etcdctl's to choose.
            return sorted(watching.lines(4 + 4))

    same(servers, scenario)


def test_same_kept_lease(servers: tuple[Server, Server]) -> None:
    def scenario(server: Server) -> Any:
        lease = server.etcdctl("lease", "grant", "3").output.split()[1]
        with running(server, "lease", "keep-alive", lease) as keeping:
            said = keeping.lines(2)
            server.etcdctl("lease", "revoke", lease)
            return said, keeping.end()

    same(servers, scenario)


def test_mirrors_both_ways(servers: tuple[Server, Server]) -> None:
    """Each server's keys are mirrored to the other, under another prefix, and go on to be."""
    for source, destination in (servers, servers[::-1]):
        prefix = f"sm/{source.name}/"
        for key in ("a", "b"):
            source.etcdctl("put", prefix + key, "1")
        flags = [f"--prefix={prefix}", f"--dest-prefix=mirrored/{source.name}/"]
        with running(source, "make-mirror", *flags, destination.target):
            wait_until(lambda to=destination, at=source: mirrored(to, at) == "a1b1", "the base")
            source.etcdctl("put", prefix + "c", "2")
            source.etcdctl("del", prefix + "a")
            wait_until(lambda to=destination, at=source: mirrored(to, at) == "b1c2", "updates")


def mirrored(destination: Server, source: Server) -> str:
    """Return the keys and values of a mirror, without what does not matter."""
    under = f"mirrored/{source.name}/"
    return destination.etcdctl("get", under, "--prefix").output.replace(under, "").replace("\n", "")


def test_checks_run(servers: tuple[Server, Server]) -> None:
    """`check perf` takes a minute, so only its beginning is seen: its keys arrive."""
    for server in servers:
        with running(server, "check", "perf", "--prefix=sp/") as checking:
            count = ["get", "sp/", "--prefix", "--count-only", "--write-out=fields"]
            wait_until(
                lambda to=server, words=count: '"Count" : 0' not in to.etcdctl(*words).output,
                "keys of the check",
            )
            checking.interrupt()
        server.etcdctl("del", "sp/", "--prefix")
