"""The users and roles of our own nodes, as seen from this one."""

from __future__ import annotations

from tianlu_registry.auth import AuthCommand, AuthStore, Checker, Claim
from tianlu_registry.auth.apply import AuthResponse
from tianlu_registry.auth.commands import AuthRequest
from tianlu_registry.auth.envelope import Claimed, seal
from tianlu_registry.engine.embedded import EmbeddedStore
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import RequestTooLarge
from tianlu_registry.node.command import CommandKind
from tianlu_registry.node.node import Node


class EmbeddedAuth:
    """Implements `engine.auth.AuthEngine` on a node of this process."""

    def __init__(self, node: Node) -> None:
        self._node = node

    @property
    def auth(self) -> AuthStore:
        return self._node.machine.auth

    @property
    def checker(self) -> Checker:
        return self._node.machine.checker

    async def barrier(self) -> None:
        await self._node.read()

    def claiming(self, claim: Claim) -> Store:
        return EmbeddedStore(self._node, claim)

    async def change_auth(
        self, kind: AuthCommand, request: AuthRequest, claim: Claim | None
    ) -> AuthResponse:
        payload = request.SerializeToString()
        if len(payload) > self._node.config.request_bytes_max:
            raise RequestTooLarge
        response: AuthResponse
        if claim is None:
            response = await self._node.propose(CommandKind(kind), request, payload)
        else:
            claimed = Claimed(claim, kind, request)
            sealed = seal(claim, kind, payload)
            response = await self._node.propose(CommandKind.CLAIMED, claimed, sealed)
        return response
