"""What one Envoy has been sent and has accepted, for one type of resource.

Invariants:
1. `sent[name]` is the newest version that Envoy was given of a resource, or claimed to have.
2. `held[name]` is the newest version that it accepted; a name that is in `sent` alone is on its
   way. After a refusal Envoy goes on with what it held, and so do we.
3. A version that was refused alone is not sent again. One that was refused together with others
   is sent again by itself first, so that one bad resource does not hold back the good ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from tianlu_mesher.resources.snapshot import Resource, ResourceMap
from tianlu_mesher.xds.messages import DeltaRequest, DeltaResponse

WILDCARD = "*"
# Envoy answers in milliseconds, or withholds its answer while a cluster is warming. Older
# responses than these many unanswered ones are forgotten; their resources count as not accepted.
OUTSTANDING_MAX = 16


@dataclass(slots=True)
class _Outstanding:
    """A response that Envoy has not judged yet. `versions` shrinks when a part is superseded."""

    sent_at: float
    versions: dict[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """Envoy's judgement on one response. `error` is None if it was accepted."""

    type_url: str
    names: tuple[str, ...]
    error: str | None


@dataclass(slots=True)
class Ledger:
    """The account of one type on one stream. Owner: `DeltaSession`."""

    type_url: str
    opened: bool = False
    wildcard: bool = False
    answered: bool = False
    """Whether anything was sent since the stream began, or Envoy claimed to hold something."""
    subscribed: set[str] = field(default_factory=set)
    sent: dict[str, str] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    alone_first: set[str] = field(default_factory=set)
    outstanding: dict[str, _Outstanding] = field(default_factory=dict)

    def take_subscriptions(self, request: DeltaRequest) -> None:
        """Note what Envoy wants, and on its first request what it has.

        A first request that names nothing asks for everything of the type.
        """
        if not self.opened:
            self.opened = True
            self.wildcard = not request.subscribe
            self.sent.update(request.initial_resource_versions)
            self.held.update(request.initial_resource_versions)
            self.answered = bool(request.initial_resource_versions)
        for name in request.subscribe:
            if name == WILDCARD:
                self.wildcard = True
            else:
                self._subscribe(name, request)
        for name in request.unsubscribe:
            self._unsubscribe(name)

    def _subscribe(self, name: str, request: DeltaRequest) -> None:
        self.subscribed.add(name)
        if name not in request.initial_resource_versions:
            # A name that is asked for (again) is answered, whatever was sent before.
            self.supersede(name)

    def _unsubscribe(self, name: str) -> None:
        if name == WILDCARD:
            self.wildcard = False
        self.subscribed.discard(name)
        self.supersede(name)
        self.held.pop(name, None)

    def take_verdict(self, request: DeltaRequest) -> Verdict | None:
        """Note an ACK or NACK; None if the request carries none, or one that came too late."""
        response = self.outstanding.pop(request.response_nonce, None)
        if response is None:
            return None
        if request.error is None:
            self._accept(response.versions)
        else:
            self._refuse(response.versions)
        return Verdict(self.type_url, tuple(sorted(response.versions)), request.error)

    def _accept(self, versions: Mapping[str, str]) -> None:
        for name, version in versions.items():
            self.held[name] = version
            self.refused.pop(name, None)
            self.alone_first.discard(name)

    def _refuse(self, versions: Mapping[str, str]) -> None:
        for name, version in versions.items():
            if len(versions) == 1:
                self.refused[name] = version
                self.alone_first.discard(name)
            else:
                self.alone_first.add(name)
            if self.sent.get(name) == version:
                self._restore(name)

    def _restore(self, name: str) -> None:
        if name in self.held:
            self.sent[name] = self.held[name]
        else:
            self.sent.pop(name, None)

    def supersede(self, name: str) -> None:
        """Have a resource sent anew even if its version has not changed."""
        self.sent.pop(name, None)
        for response in self.outstanding.values():
            response.versions.pop(name, None)

    def due(self, desired: ResourceMap) -> tuple[Resource, ...]:
        """Return what to send next so that Envoy gets `desired`: all at once, or one that was
        refused in company.
        """
        names = desired.keys() if self.wildcard else desired.keys() & self.subscribed
        changed = tuple(
            desired[name]
            for name in sorted(names)
            if self.sent.get(name) != desired[name].version_info
            and self.refused.get(name) != desired[name].version_info
        )
        return next(((each,) for each in changed if each.name in self.alone_first), changed)

    def refused_of(self, desired: ResourceMap) -> list[str]:
        """Return the names whose desired version was refused."""
        return [
            name
            for name, version in self.refused.items()
            if name in desired and desired[name].version_info == version
        ]

    def blocked(self, now: float, ack_timeout_seconds: float) -> bool:
        """Whether to wait for Envoy's verdict on the last response before sending another."""
        return any(
            now < response.sent_at + ack_timeout_seconds for response in self.outstanding.values()
        )

    def record(self, response: DeltaResponse, now: float) -> None:
        """Note that `response` is being sent."""
        versions = {resource.name: resource.version_info for resource in response.resources}
        self.sent.update(versions)
        self.forget(response.removed)
        self.answered = True
        self.outstanding[response.nonce] = _Outstanding(now, versions)
        while len(self.outstanding) > OUTSTANDING_MAX:
            self.outstanding.pop(next(iter(self.outstanding)))

    def forget(self, names: Iterable[str]) -> None:
        """Note that Envoy no longer has these."""
        for name in names:
            self.supersede(name)
            self.held.pop(name, None)
            self.refused.pop(name, None)
            self.alone_first.discard(name)
