"""The order in which one Envoy is given its resources.

Theory. A request fails if a route leads to an Envoy cluster that Envoy does not have, or that has
no endpoints yet. One stream carries all types in order, but Envoy decides for itself when it asks
for endpoints and may refuse anything, so order of sending is not enough. At every moment:

    additions   clusters -> (Envoy asks for their endpoints) -> endpoints -> routes:
                new routes wait until Envoy has accepted every cluster that they lead to, and the
                endpoints of each
    removals    routes -> clusters: a cluster goes only after Envoy has accepted routes that do
                not use it, and a grace time for what is in flight

1. Each type has at most one response that waits for a verdict; whatever changes meanwhile is
   joined into the next one. So there is no queue, and a slow Envoy costs nothing.
2. A verdict that does not come within `ack_timeout_seconds` stops blocking (Envoy withholds it
   while a cluster is warming). Routes that wait for a cluster longer than that are sent all the
   same: one service that cannot be had must not hold back the others.
3. Endpoints are sent as soon as they change: no order constrains them. They are sent again after
   their cluster changed, because Envoy warms the new cluster with them.
4. A snapshot without a view (`loaded` is False) is given only to an Envoy that has nothing: an
   agent that has just started must not take anything away.

Source: "xDS REST and gRPC protocol", sections "Eventual consistency considerations" and
"Incremental xDS"; go-control-plane, pkg/cache/v3/order.go.
"""

from __future__ import annotations

from dataclasses import dataclass

from tianlu_mesher.resources.snapshot import (
    CLUSTER_TYPE,
    ENDPOINT_TYPE,
    RESOURCE_TYPES,
    ROUTE_TYPE,
    Resource,
    XdsSnapshot,
)
from tianlu_mesher.xds.ledger import Ledger, Verdict
from tianlu_mesher.xds.messages import DeltaRequest, DeltaResponse


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """Times, in seconds.

    Attributes:
        ack_timeout_seconds: how long a verdict, or a cluster that routes need, is waited for.
        removal_grace_seconds: how long a cluster stays after the last route to it has gone:
            requests that were routed before may still be retried on it.
    """

    ack_timeout_seconds: float = 5.0
    removal_grace_seconds: float = 5.0


DEFAULT_LIMITS = SessionLimits()


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now: send `responses` in order, and poll again at `wake_at` at the latest."""

    responses: tuple[DeltaResponse, ...]
    wake_at: float | None


class DeltaSession:
    """The account of one stream. Feed it with `offer` and `receive`, then send what `poll` says.

    Not safe for several threads; no method waits.
    """

    def __init__(self, limits: SessionLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._ledgers = {each: Ledger(each) for each in RESOURCE_TYPES}
        self._desired: XdsSnapshot | None = None
        self._nonce = 0
        self._unused_since: dict[str, float] = {}
        self._routes_wait_since: float | None = None

    def offer(self, snapshot: XdsSnapshot) -> None:
        """Make `snapshot` what Envoy shall have. It must be consistent."""
        if self._desired is not None and self._desired.loaded and not snapshot.loaded:
            return
        self._desired = snapshot

    def receive(self, request: DeltaRequest) -> Verdict | None:
        """Take a request from Envoy; return its verdict if it carries one.

        A type that we do not serve is ignored: Envoy waits for it in vain, as the protocol wants.
        """
        ledger = self._ledgers.get(request.type_url)
        if ledger is None:
            return None
        verdict = ledger.take_verdict(request)
        ledger.take_subscriptions(request)
        return verdict

    def poll(self, now: float) -> Step:
        """Return what to send at `now` (monotonic seconds)."""
        desired = self._desired
        if desired is None or not self._may_have(desired):
            return Step((), None)
        self._note_unused(desired, now)
        responses = [
            response
            for step in (self._clusters, self._endpoints, self._routes)
            if (response := step(desired, now)) is not None
        ]
        return Step(tuple(responses), self._wake_at(desired, now))

    @property
    def settled_revision(self) -> int | None:
        """The catalogue revision that is wholly in effect; None if the newest one is not yet.

        Clusters that wait for their removal do not count: nothing leads to them.
        """
        desired = self._desired
        if desired is None or not desired.loaded:
            return None
        # Envoy never asks for endpoints while it has no cluster.
        opened = self._ledgers[CLUSTER_TYPE].opened and self._ledgers[ROUTE_TYPE].opened
        done = opened and all(self._holds(each, desired) for each in self._ledgers.values())
        return desired.revision if done else None

    @property
    def refused(self) -> tuple[tuple[str, str], ...]:
        """Type and name of every resource whose newest version Envoy refuses."""
        if self._desired is None:
            return ()
        return tuple(
            (each, name)
            for each, ledger in self._ledgers.items()
            for name in sorted(ledger.refused_of(self._desired.of_type(each)))
        )

    def _holds(self, ledger: Ledger, desired: XdsSnapshot) -> bool:
        wanted = desired.of_type(ledger.type_url)
        return all(
            ledger.held.get(name) == resource.version_info == ledger.sent.get(name)
            for name, resource in wanted.items()
        )

    def _may_have(self, desired: XdsSnapshot) -> bool:
        """Rule 4."""
        return desired.loaded or not any(ledger.held for ledger in self._ledgers.values())

    def _clusters(self, desired: XdsSnapshot, now: float) -> DeltaResponse | None:
        ledger = self._ledgers[CLUSTER_TYPE]
        resources = ledger.due(desired.clusters)
        removed = tuple(
            sorted(
                name
                for name, since in self._unused_since.items()
                if now >= since + self._limits.removal_grace_seconds
            )
        )
        response = self._respond(ledger, resources, removed, now)
        if response is not None:
            for resource in response.resources:
                self._ledgers[ENDPOINT_TYPE].supersede(resource.name)
            self._ledgers[ENDPOINT_TYPE].forget(response.removed)
            for name in response.removed:
                self._unused_since.pop(name, None)
        return response

    def _endpoints(self, desired: XdsSnapshot, now: float) -> DeltaResponse | None:
        ledger = self._ledgers[ENDPOINT_TYPE]
        # A cluster that is no longer wanted stays for the grace time. If Envoy has not got its
        # endpoints yet, it is told that there are none: else it would wait for them.
        missing = ledger.subscribed & self._ledgers[CLUSTER_TYPE].sent.keys()
        missing -= desired.endpoints.keys() | ledger.sent.keys()
        response = self._respond(ledger, ledger.due(desired.endpoints), tuple(sorted(missing)), now)
        if response is not None:
            for name in missing:
                ledger.sent[name] = ""
        return response

    def _routes(self, desired: XdsSnapshot, now: float) -> DeltaResponse | None:
        ledger = self._ledgers[ROUTE_TYPE]
        resources = ledger.due(desired.routes)
        if not resources or self._targets_ready(desired):
            self._routes_wait_since = None
        elif self._routes_wait_since is None:
            self._routes_wait_since = now
        if self._routes_wait_since is not None and now < self._routes_deadline():
            return None
        return self._respond(ledger, resources, (), now)

    def _routes_deadline(self) -> float:
        since = self._routes_wait_since
        return 0.0 if since is None else since + self._limits.ack_timeout_seconds

    def _targets_ready(self, desired: XdsSnapshot) -> bool:
        """Whether Envoy has all that the desired routes lead to."""
        needed = desired.route_targets - desired.static_clusters
        clusters, endpoints = self._ledgers[CLUSTER_TYPE], self._ledgers[ENDPOINT_TYPE]
        return needed <= clusters.held.keys() and needed <= endpoints.held.keys()

    def _note_unused(self, desired: XdsSnapshot, now: float) -> None:
        """Keep account of clusters that Envoy has and no route uses any more."""
        routes, clusters = self._ledgers[ROUTE_TYPE], self._ledgers[CLUSTER_TYPE]
        if not desired.loaded or not routes.opened or not self._holds(routes, desired):
            self._unused_since.clear()
            return
        unused = clusters.sent.keys() - desired.clusters.keys()
        self._unused_since = {name: self._unused_since.get(name, now) for name in unused}

    def _respond(
        self, ledger: Ledger, resources: tuple[Resource, ...], removed: tuple[str, ...], now: float
    ) -> DeltaResponse | None:
        """Make and record a response, unless there is nothing to say or no turn to say it."""
        if not ledger.opened or ledger.blocked(now, self._limits.ack_timeout_seconds):
            return None
        first_of_all = ledger.wildcard and not ledger.answered
        if not resources and not removed and not first_of_all:
            return None
        self._nonce += 1
        response = DeltaResponse(ledger.type_url, str(self._nonce), resources, removed)
        ledger.record(response, now)
        return response

    def _wake_at(self, desired: XdsSnapshot, now: float) -> float | None:
        """Return when time alone makes a difference."""
        times = [
            since + self._limits.removal_grace_seconds for since in self._unused_since.values()
        ]
        times += [
            response.sent_at + self._limits.ack_timeout_seconds
            for ledger in self._ledgers.values()
            for response in ledger.outstanding.values()
        ]
        if self._routes_wait_since is not None:
            times.append(self._routes_deadline())
        later = [time for time in times if time > now]
        return min(later, default=None)
