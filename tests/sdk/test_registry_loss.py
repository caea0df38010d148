"""The registry is killed, restarted, wiped; instances are killed. What callers then see."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sdk_registry import RegistryProcess

import tianlu
from tianlu import Rung

Until = Callable[..., Awaitable[None]]

OWNER = """
import sys, time, tianlu
client = tianlu.Client(sys.argv[1], ttl_seconds=2)
client.register("mortal", port=9000, id="owned")
print("ready", flush=True)
time.sleep(600)
"""


async def test_killed_owner_turns_suspect_then_goes(
    shared_registry: RegistryProcess, client: tianlu.AsyncClient, until: Until
):
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, shared_registry.endpoint], stdout=subprocess.PIPE
    )
    try:
        assert owner.stdout is not None
        assert await asyncio.to_thread(owner.stdout.readline) == b"ready\n"
        await client.register("mortal", port=9001, id="ours")
        await client.subscribe("mortal")
        await until(
            lambda: {client.pick("mortal").id for _ in range(20)} == {"owned", "ours"}, "both"
        )
        seen = []

        async def follow() -> None:
            async for change in client.watch("mortal"):
                if change.instance_id == "owned":
                    assert change.instance is not None
                    seen.append((change.kind.value, change.instance.suspect))

        following = asyncio.create_task(follow())
        await until(lambda: seen, "the watch has begun")
        owner.send_signal(signal.SIGKILL)
        await until(lambda: seen[-1] == ("put", True), "suspect")
        await until(lambda: {client.pick("mortal").id for _ in range(20)} == {"ours"}, "left out")
        await until(lambda: seen[-1][0] == "removed", "removed with the lease")
        following.cancel()
    finally:
        owner.kill()
        owner.communicate()


async def test_restarted_owner_takes_its_own_place_at_once(shared_registry: RegistryProcess):
    first = subprocess.Popen(
        [sys.executable, "-c", OWNER.replace("mortal", "reborn"), shared_registry.endpoint],
        stdout=subprocess.PIPE,
    )
    try:
        assert first.stdout is not None
        assert await asyncio.to_thread(first.stdout.readline) == b"ready\n"
        first.send_signal(signal.SIGKILL)
        async with tianlu.AsyncClient(shared_registry.endpoint) as second:
            registration = await second.register("reborn", port=9000, id="owned")
            assert registration.instance.serving
    finally:
        first.kill()
        first.communicate()


async def test_registry_killed_and_restarted_no_pick_fails_and_nothing_is_lost(
    own_registry: RegistryProcess, until: Until
):
    changes: list[tianlu.Change] = []
    async with (
        tianlu.AsyncClient(own_registry.endpoint, ttl_seconds=2) as owner,
        tianlu.AsyncClient(own_registry.endpoint) as caller,
    ):
        registration = await owner.register("lasting", port=9000)
        await caller.subscribe("lasting")

        async def follow() -> None:
            async for change in caller.watch("lasting"):
                changes.append(change)  # noqa: PERF401 - each as it comes

        following = asyncio.create_task(follow())
        await until(lambda: changes, "the watch has begun")
        picking = asyncio.create_task(_pick_for_ever(caller, "lasting"))

        await asyncio.to_thread(own_registry.kill)
        await until(lambda: caller.status().degraded, "degraded")
        found = await caller.discover("lasting")
        assert (found.rung, found.instances) == (Rung.PROCESS, (registration.instance,))
        await until(lambda: caller.status().age_seconds > 0, "the view ages")
        # Longer than the lease: only a registry may say that an instance is gone.
        await asyncio.sleep(2.5)

        await asyncio.to_thread(own_registry.start)
        await until(lambda: owner.status().session == "held", "the session goes on")
        await until(lambda: not caller.status().degraded, "degraded mode is left")
        assert owner.status().session_id == registration.session_id
        again = await caller.discover("lasting", min_revision=registration.revision + 0)
        assert [one.id for one in again.instances] == [registration.instance.id]
        later = await registration.update(weight=5)
        await until(lambda: caller.pick("lasting") == later, "changes flow again")

        assert not picking.done(), picking.exception()
        picking.cancel()
        following.cancel()
    assert [change.kind for change in changes if change.kind == "removed"] == []


async def test_deregistered_while_the_registry_is_away_is_gone_when_it_is_back(
    own_registry: RegistryProcess, until: Until
):
    async with (
        tianlu.AsyncClient(own_registry.endpoint, timeout_seconds=1) as owner,
        tianlu.AsyncClient(own_registry.endpoint, timeout_seconds=20) as caller,
    ):
        leaving = await owner.register("left", port=9000, id="leaving")
        await owner.register("left", port=9001, id="staying")
        await asyncio.to_thread(own_registry.kill)
        await leaving.deregister(drain_seconds=0)
        with pytest.raises(tianlu.Unavailable):
            await owner.register("left", port=9000, id="leaving")
        await asyncio.to_thread(own_registry.start)

        async def ids() -> list[str]:
            return [one.id for one in (await caller.list_instances("left")).items]

        async def left() -> bool:
            return await ids() == ["staying"]

        await until(left, "the instance is gone, the client still open")
        assert owner.status().session_id == leaving.session_id or leaving.session_id == 0
        again = await caller.register("left", port=9000, id="leaving")
        assert again.instance.serving
        assert await ids() == ["leaving", "staying"]


async def test_wiped_registry_empties_no_list_and_owners_register_again(
    own_registry: RegistryProcess, until: Until
):
    async with (
        tianlu.AsyncClient(own_registry.endpoint) as owner,
        tianlu.AsyncClient(own_registry.endpoint) as caller,
    ):
        for _ in range(5):
            await owner.kv.put("filler", "x")
        registration = await owner.register("wiped", port=9000)
        gone = await caller.register("wiped", port=9001)
        await caller.subscribe("wiped")
        await until(lambda: len({caller.pick("wiped").id for _ in range(20)}) == 2, "both")
        picking = asyncio.create_task(_pick_for_ever(caller, "wiped"))

        await asyncio.to_thread(own_registry.kill)
        shutil.rmtree(own_registry.directory / "data")
        await asyncio.to_thread(own_registry.start)

        old_session = registration.session_id
        await until(
            lambda: owner.status().session_id not in (0, old_session) and registration.session_id,
            "a new session",
        )
        await until(lambda: registration.session_id == owner.status().session_id, "registered")
        assert registration.instance.id in owner.status().registered
        assert gone.instance.id in caller.status().registered
        await until(lambda: not caller.status().degraded, "nothing is retained any more")
        assert len({caller.pick("wiped").id for _ in range(20)}) == 2
        assert not picking.done(), picking.exception()
        picking.cancel()


async def test_snapshot_serves_while_no_registry_is_there(
    own_registry: RegistryProcess, tmp_path: Path, until: Until
):
    snapshots = tmp_path / "snapshot"
    async with tianlu.AsyncClient(own_registry.endpoint, snapshot_dir=snapshots) as writer:
        await writer.register("stored", port=9000, id="one")
        async with writer.mirror():

            def written() -> bool:
                view = tianlu.HostSnapshot(snapshots).view()
                return view is not None and ("default", "stored") in view.services

            await until(written, "the snapshot is written")
        own_registry.kill()

    async with tianlu.AsyncClient(
        own_registry.endpoint, snapshot_dir=snapshots, timeout_seconds=3
    ) as reader:
        found = await reader.discover("stored")
        assert (found.rung, [one.id for one in found.instances]) == (Rung.SNAPSHOT, ["one"])
        await reader.subscribe("stored")
        assert reader.pick("stored").id == "one"
        assert reader.status().degraded
        with pytest.raises(tianlu.Unavailable):
            await reader.discover("stored", min_revision=found.revision + 1)
        async with reader.mirror() as mirror:
            assert mirror.view.rung is Rung.SNAPSHOT
            assert mirror.view.age_seconds > 0
            assert mirror.degraded

            await asyncio.to_thread(own_registry.start)
            await until(lambda: mirror.view.rung is Rung.PROCESS, "the watch is taken up")
            assert mirror.degraded == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
async def test_child_of_a_fork_is_told_to_make_its_own(shared_registry: RegistryProcess):
    script = """
import os, sys, threading, tianlu
client = tianlu.Client(sys.argv[1])
client.register("forked", port=9000)
client.subscribe("forked")
for _ in range(10):
    child = os.fork()
    if child == 0:
        threading.Thread(target=str).start()
        def anew():
            tianlu.Client(sys.argv[1]).discover("forked")
        for call in (lambda: client.pick("forked"), lambda: client.discover("forked"), anew):
            try:
                call()
            except tianlu.ClientClosed as error:
                assert "fork" in str(error), error
            else:
                os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
assert client.discover("forked").instances
client.close()
"""
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-W", "ignore", "-c", script, shared_registry.endpoint],
        capture_output=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


async def _pick_for_ever(client: tianlu.AsyncClient, service: str) -> None:
    while True:
        client.pick(service)
        await asyncio.sleep(0.005)
