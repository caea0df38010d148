"""What an application does with aetcd (asyncio, gRPC): one printed line a step.

Usage: with_aetcd.py ENDPOINT
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable
from typing import Any

import aetcd
from conversation import PATIENCE_SECONDS, ask, say


def connected(**options: Any) -> aetcd.Client:
    host, _, port = sys.argv[1].partition(":")
    return aetcd.Client(host, int(port), timeout=30, **options)


def shown(kv: Any) -> str:
    if kv is None:
        return "none"
    revisions = f"({kv.create_revision},{kv.mod_revision},{kv.version})"
    return f"{kv.key.decode()}={kv.value.decode()}{revisions}"


async def failure(step: Awaitable[Any]) -> Any:
    """Return what a step that has to fail said."""
    try:
        await step
    except Exception as error:  # noqa: BLE001
        return error
    return "no error"


async def keys(client: aetcd.Client) -> None:
    for key in (b"kv/a", b"kv/b", b"kv/c"):
        say("kv.put", (await client.put(key, key)).header.revision)
    say("kv.previous", shown((await client.put(b"kv/b", b"again", prev_kv=True)).prev_kv))
    say("kv.get", shown(await client.get(b"kv/b")), shown(await client.get(b"kv/none")))
    newest = await client.get_prefix(b"kv/", sort_order="descend", sort_target="mod")
    say("kv.newest", newest.count, [shown(kv) for kv in newest])
    say("kv.replace", await client.replace(b"kv/a", b"kv/a", b"x"))
    say("kv.delete", shown((await client.delete(b"kv/a", prev_kv=True)).prev_kv))
    say("kv.delete prefix", (await client.delete_prefix(b"kv/")).deleted)
    say("kv.empty key", await failure(client.put(b"", b"x")))
    await client.compact(3)
    say("kv.compact again", await failure(client.compact(2)))


async def transactions(client: aetcd.Client) -> None:
    await client.put(b"txn/a", b"1")
    at = client.transactions
    for compare in (at.value(b"txn/a") == b"1", at.mod(b"txn/a") > 1000):
        done, answers = await client.transaction(
            compare=[compare], success=[at.put(b"txn/b", b"x")], failure=[at.get(b"txn/a")]
        )
        say("txn.compare", done, len(answers))
    twice = [at.put(b"txn/c", b"1"), at.put(b"txn/c", b"2")]
    say("txn.twice", await failure(client.transaction(compare=[], success=twice, failure=[])))


async def watches(client: aetcd.Client) -> None:
    begin = (await client.put(b"watch/a", b"0")).header.revision
    watch = await client.watch_prefix(b"watch/", start_revision=begin + 1)
    await client.put(b"watch/a", b"1")
    await client.put(b"watch/b", b"2")
    await client.delete(b"watch/a")
    say("watch.events", await received(watch, 3))
    await watch.cancel()
    deletes = await client.watch(b"watch/a", start_revision=begin, kind=aetcd.EventKind.DELETE)
    say("watch.only deletes", await received(deletes, 1))
    await deletes.cancel()


async def received(watch: Any, count: int) -> list[str]:
    events: list[str] = []
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for event in watch:
            events.append(f"{event.kind} {shown(event.kv)}")
            if len(events) == count:
                break
    return events


async def leases(client: aetcd.Client) -> None:
    lease = await client.lease(600)
    await client.put(b"lease/a", b"1", lease=lease)
    left = await lease.remaining_ttl()
    say("lease.left", await lease.granted_ttl(), left > 500, list(await lease.keys()))
    say("lease.keep alive", (await lease.refresh()).TTL)
    await lease.revoke()
    say("lease.revoked", shown(await client.get(b"lease/a")), await failure(lease.revoke()))
    gone = await client.watch(b"lease/ends", kind=aetcd.EventKind.DELETE)
    await client.put(b"lease/ends", b"1", lease=await client.lease(2))
    say("lease.expired", len(await received(gone, 1)))
    await gone.cancel()


async def locks(client: aetcd.Client) -> None:
    held, wanted = client.lock(b"lock/a", 30), client.lock(b"lock/a", 30)
    say("lock.held", await held.acquire(), await held.is_acquired(), await wanted.acquire(0))
    waiting = asyncio.create_task(wanted.acquire(30))
    say("lock.released", await held.release())
    say("lock.handed over", await waiting, await wanted.is_acquired(), await wanted.release())


async def limits(client: aetcd.Client) -> None:
    say("limits.value", await failure(client.put(b"limits/large", b"x" * ((3 << 19) + 1))))
    await client.put(b"limits/fits", b"x" * ((3 << 19) - 512))
    say("limits.read", len((await client.get(b"limits/fits")).value))


async def reconnection(client: aetcd.Client) -> None:
    """The client tells of a broken watch; its user watches again from what it saw last."""
    seen = (await client.put(b"reconnect/a", b"before")).header.revision
    watch = await client.watch_prefix(b"reconnect/", start_revision=seen)
    say("reconnect.before", await received(watch, 1))
    await asyncio.to_thread(ask, "restart")
    for value in ("1", "2", "3"):
        await asyncio.to_thread(ask, "etcdctl", "put", "reconnect/a", value)
    say("reconnect.told", isinstance(await failure(received(watch, 1)), aetcd.ClientError))
    async with connected() as fresh:
        again = await fresh.watch_prefix(b"reconnect/", start_revision=seen + 1)
        say("reconnect.missed nothing", await received(again, 3))
    say("reconnect.writes", (await client.put(b"reconnect/b", b"after")).header.revision)


SHOP = (
    "user add root:rootpw",
    "user grant-role root root",
    "role add shop",
    "role grant-permission shop readwrite shop/ --prefix",
    "user add ann:annpw",
    "user grant-role ann shop",
    "auth enable",
)


async def authentication(client: aetcd.Client) -> None:
    for command in SHOP:
        ask("etcdctl", *command.split())
    say("auth.nobody", await failure(client.get(b"shop/a")))
    async with connected(username="ann", password="annpw") as ann:
        await ann.put(b"shop/a", b"1")
        say("auth.read", shown(await ann.get(b"shop/a")), await failure(ann.get(b"other")))
        watch = await ann.watch(b"shop/a")
        await ann.put(b"shop/a", b"2")
        say("auth.watch", await received(watch, 1))
    say("auth.wrong password", await failure(connected(username="ann", password="x").connect()))
    ask("etcdctl", "--user=root:rootpw", "auth", "disable")


async def main() -> None:
    async with connected() as client:
        for part in (keys, transactions, watches, leases, locks, limits, reconnection):
            await part(client)
    async with connected() as client:
        await authentication(client)
    print("end", flush=True)


asyncio.run(main())
