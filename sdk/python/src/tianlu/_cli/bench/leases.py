"""The lease benchmark: grants, renewals, and how late leases end."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from tianlu._cli.bench.endings import GRANT, EndingTask
from tianlu._cli.bench.http2 import grpc_message
from tianlu._cli.bench.operations import Call
from tianlu._cli.bench.phases import Result, phase, run_calls
from tianlu._cli.bench.runs import FOREVER_SECONDS, Setting, ground, spread
from tianlu._cli.bench.stream_tasks import KeepAliveTask
from tianlu._cli.bench.tasks import load_tasks
from tianlu._errors import Conflict
from tianlu._proto.etcd import rpc_pb2 as etcd

REVOKE: Final = "/etcdserverpb.Lease/LeaseRevoke"
_CALL_CONNECTIONS_MAX: Final = 8
_CALL_STREAMS: Final = 16
_ID_STEP: Final = 1 << 32
"""Ids of one run are those from a random multiple of this on: no two runs meet."""


@dataclass(frozen=True, slots=True)
class LeasePlan:
    """Leases kept alive.

    Attributes:
        leases: how many.
        connections, streams: over how many connections, with how many keep-alive streams each.
        at_once: renewals on a stream that have no answer yet.
        ttl_seconds: asked for; long enough that none ends while the others are granted.
        total: how many renewals at most; None for no bound.
        expiring: how many leases, with a key each, are left to end at the end; 0 for none.
    """

    leases: int
    connections: int
    streams: int
    at_once: int
    ttl_seconds: int
    seconds: float
    total: int | None
    expiring: int


@dataclass(frozen=True, slots=True)
class LeaseResults:
    """What was measured.

    Attributes:
        grants: calls of LeaseGrant.
        renewals: on streams of LeaseKeepAlive.
        endings: how much later than due the keys of leases were deleted; None if not asked for.
    """

    grants: Result
    renewals: Result
    endings: Result | None


@dataclass(frozen=True, slots=True)
class Leases:
    """Numbered leases.

    Attributes:
        first: id of the first.
    """

    first: int
    count: int
    ttl_seconds: int

    @property
    def ids(self) -> range:
        return range(self.first, self.first + self.count)


@dataclass(frozen=True, slots=True)
class Granting:
    """The calls that grant leases."""

    leases: Leases

    def calls(self, worker: int, workers: int) -> Iterator[Call]:
        """Yield the calls of one of several workers."""
        for lease in self.leases.ids[worker::workers]:
            request = etcd.LeaseGrantRequest(ID=lease, TTL=self.leases.ttl_seconds)
            yield Call(GRANT, grpc_message(request.SerializeToString()), "grant")


@dataclass(frozen=True, slots=True)
class Revoking:
    """The calls that revoke leases."""

    leases: Leases

    def calls(self, worker: int, workers: int) -> Iterator[Call]:
        """Yield the calls of one of several workers."""
        for lease in self.leases.ids[worker::workers]:
            request = etcd.LeaseRevokeRequest(ID=lease)
            yield Call(REVOKE, grpc_message(request.SerializeToString()), "revoke")


def run_leases(setting: Setting, plan: LeasePlan) -> LeaseResults:
    """Grant leases, keep them alive, let some end, and revoke the rest.

    Raises:
        TianluError: it cannot be done.
    """
    leases = Leases(secrets.randbelow(1 << 30) * _ID_STEP + 1, plan.leases, plan.ttl_seconds)
    with ground(setting) as taken, _granted(setting, plan, leases) as grants:
        if grants.interrupted:
            raise KeyboardInterrupt
        if grants.tally.done < plan.leases:
            reason = next(iter(grants.tally.errors), "the server did not answer")
            raise Conflict(f"the leases could not be granted: {reason}")
        renewals = _renew(setting, plan, leases)
        endings = None
        if plan.expiring and not renewals.interrupted:
            endings = _let_end(setting, plan, leases, taken.prefix)
        return LeaseResults(grants, renewals, endings)


@contextmanager
def _granted(setting: Setting, plan: LeasePlan, leases: Leases) -> Iterator[Result]:
    """Grant the leases, and revoke them at the end unless they shall stay."""
    try:
        yield _calls(setting, plan, Granting(leases), "granting leases")
    finally:
        if not setting.keep:
            _calls(setting, plan, Revoking(leases), "revoking leases")


def _calls(setting: Setting, plan: LeasePlan, calls: Granting | Revoking, title: str) -> Result:
    tasks = load_tasks(
        setting.targets,
        calls,
        processes=setting.processes,
        connections=min(plan.connections, _CALL_CONNECTIONS_MAX),
        streams=_CALL_STREAMS,
        seconds=FOREVER_SECONDS,
    )
    with phase(setting.watcher, title, total=calls.leases.count, seconds=None, unit="leases"):
        return run_calls(tasks, setting.meter, setting.watcher)


def _renew(setting: Setting, plan: LeasePlan, leases: Leases) -> Result:
    workers = min(setting.processes, plan.connections)
    targets = spread(setting.targets, plan.connections)
    tasks = [
        KeepAliveTask(
            targets=targets[worker::workers],
            leases=leases.ids[worker::workers],
            streams=plan.streams,
            at_once=plan.at_once,
            ttl_seconds=plan.ttl_seconds,
            seconds=plan.seconds,
            count=None if plan.total is None else len(range(worker, plan.total, workers)),
            grace_seconds=setting.targets[0].timeout_seconds,
        )
        for worker in range(workers)
    ]
    with phase(
        setting.watcher, "renewing", total=plan.total, seconds=plan.seconds, unit="renewals"
    ):
        return run_calls(tasks, setting.meter, setting.watcher)


def _let_end(setting: Setting, plan: LeasePlan, leases: Leases, prefix: bytes) -> Result:
    first = leases.first + leases.count
    task = EndingTask(setting.targets[0], prefix + b"ending/", first, plan.expiring)
    watcher = setting.watcher
    with phase(watcher, "waiting for ends", total=plan.expiring, seconds=None, unit="leases"):
        return run_calls([task], setting.meter, watcher)
