"""What an application does with etcd3-py (JSON gateway, models): one printed line a step.

Usage: with_etcd3py.py ENDPOINT
"""

from __future__ import annotations

import sys
from typing import Any

from conversation import failure, patiently, say
from etcd3 import Client
from etcd3.models import RangeRequestSortOrder, RangeRequestSortTarget


def connected() -> Client:
    """Return a client; it asks for the server's version first, with 0.3 s of patience."""
    host, _, port = sys.argv[1].partition(":")
    return patiently(Client, host, int(port), timeout=30)


def shown(kvs: Any) -> list[str]:
    return [
        f"{kv.key.decode()}={(kv.value or b'').decode()}"
        f"({kv.create_revision},{kv.mod_revision},{kv.version})"
        for kv in kvs or ()
    ]


def keys(client: Client) -> None:
    for key in ("kv/a", "kv/b", "kv/c"):
        say("kv.put", client.put(key, key).header.revision)
    say("kv.previous", shown([client.put("kv/b", "again", prev_kv=True).prev_kv]))
    newest = client.range(
        "kv/",
        prefix=True,
        limit=2,
        sort_order=RangeRequestSortOrder.DESCEND,
        sort_target=RangeRequestSortTarget.MOD,
    )
    say("kv.newest", newest.count, newest.more, shown(newest.kvs))
    say("kv.old", shown(client.range("kv/b", revision=3).kvs))
    say("kv.count", client.range(all=True, count_only=True).count)
    say("kv.future", failure(client.range, "kv/a", revision=1000))
    say("kv.empty key", failure(client.put, "", "x"))
    say("kv.unknown lease", failure(client.put, "kv/a", "x", lease=12345))
    deleted = client.delete_range("kv/", prefix=True, prev_kv=True)
    say("kv.delete", deleted.deleted, shown(deleted.prev_kvs))
    client.compact(4)
    say("kv.compacted", failure(client.range, "kv/a", revision=3))


def transactions(client: Client) -> None:
    client.put("txn/a", "1")
    for value in ("1", "2"):
        txn = client.Txn()
        txn.If(txn.key("txn/a").value == value)
        txn.Then(txn.put("txn/b", value))
        txn.Then(txn.range("txn/a"))
        txn.Else(txn.delete("txn/b"))
        done = txn.commit()
        say("txn.compare", bool(done.succeeded), done.header.revision, len(done.responses))


def watches(client: Client) -> None:
    begin = client.put("watch/a", "0").header.revision
    with client.Watcher(key="watch/", prefix=True, start_revision=begin + 1, prev_kv=True) as watch:
        for value in "123":
            client.put("watch/a", value)
        client.delete_range("watch/a")
        for _, event in zip(range(4), watch, strict=False):
            say("watch.event", event.type.value, event.key, event.value, event.prev_kv.value)


def leases(client: Client) -> None:
    with client.Lease(600) as lease:
        client.put("lease/a", "1", lease=lease.ID)
        left = client.lease_time_to_live(lease.ID, keys=True)
        say("lease.left", left.grantedTTL, left.TTL > 500, list(left.keys))
        say("lease.keep alive", lease.keepalive_once().TTL, lease.alive())
    say("lease.revoked", shown(client.range("lease/a").kvs))
    say("lease.revoke again", failure(client.lease_revoke, lease.ID))


def locks(client: Client) -> None:
    with client.Lock("a", lock_ttl=30) as held:
        say("lock.held", held.is_acquired, client.Lock("a").acquire(block=False))
    granted = client.lease_grant(30)
    served = client.lock("served", lease=granted.ID)
    say("lock.served", served.key.startswith(b"served/"))
    client.unlock(served.key)
    client.lease_revoke(granted.ID)


def authentication(client: Client) -> None:
    client.user_add("root", "rootpw")
    say("auth.enable too early", failure(client.auth_enable))
    client.role_add("root")
    client.user_grant_role("root", "root")
    client.user_add("ann", "annpw")
    say("auth.user twice", failure(client.user_add, "ann", "x"))
    client.role_add("reader")
    client.role_grant_permission("reader", "auth/", prefix=True)
    client.user_grant_role("ann", "reader")
    permission = client.role_get("reader").perm[0]
    say("auth.permission", permission.permType, permission.key, permission.range_end)
    say("auth.users", client.user_list().users, client.user_get("ann").roles)
    client.put("auth/a", "1")
    client.auth_enable()
    say("auth.nobody", failure(client.range, "auth/a"))
    say("auth.wrong password", failure(client.auth, "ann", "wrong"))
    ann = connected()
    ann.auth("ann", "annpw")
    say("auth.read", shown(ann.range("auth/a").kvs))
    say("auth.denied", failure(ann.put, "auth/a", "2"), failure(ann.user_add, "eve", "x"))
    client.auth("root", "rootpw")
    client.user_change_password("ann", "new")
    say("auth.old token", failure(ann.range, "auth/a"))
    say("auth.old password", failure(ann.auth))
    ann.auth("ann", "new")
    say("auth.token refreshed", shown(ann.range("auth/a").kvs))
    client.user_revoke_role("ann", "reader")
    client.role_delete("reader")
    client.user_delete("ann")
    client.auth_disable()


def main() -> None:
    client = connected()
    for part in (keys, transactions, watches, leases, locks, authentication):
        part(client)
    print("end", flush=True)


main()
