"""A catalogue fed by hand: implements the console's seam with plain values, for tests of pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

from tianlu import (
    CatalogView,
    Health,
    Instance,
    Liveness,
    NotFound,
    Override,
    Port,
    Rung,
    Service,
    ServiceKey,
    ServiceView,
    TianluError,
)

NOW = 1_795_000_000_000


def instance(
    service: str = "orders",
    id: str = "orders-1",  # noqa: A002 (as the model names it)
    **changes: object,
) -> Instance:
    """Return an instance that serves, with `changes`."""
    base = Instance(
        namespace="default",
        service=service,
        id=id,
        address="10.0.0.7",
        ports=(Port("http", 8000), Port("grpc", 9000, "grpc")),
        version="1.4.0",
        zone="z1",
        metadata={"commit": "8f3a2c1", "team": "checkout"},
        session_id=0x5EED,
        registered_unix_ms=NOW - 3_600_000,
        mod_revision=5,
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def suspect(given: Instance) -> Instance:
    return replace(given, health=Health(Liveness.SUSPECT, "the session's stream broke", NOW - 2000))


def isolated(given: Instance, reason: str = "high error rate", expires: int = 0) -> Instance:
    return replace(given, override=Override(True, reason, "ada", NOW - 60_000, expires))


class HandFedCatalogue:
    """Holds instances and descriptions; every change makes a new view at the next revision."""

    def __init__(
        self, instances: Iterable[Instance] = (), services: Iterable[Service] = ()
    ) -> None:
        self.instances = {(each.namespace, each.service, each.id): each for each in instances}
        self.services = {(each.namespace, each.name): each for each in services}
        self.revision = 10
        self.rung = Rung.PROCESS
        self.age_seconds = 0.0
        self.failure: TianluError | None = None
        self.lag = False
        """While set, writes are answered but the view stays behind."""
        self._changed = asyncio.Event()
        self._view = self._make_view()

    @property
    def view(self) -> CatalogView:
        return replace(self._view, age_seconds=self.age_seconds, rung=self.rung)

    async def changes(self) -> AsyncIterator[CatalogView]:
        while True:
            yield self.view
            await self._changed.wait()
            self._changed.clear()

    async def isolate(
        self,
        namespace: str,
        service: str,
        instance_id: str,
        *,
        reason: str,
        actor: str,
        expires_unix_ms: int,
    ) -> Instance:
        override = Override(True, reason, actor, NOW, expires_unix_ms)
        return self._override(namespace, service, instance_id, override)

    async def restore(
        self, namespace: str, service: str, instance_id: str, *, reason: str, actor: str
    ) -> Instance:
        return self._override(namespace, service, instance_id, None)

    def put(self, *instances: Instance) -> None:
        for each in instances:
            self.instances[each.namespace, each.service, each.id] = each
        self.publish()

    def remove(self, namespace: str, service: str, instance_id: str) -> None:
        del self.instances[namespace, service, instance_id]
        self.publish()

    def publish(self) -> None:
        self.revision += 1
        if not self.lag:
            self._view = self._make_view()
        self._changed.set()

    def _override(
        self, namespace: str, service: str, instance_id: str, override: Override | None
    ) -> Instance:
        if self.failure is not None:
            raise self.failure
        held = self.instances.get((namespace, service, instance_id))
        if held is None:
            raise NotFound(f"no instance {instance_id}")
        changed = replace(held, override=override, mod_revision=self.revision + 1)
        self.put(changed)
        return changed

    def _make_view(self) -> CatalogView:
        keys = sorted({(each[0], each[1]) for each in self.instances} | set(self.services))
        services = {
            ServiceKey(*key): ServiceView(
                self.services.get(key, Service(*key)),
                tuple(self.instances[each] for each in sorted(self.instances) if each[:2] == key),
            )
            for key in keys
        }
        return CatalogView(self.revision, services, self.rung, self.age_seconds)
