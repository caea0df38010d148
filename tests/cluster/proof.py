"""One proof: load on a cluster while faults happen, then healing, then judgement of all that was.

The load is everything at once: registers, watches, leases and a lock. A proof has two phases. In
the first, safety is what counts: anything may fail, nothing may be wrong. Then everything is
healed, and every client must be answered again: a cluster that stays safe by staying silent fails.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cluster import leases, linearizability, locks, revisions, watches
from cluster.client import CallFailed
from cluster.histories import History, now
from cluster.leases import Tenant
from cluster.linearizability import Outcome
from cluster.load import Keys, Worker
from cluster.locks import Locker
from cluster.members import HEALTH_SECONDS, Cluster
from cluster.processes import wait_for
from cluster.revisions import Event
from cluster.watches import Watcher

from tianlu._proto.etcd import rpc_pb2

WORKERS, WATCHERS, TENANTS, LOCKERS = 6, 3, 2, 2
LEASES_GONE_SECONDS = 90.0
"""Until an abandoned key must be gone: a lease is of seconds, a slow machine adds the rest."""


@dataclass
class Verdict:
    """What a proof found.

    Attributes:
        violations: in words; none if all is well.
        counts: how much was judged.
    """

    violations: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        counts = ", ".join(f"{count} {what}" for what, count in self.counts.items())
        said = "\n".join(self.violations) if self.violations else "nothing wrong"
        return f"{counts}\n{said}"


class Load:
    """All clients of one proof. Use as a context manager.

    Args:
        prefix: of all keys that they use; no other client may use it.
        history: where the registers' operations go.
    """

    def __init__(
        self, addresses: Sequence[str], prefix: str, history: History, draw: random.Random
    ) -> None:
        def own() -> random.Random:
            return random.Random(draw.randrange(1 << 32))

        self.prefix = prefix
        self.history = history
        keys = Keys(f"{prefix}register/")
        self.workers = [Worker(n, addresses, keys, history, own()) for n in range(WORKERS)]
        patience = [(1.0, 5.0), (3.0, 9.0), (60.0, 600.0)]
        self.watchers = [Watcher(addresses, prefix, 1, own(), p) for p in patience[:WATCHERS]]
        self.tenants = [Tenant(addresses, f"{prefix}lease/{n}/", own()) for n in range(TENANTS)]
        self.lockers = [Locker(n, addresses, f"{prefix}locks/", own()) for n in range(LOCKERS)]

    def __enter__(self) -> Self:
        for thread in (*self.watchers, *self.workers, *self.tenants, *self.lockers):
            thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop_writing()
        for watcher in self.watchers:
            watcher.stopped.set()
        for watcher in self.watchers:
            watcher.stop()

    def stop_writing(self) -> None:
        writers = (*self.workers, *self.tenants, *self.lockers)
        for thread in writers:
            thread.stopped.set()  # all at once: each may take a call's time to end
        for thread in writers:
            thread.stop()

    def wait_all_answered(self, seconds: float = HEALTH_SECONDS) -> None:
        """Wait until every client has been answered anew.

        Raises:
            TimeoutError: somebody was not.
        """
        workers = [(worker, worker.answered + 3) for worker in self.workers]
        turns = sum(locker.turns for locker in self.lockers)
        renewals = self._renewals()
        wait_for("answers", lambda: all(w.answered >= least for w, least in workers), seconds)
        wait_for("the lock", lambda: sum(locker.turns for locker in self.lockers) > turns, seconds)
        wait_for("a lease's renewal", lambda: self._renewals() > renewals, seconds)

    def _renewals(self) -> int:
        return sum(life.renewals for tenant in self.tenants for life in tenant.tenancies)


@dataclass
class Run:
    """What a scenario works with while the load goes on.

    Attributes:
        until: the moment at which faults end.
        say: takes a line of progress.
    """

    cluster: Cluster
    draw: random.Random
    load: Load
    until: float
    say: Callable[[str], None]
    kills: int = 0

    def goes_on(self) -> bool:
        return now() < self.until

    def rest(self, least: float, most: float) -> None:
        """Let the load work for some seconds, though not past the end."""
        until = min(now() + self.draw.uniform(least, most), self.until)
        with contextlib.suppress(TimeoutError):
            wait_for("the rest's end", lambda: False, max(0.0, until - now()))

    def pick(self) -> int:
        """Return a running member: the leader half of the time."""
        leader = self.cluster.leader() if self.draw.random() < 0.5 else None
        return self.draw.choice(self.cluster.running()) if leader is None else leader

    def kill(self, number: int) -> None:
        self.kills += 1
        self.cluster.kill(number)


def prove(
    cluster: Cluster,
    faults: Callable[[Run], None],
    *,
    seconds: float,
    seed: int,
    history_file: Path | None = None,
    exits_allowed: bool = False,
    say: Callable[[str], None] = print,
) -> Verdict:
    """Run a scenario on a healthy cluster, heal it, and judge.

    Args:
        faults: the scenario.
        seconds: how long it lasts, healing not counted.
        seed: of all that is drawn.
        exits_allowed: whether members may end by themselves.
    """
    draw = random.Random(seed)
    prefix = f"proof/{seed}/"
    exits = cluster.exits()
    with History(history_file) as history:
        # Spare members are asked too: they are there for a part of the time.
        addresses = [cluster.network.address(n) for n in range(cluster.network.count)]
        verdict = Verdict()
        with Load(addresses, prefix, history, draw) as load:
            run = Run(cluster, draw, load, now() + seconds, say)
            load.wait_all_answered()
            try:
                faults(run)
                _heal(run)
                load.wait_all_answered()
                load.stop_writing()
                accounts = _accounts(run)
                verdict.violations += _other_hashes(cluster)
            except TimeoutError as error:
                verdict.violations.append(f"not well again: {error}")
                load.stop_writing()
            else:
                _judge(verdict, load, accounts)
            verdict.counts["kills"] = run.kills
            for worker in load.workers:
                verdict.failures.update(worker.failures)
    ended = {name: n - exits.get(name, 0) for name, n in cluster.exits().items()}
    if any(ended.values()) and not exits_allowed:
        verdict.violations.append(f"members ended by themselves: {ended}")
    return verdict


def _heal(run: Run) -> None:
    run.cluster.network.heal()
    run.cluster.revive()
    began = now()
    run.cluster.wait_healthy()
    run.say(f"healed in {now() - began:.1f} s")


def _accounts(run: Run) -> dict[int, list[Event]]:
    """Return every member's account of all changes, up to the last one."""
    load, cluster = run.load, run.cluster
    _wait_leases_gone(run)
    fence = cluster.ask_until_answered(lambda client: client.put(f"{load.prefix}end", "end"))
    for watcher in load.watchers:
        wait_for("watchers", lambda w=watcher: w.has_seen(fence.revision), HEALTH_SECONDS)
    return {
        number: watches.account(cluster.network.address(number), load.prefix, fence.revision)
        for number in cluster.running()
    }


def _other_hashes(cluster: Cluster) -> list[str]:
    """Return how members differ in the hash of their whole state, this proof's keys and others."""
    revision = cluster.ask_until_answered(lambda client: client.get("health")).revision
    request = rpc_pb2.HashKVRequest(revision=revision)
    hashes: dict[int, tuple[int, int]] = {}

    def ask() -> bool:
        for number in set(cluster.running()) - set(hashes):
            with contextlib.suppress(CallFailed):  # it may not have that revision yet
                answer = cluster.client(number).call("Maintenance/HashKV", request, 60)
                hashes[number] = (answer.hash, answer.compact_revision)
        return set(cluster.running()) <= set(hashes)

    wait_for("hashes", ask, HEALTH_SECONDS)
    if len(set(hashes.values())) == 1:
        return []
    return [f"hash and compact revision at revision {revision} differ: {hashes}"]


def _wait_leases_gone(run: Run) -> None:
    keys = [life.key for tenant in run.load.tenants for life in tenant.tenancies]

    def gone() -> bool:
        try:
            return all(
                run.cluster.client(min(run.cluster.members)).get(key).found is None for key in keys
            )
        except CallFailed:
            return False

    wait_for("abandoned leases to end", gone, LEASES_GONE_SECONDS)


def _judge(verdict: Verdict, load: Load, accounts: dict[int, list[Event]]) -> None:
    account = next(iter(accounts.values()))
    found = verdict.violations
    found += [
        f"members {next(iter(accounts))} and {number} differ: {_difference(account, other)}"
        for number, other in accounts.items()
        if other != account
    ]
    operations = load.history.operations
    linear = linearizability.judge(operations)
    if linear.outcome is not Outcome.LINEARIZABLE:
        found.append(str(linear))
    registers = [event for event in account if event.key.startswith(f"{load.prefix}register/")]
    found += revisions.judge(operations, registers)
    for watcher in load.watchers:
        found += watches.judge(watcher.revision, watcher.seen, account)
    lives = [life for tenant in load.tenants for life in tenant.tenancies]
    found += leases.judge(lives, [watcher.seen for watcher in load.watchers])
    found += locks.judge(account, f"{load.prefix}locks/")
    verdict.counts.update(
        {
            "operations answered": load.history.acknowledged(),
            "unknown": len(operations) - load.history.acknowledged(),
            "changes": len(account),
            "watch streams": sum(watcher.streams for watcher in load.watchers),
            "leases": len(lives),
            "renewals": sum(life.renewals for life in lives),
            "turns with the lock": sum(locker.turns for locker in load.lockers),
        }
    )


def _difference(one: Sequence[Event], other: Sequence[Event]) -> str:
    pairs = zip(one, other, strict=False)
    first = next((f"{a} here, {b} there" for a, b in pairs if a != b), "one ends before the other")
    return f"{len(one)} and {len(other)} changes; {first}"
