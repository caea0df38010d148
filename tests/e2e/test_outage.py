"""Killing things does not hurt callers."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from e2e.load import EvenLoad
from e2e.parts import Part, Parts, parts
from e2e.platform_process import wait_until
from e2e.services import http_process
from e2e.writer import AcknowledgedWriter

import tianlu

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    with parts(tmp_path_factory.mktemp("parts")) as made:
        yield made


@contextlib.contextmanager
def registered(running: Parts, service: str) -> Iterator[Callable[[], None]]:
    """Register a service process through a client of its own; gives the SIGKILL of both.

    The client's channel is what the registry watches, so it runs in a process too.
    """
    with http_process(service) as (port, process):
        holder = _hold_registration(running.endpoint, service, port)
        with holder as kill_holder:

            def kill() -> None:
                process.kill()
                kill_holder()

            yield kill


@contextlib.contextmanager
def _hold_registration(endpoint: str, service: str, port: int) -> Iterator[Callable[[], None]]:
    code = (
        "import sys, tianlu, time\n"
        "client = tianlu.Client(sys.argv[1])\n"
        "made = client.register(sys.argv[2], port=int(sys.argv[3]), address='127.0.0.1')\n"
        "print(made.instance.id, flush=True)\n"
        "time.sleep(3600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, endpoint, service, str(port)],
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline().strip()
        try:
            yield holder.kill
        finally:
            holder.kill()


def names(client: tianlu.Client, service: str) -> set[str]:
    return {instance.id for instance in client.list_instances(service).items}


def test_sigkill_of_an_instance_fails_no_request_that_may_be_retried(running: Parts) -> None:
    gateway, mesher = running.gateway.address(), running.mesher.address()
    with contextlib.ExitStack() as stack:
        kills = [stack.enter_context(registered(running, "victim")) for _ in range(3)]
        url = f"{gateway}/s/default/victim/"
        wait_until("victim serves", lambda: httpx.get(url).is_success)
        through_gateway = stack.enter_context(EvenLoad(url, rate=50))
        through_mesher = stack.enter_context(
            EvenLoad("http://victim.default/", rate=50, proxy=mesher)
        )
        loads = (through_gateway, through_mesher)
        wait_until("load flows", lambda: all(len(load.outcomes) > 50 for load in loads))
        killed = time.monotonic()
        kills[0]()
        wait_until("4 s of load after the kill", lambda: time.monotonic() > killed + 4)
    for load in loads:
        assert len(load.outcomes) > 200
        assert load.failures() == []


def test_a_killed_instance_turns_suspect_and_then_leaves(running: Parts) -> None:
    with (
        tianlu.Client(running.endpoint) as client,
        registered(running, "brief") as kill,
        registered(running, "brief"),
    ):
        wait_until("both are listed", lambda: len(names(client, "brief")) == 2)
        kill()
        wait_until(
            "one is suspect",
            lambda: [i.suspect for i in client.list_instances("brief").items].count(True) == 1,
            seconds=2,
        )
        wait_until("it has left", lambda: len(names(client, "brief")) == 1, seconds=30)


def test_callers_keep_working_while_the_registry_is_gone(running: Parts) -> None:
    gateway, mesher = running.gateway.address(), running.mesher.address()
    url = f"{gateway}/s/default/durable/"
    with (
        registered(running, "durable"),
        registered(running, "durable"),
        tianlu.Client(running.endpoint) as client,
    ):
        client.subscribe("durable")
        wait_until("durable serves", lambda: httpx.get(url).is_success)
        before = names(client, "durable")
        picks = _PickLoop(client, "durable")
        with EvenLoad(url, rate=50) as first:
            running.registry.kill()
            wait_until("load after the kill", lambda: len(first.outcomes) > 100)
        assert first.failures() == []

        for agent in (running.gateway, running.mesher):
            agent.kill()
            agent.start()
        for agent in (running.gateway, running.mesher):
            agent.wait_serving()
        gateway, mesher = running.gateway.address(), running.mesher.address()
        assert httpx.get(f"{gateway}/s/default/durable/").is_success
        assert httpx.get("http://durable.default/", proxy=mesher, trust_env=False).is_success

        with EvenLoad(f"{gateway}/s/default/durable/", rate=50) as second:
            running.registry.start()
            running.registry.wait_serving()
            wait_until(
                "everything registered is there again",
                lambda: _listed(client, "durable") == before,
                seconds=20,
            )
            wait_until("load after the return", lambda: len(second.outcomes) > 100)
        assert second.failures() == []
        picks.stop()
        assert picks.count > 100
        assert picks.errors == []


def _listed(client: tianlu.Client, service: str) -> set[str]:
    try:
        return names(client, service)
    except tianlu.TianluError:
        return set()


class _PickLoop:
    """Picks an instance again and again in a thread, as a caller would."""

    def __init__(self, client: tianlu.Client, service: str) -> None:
        self.count = 0
        self.errors: list[str] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(client, service), daemon=True)
        self._thread.start()

    def _run(self, client: tianlu.Client, service: str) -> None:
        while not self._stop.wait(0.005):
            try:
                client.pick(service)
            except tianlu.TianluError as error:
                self.errors.append(repr(error))
            self.count += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


def test_write_loop_survives_fifty_kills(tmp_path: Path) -> None:
    """Every acknowledged write is there after SIGKILL at 50 random moments."""
    socket = tmp_path / "r.sock"
    registry = Part(tmp_path / "registry", "registry", "--listen-client-urls", f"unix:{socket}")
    writer = AcknowledgedWriter(f"unix:{socket}")
    try:
        for round_number in range(50):
            registry.wait_serving()
            writer.write_until_broken(registry.kill, seed=round_number)
            registry.start()
        registry.wait_serving()
        assert len(writer.acknowledged) > 500
        assert writer.missing() == []
    finally:
        registry.stop()
