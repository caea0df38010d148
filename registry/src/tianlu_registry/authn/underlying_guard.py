"""Whether a caller may what the node would do for him, where users are another store's.

The catalogue is read and written by the node itself, as its own user. So that nobody gets by way of
it what he may not have, the store underneath is asked first, as the caller: with requests that it
judges by the same permissions, and that change nothing.

Source: etcd server/etcdserver/apply/auth.go, `checkTxnAuth`: both branches of a transaction must be
permitted, also the one that is not taken.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Final

from tianlu._proto.etcd.rpc_pb2 import (
    DeleteRangeRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from tianlu_registry.auth import Claim
from tianlu_registry.auth.permissions import Access
from tianlu_registry.authn.guard import NOBODY, Check, Stream
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import PermissionDenied

Wish = tuple[bytes, bytes, Access]


class _Wishes:
    """Stands where rules ask a `Checker`, and notes what they ask."""

    def __init__(self) -> None:
        self.last: Wish | None = None

    def keys(self, claim: Claim, key: bytes, range_end: bytes, access: Access) -> None:
        self.last = key, range_end, access

    def administrator(self, claim: Claim) -> None:
        self.last = None


class UnderlyingGuard:
    """Stands where methods ask a `Guard`.

    Args:
        callers: the store underneath, as whoever is served gets it.
        is_somebody: whether the node is known there. While it is nobody, it may what anybody may.
    """

    def __init__(self, callers: Store, is_somebody: Callable[[], bool]) -> None:
        self._callers = callers
        self._is_somebody = is_somebody
        self.checker: Final = _Wishes()

    @property
    def enabled(self) -> bool:
        """Whether anything is to be guarded."""
        return self._is_somebody()

    async def require(self, check: Check) -> Claim:
        """Ask the store underneath for what a check looks at.

        Raises:
            RegistryError: why the caller may not, in that store's words.
        """
        check(NOBODY)
        wish = self.checker.last  # nothing has run in between
        if wish is None:
            raise PermissionDenied  # what is root's is not asked for by way of this node
        key, range_end, access = wish
        if access is Access.READ:
            await self._callers.range(
                RangeRequest(key=key, range_end=range_end, count_only=True, serializable=True)
            )
        else:
            await self._callers.txn(_never(key, range_end))
        return NOBODY

    def held_open(self, stream: Stream, claim: Claim, check: Check) -> AbstractContextManager[None]:
        """Let a stream be: the store underneath tells nobody when its users change."""
        return nullcontext()

    async def ask(self, rule: Callable[..., None]) -> None:
        """Check the caller by a rule, if anything is to be guarded."""
        if self.enabled:
            await self.require(partial(rule, self.checker))


def _never(key: bytes, range_end: bytes) -> TxnRequest:
    """Return a transaction that would delete a range if it failed, and compares nothing: it cannot
    fail, nor ask who may only write to be somebody who may read."""
    delete = DeleteRangeRequest(key=key, range_end=range_end)
    return TxnRequest(failure=[RequestOp(request_delete_range=delete)])
