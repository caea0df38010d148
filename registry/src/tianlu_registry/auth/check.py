"""Whether a request may be carried out on behalf of somebody.

The claim says who, and at which auth revision that was found out. It travels with a command, and
the command is checked where it is applied: so what permissions a write met is decided by the log,
and a write that was under way while they changed is refused on every member alike. Reads are
checked with the same functions where they are answered.

Source: etcd server/etcdserver/apply/auth.go; server/auth/store.go, `isOpPermitted`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Protocol

from google.protobuf.message import Message

from tianlu._proto.etcd.rpc_pb2 import (
    AuthenticateRequest,
    CompactionRequest,
    DeleteRangeRequest,
    LeaseGrantRequest,
    LeaseRevokeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
)
from tianlu_registry.auth.commands import KINDS
from tianlu_registry.auth.permissions import Access
from tianlu_registry.auth.store import ROOT, AuthStore
from tianlu_registry.errors import AuthOldRevision, PermissionDenied, UserEmpty, UserNotFound


@dataclass(frozen=True, slots=True)
class Claim:
    """Who asks.

    Attributes:
        user: found out by a token or a certificate.
        revision: of the auth store when that was: of a newer one, the claim is worth nothing.
    """

    user: str
    revision: int


class Lease(Protocol):
    """A lease and the keys on it."""

    @property
    def keys(self) -> Iterable[bytes]: ...


class Leases(Protocol):
    """What the checks need of the leases."""

    def lookup(self, lease_id: int) -> Lease | None: ...


class Checker:
    """Checks requests against users and roles.

    While authentication is off nothing is refused.

    Raises (all checks):
        AuthOldRevision: users or roles have changed since the claim was made.
        PermissionDenied: what the claim's user may do does not suffice.
        UserEmpty: nobody asks.
    """

    def __init__(self, auth: AuthStore, leases: Leases) -> None:
        self._auth = auth
        self._leases = leases

    def keys(self, claim: Claim, key: bytes, range_end: bytes, access: Access) -> None:
        """Check access to a range of keys."""
        auth = self._auth
        if not auth.enabled:
            return
        if not claim.user:
            raise UserEmpty
        if claim.revision < auth.revision:
            raise AuthOldRevision
        if not auth.permit(claim.user, key, range_end, access):
            raise PermissionDenied

    def administrator(self, claim: Claim) -> None:
        """Check for the role root.

        Raises:
            UserNotFound: the user is gone.
        """
        auth = self._auth
        if not auth.enabled:
            return
        if not claim.user:
            raise UserEmpty
        if auth.user(claim.user) is None:
            raise UserNotFound
        if not auth.has_role(claim.user, ROOT):
            raise PermissionDenied

    def anybody(self, claim: Claim) -> None:
        """Check that it is somebody."""
        if self._auth.enabled and not claim.user:
            raise UserEmpty

    def may_administer(self, claim: Claim) -> bool:
        """Whether `administrator` would pass."""
        return not self._auth.enabled or self._auth.has_role(claim.user, ROOT)

    def range(self, claim: Claim, request: RangeRequest) -> None:
        self.keys(claim, request.key, request.range_end, Access.READ)

    def put(self, claim: Claim, request: PutRequest) -> None:
        """Check a put. A lease that holds keys which this user may not write is not for this
        user's keys: it could not be revoked by them, and would take them with it."""
        self.keys(claim, request.key, b"", Access.WRITE)
        self.lease(claim, request.lease, Access.WRITE)
        if request.prev_kv:
            self.keys(claim, request.key, b"", Access.READ)

    def delete_range(self, claim: Claim, request: DeleteRangeRequest) -> None:
        self.keys(claim, request.key, request.range_end, Access.WRITE)
        if request.prev_kv:
            self.keys(claim, request.key, request.range_end, Access.READ)

    def txn(self, claim: Claim, request: TxnRequest) -> None:
        """Check both branches, whichever will be taken, and those of transactions within."""
        for compare in request.compare:
            self.keys(claim, compare.key, compare.range_end, Access.READ)
        for operation in request.success:
            self._operation(claim, operation)
        for operation in request.failure:
            self._operation(claim, operation)

    def lease(self, claim: Claim, lease_id: int, access: Access) -> None:
        """Check access to every key on a lease; one that is not there holds none."""
        if not lease_id or self.may_administer(claim):
            return
        lease = self._leases.lookup(lease_id)
        for key in lease.keys if lease is not None else ():
            self.keys(claim, key, b"", access)

    def command(self, claim: Claim, request: Message) -> None:
        """Check a command before it is applied.

        Raises:
            PermissionDenied: there is no rule for such a command, so nobody may give it.
        """
        check = _COMMAND_CHECKS.get(type(request))
        if check is None:
            raise PermissionDenied
        check(self, claim, request)

    def _operation(self, claim: Claim, operation: RequestOp) -> None:
        kind = operation.WhichOneof("request")
        if kind is not None:
            _OPERATION_CHECKS[kind](self, claim, getattr(operation, kind))

    def _lease_revoke(self, claim: Claim, request: LeaseRevokeRequest) -> None:
        self.anybody(claim)
        self.lease(claim, request.ID, Access.WRITE)


_Check = Callable[[Checker, Claim, Any], None]


def _for_anybody(checker: Checker, claim: Claim, request: Message) -> None:
    checker.anybody(claim)


def _for_administrators(checker: Checker, claim: Claim, request: Message) -> None:
    checker.administrator(claim)


_OPERATION_CHECKS: Final[Mapping[str, _Check]] = MappingProxyType(
    {
        "request_range": Checker.range,
        "request_put": Checker.put,
        "request_delete_range": Checker.delete_range,
        "request_txn": Checker.txn,
    }
)

_COMMAND_CHECKS: Final[Mapping[type[Message], _Check]] = MappingProxyType(
    {
        PutRequest: Checker.put,
        DeleteRangeRequest: Checker.delete_range,
        TxnRequest: Checker.txn,
        CompactionRequest: _for_anybody,
        LeaseGrantRequest: _for_anybody,
        LeaseRevokeRequest: Checker._lease_revoke,
        **{message: _for_administrators for message in KINDS if message is not AuthenticateRequest},
    }
)
