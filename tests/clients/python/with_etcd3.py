"""What an application does with python-etcd3 (synchronous, gRPC): one printed line a step.

Usage: with_etcd3.py ENDPOINT TLS_ENDPOINT CERTIFICATES
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import etcd3
from conversation import ask, failure, patiently, say


def connected(endpoint: str, **options: Any) -> etcd3.Etcd3Client:
    host, _, port = endpoint.partition(":")
    return etcd3.client(host, int(port), timeout=30, **options)


def shown(value: bytes, metadata: Any) -> str:
    kv = metadata
    return (
        f"{kv.key.decode()}={value.decode()}({kv.create_revision},{kv.mod_revision},{kv.version})"
    )


def keys(client: etcd3.Etcd3Client) -> None:
    for key in ("kv/a", "kv/b", "kv/c"):
        say("kv.put", client.put(key, key).header.revision)
    say("kv.previous", client.put("kv/b", "again", prev_kv=True).prev_kv.value)
    say("kv.get", shown(*client.get("kv/b")), client.get("kv/none"))
    newest = client.get_prefix("kv/", sort_order="descend", sort_target="mod")
    say("kv.newest", [shown(*each) for each in newest])
    say("kv.range", [shown(*each) for each in client.get_range("kv/a", "kv/c")])
    say("kv.create", client.put_if_not_exists("kv/a", "x"), client.put_if_not_exists("kv/d", "x"))
    say("kv.replace", client.replace("kv/d", "x", "y"), client.replace("kv/d", "x", "z"))
    say("kv.delete", client.delete("kv/d"), client.delete("kv/d"))
    say("kv.delete prefix", client.delete_prefix("kv/").deleted)
    say("kv.empty key", failure(client.put, "", "x"))
    client.compact(3)
    say("kv.compact again", failure(client.compact, 2))


def transactions(client: etcd3.Etcd3Client) -> None:
    client.put("txn/a", "1")
    at = client.transactions
    for compare in (at.value("txn/a") == "1", at.version("txn/a") > 1, at.create("txn/b") == 0):
        done, answers = client.transaction(
            compare=[compare],
            success=[at.put("txn/c", "x"), at.get("txn/a")],
            failure=[at.delete("txn/c")],
        )
        say("txn.compare", done, len(answers))
    twice = [at.put("txn/c", "1"), at.put("txn/c", "2")]
    say("txn.twice", failure(client.transaction, compare=[], success=twice, failure=[]))


def watches(client: etcd3.Etcd3Client) -> None:
    begin = client.put("watch/a", "0").header.revision
    events, cancel = client.watch_prefix("watch/", start_revision=begin + 1, prev_kv=True)
    client.put("watch/a", "1")
    client.put("watch/b", "2")
    client.delete("watch/a")
    for _ in range(3):
        event = next(events)
        say("watch.event", type(event).__name__, event.key, event.value, event.prev_value)
    cancel()
    client.compact(begin + 2)
    gone, _ = client.watch("watch/a", start_revision=begin)
    say("watch.compacted", failure(next, gone))


def leases(client: etcd3.Etcd3Client) -> None:
    lease = client.lease(600)
    client.put("lease/a", "1", lease=lease)
    say("lease.left", lease.granted_ttl, lease.remaining_ttl > 500, list(lease.keys))
    say("lease.keep alive", lease.refresh()[0].TTL)
    lease.revoke()
    say("lease.revoked", client.get("lease/a"), failure(lease.revoke))
    ends = client.lease(2)
    gone, cancel = client.watch("lease/ends")
    client.put("lease/ends", "1", lease=ends)
    say("lease.expired", [type(next(gone)).__name__ for _ in range(2)])
    cancel()


def locks(client: etcd3.Etcd3Client) -> None:
    """Nobody waits: with a tenacity of this decade, this client's waiting raises TypeError."""
    held, wanted = client.lock("a", ttl=30), client.lock("a", ttl=30)
    say("lock.held", held.acquire(), held.is_acquired(), wanted.is_acquired())
    say("lock.refreshed", held.refresh()[0].TTL, held.release(), held.release())
    say("lock.next", wanted.acquire(), wanted.is_acquired(), held.is_acquired(), wanted.release())


def limits(client: etcd3.Etcd3Client) -> None:
    say("limits.value", failure(client.put, "limits/large", "x" * ((3 << 19) + 1)))
    client.put("limits/fits", "x" * ((3 << 19) - 512))
    say("limits.read", len(client.get("limits/fits")[0]))


def reconnection(client: etcd3.Etcd3Client) -> None:
    """The client tells of a broken watch; its user watches again from what it saw last."""
    seen = client.put("reconnect/a", "before").header.revision
    events, _ = client.watch_prefix("reconnect/", start_revision=seen)
    say("reconnect.before", next(events).value)
    ask("restart")
    for value in ("1", "2", "3"):
        ask("etcdctl", "put", "reconnect/a", value)
    say("reconnect.told", type(failure(next, events)).__name__)
    events, cancel = patiently(client.watch_prefix, "reconnect/", start_revision=seen + 1)
    say("reconnect.missed nothing", [next(events).value.decode() for _ in range(3)])
    cancel()
    say("reconnect.writes", client.put("reconnect/b", "after").header.revision)


def tls(endpoint: str, certificates: Path) -> None:
    mine = {
        "ca_cert": str(certificates / "ca.crt"),
        "cert_key": str(certificates / "ann.key"),
        "cert_cert": str(certificates / "ann.crt"),
    }
    ann = connected(endpoint, **mine)
    ann.put("shop/a", "1")
    say("tls.by common name", ann.get("shop/a")[0], failure(ann.put, "other", "1"))
    named = connected(endpoint, **mine, user="ann", password="annpw")
    say("tls.by password", named.get("shop/a")[0], failure(named.put, "other", "1"))
    say("tls.wrong password", failure(connected, endpoint, **mine, user="ann", password="x"))
    stranger = connected(endpoint, ca_cert=mine["ca_cert"])
    say("tls.no certificate", isinstance(failure(stranger.get, "shop/a"), Exception))


def main() -> None:
    client = connected(sys.argv[1])
    for part in (keys, transactions, watches, leases, locks, limits, reconnection):
        part(client)
    tls(sys.argv[2], Path(sys.argv[3]))
    print("end", flush=True)


main()
