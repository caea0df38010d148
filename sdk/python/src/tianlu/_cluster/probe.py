"""Gathers what the doctor judges: surveys, hashes, and what members say over plain HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Final

import httpx

from tianlu._cluster.model import Answer, Survey
from tianlu._cluster.node import HASH_KV, Nodes
from tianlu._cluster.report import HashAnswer, Probe, Report
from tianlu._cluster.survey import survey
from tianlu._credentials import tls_context
from tianlu._endpoint import Endpoint, parse_endpoints
from tianlu._errors import TianluError
from tianlu._proto.etcd import rpc_pb2 as etcd

SECOND_LOOK_SECONDS: Final = 2.0
"""Between two surveys of a cluster without a leader: longer than an election at default timing, and
long enough to see a term rise."""

PAGE_BYTES_MAX: Final = 4 * 1024 * 1024


async def examine(nodes: Nodes, endpoints: Sequence[Endpoint]) -> Report:
    """Ask all that can be reached. Takes a second look if the first finds no agreed leader."""
    first = await survey(nodes, endpoints)
    newest = first
    if first.members and not _agreed(first):
        await asyncio.sleep(SECOND_LOOK_SECONDS)
        newest = await survey(nodes, endpoints)
    answers = [view.answer for view in newest.members if view.answer and view.status]
    revision = min((a.status.revision for a in answers if a.status), default=0)
    verify = tls_context(nodes.credentials)
    async with httpx.AsyncClient(
        timeout=nodes.timeout_seconds, trust_env=False, verify=verify
    ) as http:
        probes = await asyncio.gather(*(_probe(nodes, http, one, revision) for one in answers))
    by_id = {a.status.member: probe for a, probe in zip(answers, probes, strict=True) if a.status}
    return Report(newest, first, MappingProxyType(by_id))


def _agreed(found: Survey) -> bool:
    """Whether everybody that answered follows one leader."""
    leaders = {view.status.leader for view in found.members if view.status is not None}
    return len(leaders) == 1 and "" not in leaders


async def _probe(nodes: Nodes, http: httpx.AsyncClient, answer: Answer, revision: int) -> Probe:
    (endpoint,) = parse_endpoints([answer.endpoint])
    hashed, page = await asyncio.gather(
        _hash(nodes, endpoint, revision), _pages(http, endpoint, nodes.credentials.server_name)
    )
    return replace(page, hash=hashed)


async def _hash(nodes: Nodes, endpoint: Endpoint, revision: int) -> HashAnswer | None:
    """Ask for the hash at a revision that all members have; None if it is not answered, as by
    learners, or by members that have compacted further."""
    try:
        found = await nodes.call(endpoint, HASH_KV, etcd.HashKVRequest(revision=revision))
    except TianluError:
        return None
    return HashAnswer(found.hash, revision, found.compact_revision)


async def _pages(http: httpx.AsyncClient, endpoint: Endpoint, server_name: str) -> Probe:
    """Read /readyz and /metrics. What is not there, or is not HTTP, is left unknown."""
    if endpoint.target.startswith("unix:"):
        return Probe()
    base = f"{'https' if endpoint.tls else 'http'}://{endpoint.target}"
    named = {"sni_hostname": server_name} if server_name else {}
    try:
        ready = await http.get(f"{base}/readyz", params={"verbose": ""}, extensions=named)
        asked = time.time()
        metrics = await http.get(f"{base}/metrics", extensions=named)
        answered = time.time()
    except httpx.HTTPError:
        return Probe()
    text = metrics.text[:PAGE_BYTES_MAX] if metrics.is_success else ""
    return Probe(
        unready=failed_checks(ready.text)
        if ready.status_code == httpx.codes.SERVICE_UNAVAILABLE
        else (),
        sync_seconds=percentile(text, "etcd_disk_wal_fsync_duration_seconds", 0.99),
        commit_seconds=percentile(text, "etcd_disk_backend_commit_duration_seconds", 0.99),
        clock_ahead_seconds=clock_ahead(metrics.headers.get("date"), (asked + answered) / 2),
    )


def failed_checks(page: str) -> tuple[str, ...]:
    """Return the lines of a /readyz page that speak of failure."""
    return tuple(line.removeprefix("[-]") for line in page.splitlines() if line.startswith("[-]"))


def percentile(metrics: str, name: str, share: float) -> float | None:
    """Return the bucket's upper bound, in seconds, under which `share` of a histogram lies.

    Returns:
        None if there is no such histogram or it is empty; infinity beyond the last bucket.
    """
    buckets: list[tuple[float, float]] = []
    for line in metrics.splitlines():
        if line.startswith(f'{name}_bucket{{le="'):
            bound, _, count = line[len(name) + 12 :].partition('"} ')
            buckets.append((float(bound), float(count)))
    total = max((count for _, count in buckets), default=0.0)
    if not total:
        return None
    return min(bound for bound, count in buckets if count >= share * total)


def clock_ahead(date: str | None, now_unix_seconds: float) -> float | None:
    """Return how far a clock is ahead of ours by its HTTP date, which is cut to whole seconds."""
    if not date:
        return None
    try:
        theirs = parsedate_to_datetime(date).timestamp()
    except ValueError:
        return None
    return theirs + 0.5 - now_unix_seconds
