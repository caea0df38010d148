"""Hundreds of kills: whatever was acknowledged is there at the end, at the revision answered.

Writers put keys that nobody else uses, one after the other, so that nothing ever hides a loss.
Members are killed with SIGKILL about every second: the leader every other time, all of them at once
now and then, and the next before the last one is whole again.
"""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from cluster.client import CallFailed, Client
from cluster.histories import now
from cluster.members import Cluster
from cluster.netns import Network
from cluster.proof import Verdict
from cluster.systems import System
from cluster.watches import prefix_end

from tianlu._proto.etcd import rpc_pb2

WRITERS = 4
_PREFIX = "kills/"
_PAGE = 5_000
_PAUSE_SECONDS = 0.003
_ALL_AT_ONCE = 0.05
_PROGRESS_KILLS = 25


class Writer(threading.Thread):
    """Puts one new key after the other at any member.

    Attributes:
        acknowledged: revision by key.
        asked: all keys that were ever sent.
    """

    def __init__(self, number: int, addresses: Sequence[str]) -> None:
        super().__init__(daemon=True)
        self.number = number
        self.acknowledged: dict[str, int] = {}
        self.asked = 0
        self.failures: Counter[str] = Counter()
        self._clients = [Client(address, 1.0) for address in addresses]
        self._stopped = threading.Event()

    def run(self) -> None:
        home = self.number
        while not self._stopped.wait(_PAUSE_SECONDS):
            key = f"{_PREFIX}{self.number}/{self.asked:07}"
            self.asked += 1
            try:
                revision = self._clients[home % len(self._clients)].put(key, key).revision
            except CallFailed as error:
                self.failures[f"{error.code.name}: {error.text[:60]}"] += 1
                home += 1
                self._stopped.wait(0.02)
            else:
                self.acknowledged[key] = revision

    def stop(self) -> None:
        self._stopped.set()
        self.join(20)
        for client in self._clients:
            client.close()


def prove(
    system: System, directory: Path, kills: int, seed: int, say: Callable[[str], None]
) -> Verdict:
    """Kill members `kills` times under load and count what is missing afterwards."""
    with (
        Network(3) as network,
        Cluster(system, network, directory, snapshot_count=2_000) as cluster,
    ):
        return prove_on(cluster, kills, random.Random(seed), say)


def prove_on(
    cluster: Cluster, kills: int, draw: random.Random, say: Callable[[str], None]
) -> Verdict:
    """The same on a cluster that is there and healthy."""
    writers = [Writer(number, cluster.addresses()) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    verdict = Verdict()
    try:
        _kill(cluster, kills, draw, verdict, say)
        cluster.revive()
        cluster.wait_healthy()
    except TimeoutError as error:
        verdict.violations.append(f"not well again: {error}")
    finally:
        for writer in writers:
            writer.stop()
            verdict.failures.update(writer.failures)
    if not verdict.violations:
        _compare(cluster, writers, verdict)
    return verdict


def _kill(
    cluster: Cluster,
    kills: int,
    draw: random.Random,
    verdict: Verdict,
    say: Callable[[str], None],
) -> None:
    said = 0
    while verdict.counts["kills"] < kills:
        leader = cluster.leader()
        victims = [draw.choice(sorted(cluster.members))]
        if leader is not None and draw.random() < 0.5:
            victims = [leader]
        if draw.random() < _ALL_AT_ONCE:
            victims = sorted(cluster.members)
        for victim in victims:
            if cluster.members[victim].processes is not None:
                cluster.kill(victim)
                verdict.counts["kills"] += 1
                verdict.counts["kills of the leader"] += victim == leader
        _sleep(draw.uniform(0.0, 0.5))
        for victim in victims:
            cluster.start(victim)
        # Half of the time the next is killed while this one is still starting.
        if draw.random() < 0.5:
            _sleep(draw.uniform(0.0, 1.0))
        else:
            cluster.wait_healthy()
        if verdict.counts["kills"] - said >= _PROGRESS_KILLS:
            said = verdict.counts["kills"]
            say(f"{said} kills")


def _sleep(seconds: float) -> None:
    threading.Event().wait(seconds)


def _compare(cluster: Cluster, writers: Sequence[Writer], verdict: Verdict) -> None:
    """Compare what every member holds with what was acknowledged."""
    acknowledged = {key: at for writer in writers for key, at in writer.acknowledged.items()}
    began = now()
    for number in sorted(cluster.members):
        held = _all(cluster, number)
        lost = [key for key in acknowledged if key not in held]
        moved = [key for key, at in acknowledged.items() if held.get(key, at) != at]
        if lost or moved:
            name = cluster.members[number].name
            verdict.violations.append(
                f"{name} lost {len(lost)} acknowledged writes {lost[:5]}, and has"
                f" {len(moved)} at another revision {moved[:5]}"
            )
        verdict.counts["keys held"] = len(held)
    verdict.counts["acknowledged writes"] = len(acknowledged)
    verdict.counts["writes"] = sum(writer.asked for writer in writers)
    verdict.counts["seconds of comparing"] = round(now() - began)


def _all(cluster: Cluster, number: int) -> dict[str, int]:
    """Return the revisions of all keys as one member has them, once it is up to date."""
    held: dict[str, int] = {}
    client, first = cluster.client(number), _PREFIX.encode()
    revision = client.get(_PREFIX).revision
    while True:
        request = rpc_pb2.RangeRequest(
            key=first, range_end=prefix_end(_PREFIX), limit=_PAGE, revision=revision
        )
        response = client.call("KV/Range", request, 30)
        held.update((pair.key.decode(), pair.mod_revision) for pair in response.kvs)
        if not response.more:
            return held
        first = response.kvs[-1].key + b"\0"
