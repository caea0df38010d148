"""The synchronous client: made from the asynchronous one, and really working."""

from __future__ import annotations

import inspect
import signal
import subprocess
import sys
import threading
import time

import pytest
from sdk_registry import RegistryProcess

import tianlu
from tianlu._portal import Portal


@pytest.mark.parametrize("name", ["Client", "Mirror", "Registration", "Kv"])
def test_faces_have_the_same_methods_and_arguments(name: str):
    source, face = getattr(tianlu, f"Async{name}"), getattr(tianlu, name)
    internal = (
        {"abandon", "bind_loop", "is_same_as", "put", "removal", "session_id"}
        if name != "Kv"
        else set()
    )
    for method in (one for one in dir(source) if not one.startswith("_")):
        if method in internal:
            assert not hasattr(face, method)
            continue
        if isinstance(getattr(source, method), property):
            continue
        wanted = inspect.signature(getattr(source, method)).parameters
        assert list(inspect.signature(getattr(face, method)).parameters) == list(wanted)


def test_whole_life(shared_registry: RegistryProcess):
    with tianlu.Client(shared_registry.endpoint) as client:
        registration = client.register("plain", port=9000)
        client.subscribe("plain")
        assert client.pick("plain") == registration.instance
        assert client.discover("plain").instances == (registration.instance,)
        with client.mirror() as mirror:
            assert ("default", "plain") in mirror.view.services
            assert next(mirror.changes()).revision >= registration.revision
        for change in client.watch("plain"):
            assert change.instance == registration.instance
            break
        assert registration.update(weight=3).weight == 3
        assert client.kv.put("plain", "1") > 0
        registration.deregister(drain_seconds=0)
        assert client.status().registered == ()
    with pytest.raises(tianlu.ClientClosed):
        client.discover("plain")
    client.close()


def test_threads_share_a_client(shared_registry: RegistryProcess):
    with tianlu.Client(shared_registry.endpoint) as client:
        client.register("shared", port=9000)
        client.subscribe("shared")
        picked: list[str] = []

        def pick_some() -> None:
            picked.extend(client.pick("shared").id for _ in range(500))
            client.list_instances("shared")

        threads = [threading.Thread(target=pick_some) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(picked) == 2000


def test_forgotten_client_deregisters_when_the_program_ends(shared_registry: RegistryProcess):
    script = (
        "import sys, tianlu\n"
        "client = tianlu.Client(sys.argv[1])\n"
        "client.register('forgotten', port=9000)\n"
    )
    subprocess.run([sys.executable, "-c", script, shared_registry.endpoint], check=True)
    with tianlu.Client(shared_registry.endpoint) as client, pytest.raises(tianlu.NotFound):
        client.discover("forgotten")


DRAINING = """
import asyncio, signal, sys, tianlu
async def main():
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(stopped.set))
    async with tianlu.AsyncClient(sys.argv[1]) as client:
        await client.register("drained", port=9000)
        client.drain_on_signals(drain_seconds=0.5)
        print("ready", flush=True)
        await stopped.wait()
        print("registered:", client.status().registered, flush=True)
asyncio.run(main())
"""

DRAINING_PLAINLY = """
import signal, sys, time, tianlu
client = tianlu.Client(sys.argv[1])
client.register("drained", port=9000)
client.drain_on_signals(drain_seconds=0.5)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("script", "status", "last"),
    [(DRAINING, 0, "registered: ()\n"), (DRAINING_PLAINLY, -signal.SIGTERM, "")],
    ids=["asynchronous", "synchronous"],
)
def test_sigterm_drains_first_and_then_does_what_it_did(
    shared_registry: RegistryProcess, script: str, status: int, last: str
):
    process = subprocess.Popen(
        [sys.executable, "-c", script, shared_registry.endpoint], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    with tianlu.Client(shared_registry.endpoint) as client:
        seen = []
        following = iter(client.watch("drained"))
        next(following)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        for change in following:
            assert change.instance is not None
            seen.append((change.kind.value, change.instance.status.value))
            if change.kind == "removed":
                break
        assert seen == [("put", "draining"), ("removed", "draining")]
        assert time.monotonic() - began >= 0.5
    assert process.wait(10) == status
    assert process.stdout.read() == last
    process.stdout.close()


def test_portal_passes_errors_on_and_refuses_its_own_thread():
    portal = Portal()

    async def fail() -> None:
        raise ValueError("told")

    async def inside() -> None:
        async def nothing() -> None:
            pass

        portal.run(nothing())

    with pytest.raises(ValueError, match="told"):
        portal.run(fail())
    with pytest.raises(RuntimeError, match="own event loop"):
        portal.run(inside())
    portal.stop()
    portal.stop()
    with pytest.raises(tianlu.ClientClosed):
        portal.run(fail())
