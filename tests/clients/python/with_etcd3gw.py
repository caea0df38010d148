"""What an application does with etcd3gw (JSON gateway, of OpenStack): one printed line a step.

Usage: with_etcd3gw.py ENDPOINT TLS_ENDPOINT CERTIFICATES
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from conversation import ask, failure, patiently, say
from etcd3gw.client import Etcd3Client


def connected(endpoint: str, **options: Any) -> Etcd3Client:
    host, _, port = endpoint.partition(":")
    return Etcd3Client(host, int(port), timeout=30, **options)


def keys(client: Etcd3Client) -> None:
    for key in ("kv/a", "kv/b", "kv/c"):
        say("kv.put", client.put(key, key))
    say("kv.create", client.create("kv/a", "x"), client.create("kv/d", "x"))
    say("kv.replace", client.replace("kv/d", "x", "y"), client.replace("kv/d", "x", "z"))
    say("kv.get", client.get("kv/b"), client.get("kv/none"))
    say("kv.metadata", client.get("kv/d", metadata=True))
    newest = client.get_prefix("kv/", sort_order="descend", sort_target="mod")
    say("kv.newest", [kv["key"].decode() for _, kv in newest])
    options = {"limit": 1, "serializable": True, "min_mod_revision": 3}
    say("kv.range", client.get("kv/a", range_end="kv/d", **options))
    say("kv.all", len(client.get_all()))
    say("kv.delete", client.delete("kv/d"), client.delete("kv/d"))
    say("kv.delete prefix", client.delete_prefix("kv/"))
    say("kv.empty key", failure(client.put, "", "x"))
    say("kv.future", failure(client.get, "kv/a", revision=1000))


def watches(client: Etcd3Client) -> None:
    begin = int(client.status()["header"]["revision"])
    events, cancel = client.watch_prefix("watch/", start_revision=begin + 1, prev_kv=True)
    for value in "12345":
        client.put("watch/a", value)
    client.delete("watch/a")
    for _ in range(6):
        event = next(events)
        kv = event["kv"]
        say("watch.event", event.get("type"), kv["key"], kv.get("value"), kv["mod_revision"])
    cancel()
    past, cancel = client.watch_prefix("watch/", start_revision=begin + 1)
    say("watch.history", [next(past)["kv"]["mod_revision"] for _ in range(6)])
    cancel()


def leases(client: Etcd3Client) -> None:
    lease = client.lease(600)
    client.put("lease/a", "1", lease=lease)
    say("lease.left", lease.ttl() > 500, lease.keys(), lease.refresh())
    say("lease.revoked", lease.revoke(), client.get("lease/a"), lease.ttl(), lease.refresh())
    say("lease.revoke again", failure(lease.revoke))
    gone, cancel = client.watch("lease/ends", filters=["NOPUT"])
    client.put("lease/ends", "1", lease=client.lease(2))
    say("lease.expired", next(gone)["type"])
    cancel()


def locks(client: Etcd3Client) -> None:
    held, wanted = client.lock("a", ttl=30), client.lock("a", ttl=30)
    say("lock.held", held.acquire(), held.is_acquired(), wanted.acquire())
    say("lock.refreshed", held.refresh(), held.release(), wanted.acquire(), wanted.release())


def limits(client: Etcd3Client) -> None:
    say("limits.value", type(failure(client.put, "limits/large", "x" * ((3 << 19) + 1))).__name__)
    client.put("limits/fits", "x" * ((3 << 19) - 512))
    say("limits.read", len(client.get("limits/fits")[0]))


def reconnection(client: Etcd3Client) -> None:
    client.put("reconnect/a", "before")
    seen = int(client.status()["header"]["revision"])
    ask("restart")
    ask("etcdctl", "put", "reconnect/a", "1")
    say("reconnect.reads", patiently(client.get, "reconnect/a"))
    events, cancel = client.watch("reconnect/a", start_revision=seen + 1)
    say("reconnect.missed nothing", next(events)["kv"]["value"])
    cancel()


def tls(endpoint: str, certificates: Path) -> None:
    """Over JSON etcd refuses certificates with a common name: users log in, and send a token."""
    authority = {"ca_cert": str(certificates / "ca.crt")}
    mine = {
        "cert_key": str(certificates / "nameless.key"),
        "cert_cert": str(certificates / "nameless.crt"),
    }
    ann = connected(endpoint, protocol="https", **authority, **mine)
    login = {"name": "ann", "password": "annpw"}
    token = ann.post(ann.get_url("/auth/authenticate"), json=login)["token"]
    ann.session.headers["Authorization"] = token
    say("tls.by password", ann.put("shop/a", "1"), ann.get("shop/a"))
    say("tls.denied", failure(ann.put, "other", "1"))
    stranger = connected(endpoint, protocol="https", **authority)
    say("tls.no certificate", isinstance(failure(stranger.get, "shop/a"), Exception))


def main() -> None:
    client = connected(sys.argv[1])
    for part in (keys, watches, leases, locks, limits, reconnection):
        part(client)
    tls(sys.argv[2], Path(sys.argv[3]))
    print("end", flush=True)


main()
