"""What callers from outside are given: the store, the cluster and the users, each behind the guard.

Made once, in the composition root, from what runs underneath; the node's own parts (governance,
health, metrics) go on using that, as the node itself.
"""

from __future__ import annotations

from typing import Final

from tianlu_registry.authn.administration import Administration
from tianlu_registry.authn.guard import Guard
from tianlu_registry.authn.guarded_cluster import GuardedCluster
from tianlu_registry.authn.guarded_store import GuardedStore
from tianlu_registry.authn.observer import AuthFollower
from tianlu_registry.authn.passwords import Passwords
from tianlu_registry.authn.tokens import Tokens
from tianlu_registry.engine.auth import AuthEngine
from tianlu_registry.engine.cluster import Cluster
from tianlu_registry.engine.store import Store


class Entrance:
    """The way in.

    Args:
        store, cluster, engine: what runs underneath.
        tokens: of the kind that was asked for.
        client_certificates: see `Guard`.
        passwords: closed by this; those of the default cost if not given.

    Attributes:
        store, cluster: the same, guarded.
        guard: for what is guarded by method.
        administration: logging in, users and roles.
    """

    def __init__(
        self,
        store: Store,
        cluster: Cluster,
        engine: AuthEngine,
        tokens: Tokens,
        *,
        client_certificates: bool = False,
        passwords: Passwords | None = None,
    ) -> None:
        self._passwords = passwords or Passwords()
        self.guard: Final = Guard(engine, tokens, client_certificates=client_certificates)
        self.store: Final = GuardedStore(store, engine, self.guard)
        self.cluster: Final = GuardedCluster(cluster, self.guard)
        self.administration: Final = Administration(engine, self.guard, tokens, self._passwords)
        engine.auth.observer = AuthFollower(engine, tokens, self.store, self.guard)

    def close(self) -> None:
        """Stop verifying passwords."""
        self._passwords.close()
