"""Who callers are, what guards the engine from them, and what they are given of it."""

from __future__ import annotations

from dataclasses import dataclass

from tianlu_registry.api.etcd_auth import UsersServicer
from tianlu_registry.authn.client_name import ClientNames, Proxies
from tianlu_registry.authn.entrance import Entrance
from tianlu_registry.authn.guard import Guard
from tianlu_registry.authn.options import make_tokens
from tianlu_registry.authn.underlying_guard import UnderlyingGuard
from tianlu_registry.composition.engine import Engine
from tianlu_registry.engine.cluster import Cluster
from tianlu_registry.engine.store import Store
from tianlu_registry.server.settings import RegistrySettings


@dataclass(frozen=True, slots=True)
class Callers:
    """What stands between callers and the engine.

    Attributes:
        entrance: guards an engine that has users of its own; None if it has none.
        names: tells callers apart.
        believes_certificates: callers are who the TLS listener says that they are.
        store, cluster: what callers are given of the engine.
        users: the service Auth.
        catalog_guard: asked before the catalogue is; None if nobody is refused.
    """

    entrance: Entrance | None
    names: ClientNames
    believes_certificates: bool
    store: Store
    cluster: Cluster
    users: object
    catalog_guard: Guard | UnderlyingGuard | None

    @property
    def guard(self) -> Guard | None:
        return None if self.entrance is None else self.entrance.guard

    def close(self) -> None:
        if self.entrance is not None:
            self.entrance.close()


def callers_of(engine: Engine, settings: RegistrySettings, *, behind_relay: bool) -> Callers:
    """Return what the settings put before the engine.

    Args:
        behind_relay: the TLS listener's relay is there. Without it nobody takes away what clients
            have made up about their certificates.
    """
    believes_certificates = settings.client_certificates and behind_relay
    entrance = _entrance(engine, settings, client_certificates=believes_certificates)
    names = ClientNames(
        None if entrance is None else entrance.guard,
        Proxies(settings.client_limits.trusted_proxies),
        client_certificates=believes_certificates,
    )
    if entrance is not None:
        return Callers(
            entrance,
            names,
            believes_certificates,
            entrance.store,
            entrance.cluster,
            UsersServicer(entrance.administration, entrance.store.header),
            entrance.guard,
        )
    underlying = engine.underlying
    if underlying is None:
        raise RuntimeError("an engine has users of its own, or stands on somebody who has")
    return Callers(
        None,
        names,
        believes_certificates,
        underlying.callers,
        engine.cluster,
        underlying.users,
        underlying.guard,
    )


def _entrance(
    engine: Engine, settings: RegistrySettings, *, client_certificates: bool
) -> Entrance | None:
    """Return what guards the engine; None if it has no users of its own."""
    if engine.auth is None:
        return None
    tokens = make_tokens(settings.auth_token, simple_ttl_seconds=settings.auth_token_ttl_seconds)
    return Entrance(
        engine.store, engine.cluster, engine.auth, tokens, client_certificates=client_certificates
    )
