"""Everything of this node that stands on an existing etcd cluster, put together."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from tianlu_registry.engine.etcd import EtcdStore
from tianlu_registry.engine.etcd_auth import EtcdAuth
from tianlu_registry.engine.etcd_callers import CallersEtcdStore
from tianlu_registry.engine.etcd_cluster import EtcdCluster
from tianlu_registry.engine.etcd_config import EtcdConfig


@dataclass(frozen=True, slots=True)
class EtcdEngine:
    """What runs.

    Attributes:
        own: for the node itself, as the user that it was given.
        callers: for whoever is served, with his own token.
        cluster, auth: the same, of the cluster and of its users.
        is_somebody: whether etcd knows the node, as a user or by its certificate: then the node may
            what its callers perhaps may not. By certificate at most a status interval old.
    """

    own: EtcdStore
    callers: CallersEtcdStore
    cluster: EtcdCluster
    auth: EtcdAuth
    is_somebody: Callable[[], bool]


@contextlib.asynccontextmanager
async def running_on_etcd(
    config: EtcdConfig, token: Callable[[], str | None]
) -> AsyncIterator[EtcdEngine]:
    """Connect to the cluster for the length of a block.

    Args:
        token: returns the token of whoever is being served.

    Raises:
        RegistryError: see `EtcdStore.connect`.
    """
    async with await EtcdStore.connect(config) as own:
        callers = CallersEtcdStore(own, token)
        try:
            yield EtcdEngine(
                own,
                callers,
                EtcdCluster(callers),
                EtcdAuth(callers),
                is_somebody=lambda: bool(config.user) or own.knows_by_certificate,
            )
        finally:
            await callers.close()
