"""A node behind an entrance, and calls of its users."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from registry.node.nodes import running, small

from tianlu._proto.etcd.auth_pb2 import Permission
from tianlu._proto.etcd.rpc_pb2 import (
    AuthEnableRequest,
    AuthRoleAddRequest,
    AuthRoleGrantPermissionRequest,
    AuthUserAddRequest,
    AuthUserGrantRoleRequest,
)
from tianlu_registry.auth import ROOT, AuthCommand
from tianlu_registry.authn.caller import serving
from tianlu_registry.authn.entrance import Entrance
from tianlu_registry.authn.passwords import Passwords
from tianlu_registry.authn.tokens import SimpleTokens
from tianlu_registry.engine.embedded import EmbeddedNode
from tianlu_registry.engine.embedded_auth import EmbeddedAuth
from tianlu_registry.engine.embedded_cluster import EmbeddedCluster


def entrance_of(node: EmbeddedNode, *, client_certificates: bool = False) -> Entrance:
    """Return a new entrance to a node, with quick passwords."""
    return Entrance(
        node.store,
        EmbeddedCluster(node.node),
        EmbeddedAuth(node.node),
        SimpleTokens(time.monotonic),
        client_certificates=client_certificates,
        passwords=Passwords(memory_kib=64, passes=1),
    )


@asynccontextmanager
async def guarded(directory: Path, *, client_certificates: bool = False) -> AsyncIterator[Entrance]:
    """Run a node with users: see `furnish`."""
    async with running(small(directory)) as node:
        entrance = entrance_of(node, client_certificates=client_certificates)
        await furnish(entrance)
        try:
            yield entrance
        finally:
            entrance.close()


async def furnish(entrance: Entrance) -> None:
    """Add root, and ann and bob, who may read r/ and write w/ and both in b/, and switch on."""
    administration = entrance.administration
    await administration.change(AuthCommand.ROLE_ADD, AuthRoleAddRequest(name="role"))
    for kind, prefix in ((0, b"r"), (1, b"w"), (2, b"b")):
        permission = Permission(permType=kind, key=prefix + b"/", range_end=prefix + b"0")  # type: ignore[arg-type]
        await administration.change(
            AuthCommand.ROLE_GRANT_PERMISSION,
            AuthRoleGrantPermissionRequest(name="role", perm=permission),
        )
    for user, role in ((ROOT, ROOT), ("ann", "role"), ("bob", "role")):
        await administration.add_user(AuthUserAddRequest(name=user, password=f"{user}'s"))
        await administration.change(
            AuthCommand.USER_GRANT_ROLE, AuthUserGrantRoleRequest(user=user, role=role)
        )
    await administration.change(AuthCommand.ENABLE, AuthEnableRequest())


async def log_in(entrance: Entrance, user: str) -> str:
    return await entrance.administration.log_in(user, f"{user}'s")


@contextmanager
def calling(token: str | None = None, *, certificate: str | None = None) -> Iterator[None]:
    """Do what follows as a call with these credentials; then as nobody."""
    headers = []
    if token is not None:
        headers.append((b"token", token.encode()))
    if certificate is not None:
        headers.append((b"x-forwarded-client-cert", certificate.encode()))
    serving({"headers": headers})
    try:
        yield
    finally:
        serving({"headers": []})
