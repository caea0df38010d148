"""Every error the registry raises on purpose, grouped by what the caller should do.

    RegistryError
    ├── InputError                 the request is wrong: mend it
    │   ├── InvalidArgument        a named field has a value that cannot be
    │   ├── RequestTooLarge, TooManyOperations, DuplicateKey, EmptyKey ...
    │   ├── Compacted              the revision has been compacted away
    │   ├── FutureRevision         the revision has not happened yet
    │   ├── NotFound               LeaseNotFound, ServiceNotFound, InstanceNotFound ...
    │   ├── Exists                 LeaseExists
    │   ├── ClusterChangeRefused   PeerUrlExists, LearnerNotReady, NotLeader ...
    │   ├── AuthRefused            UserNotFound, RoleExists, AuthNotEnabled ...
    │   ├── PermissionDenied, InvalidAuthToken, AuthFailed, AuthOldRevision, UserEmpty ...
    │   ├── RefusedUnderneath      by the etcd cluster that this node stands on
    │   └── Conflict               the thing is not in the state that the request needs
    ├── Unavailable                the registry cannot now: try again
    │   ├── NoLeader, NotSupportedForLearner, TooManyRequests, Stopped, UnhealthyCluster ...
    │   └── RequestTimeout         the outcome is unknown: it may yet be applied
    ├── NoSpace                    writes are refused until there is room: somebody must act
    └── Broken                     the node must stop: Corrupt, InvariantBroken, StorageFailed ...

The texts that etcd's clients match are etcd's, letter for letter, and stand once, in the class.
Source: etcd api/v3rpc/rpctypes/error.go. Codes are given by the tables of `tianlu_registry.api`.
"""

from __future__ import annotations

from typing import ClassVar


class RegistryError(Exception):
    """Root of the tree. `text` is what a client sees unless a message is given."""

    text: ClassVar[str] = "tianlu: error"

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or self.text)


class InputError(RegistryError):
    """The request cannot succeed as it is."""


class InvalidArgument(InputError):
    """A field has a value that cannot be.

    Args:
        field: path of the field as the caller writes it, such as ``instance.ports[0].number``.
        problem: what is wrong and what would be right, without the field's name.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem


class EmptyKey(InputError):
    text = "etcdserver: key is not provided"


class KeyNotFound(InputError):
    """ignore_value or ignore_lease was asked of a key that does not exist."""

    text = "etcdserver: key not found"


class ValueProvided(InputError):
    text = "etcdserver: value is provided"


class LeaseProvided(InputError):
    text = "etcdserver: lease is provided"


class TooManyOperations(InputError):
    text = "etcdserver: too many operations in txn request"


class DuplicateKey(InputError):
    text = "etcdserver: duplicate key given in txn request"


class RequestTooLarge(InputError):
    text = "etcdserver: request is too large"


class InvalidSortOption(InputError):
    text = "etcdserver: invalid sort option"


class EmptyWatchRange(InputError):
    """No key can be in the range that shall be watched."""

    text = "mvcc: watcher range is empty"


class Compacted(InputError):
    text = "etcdserver: mvcc: required revision has been compacted"

    def __init__(self, message: str | None = None, *, compact_revision: int = 0) -> None:
        super().__init__(message)
        self.compact_revision = compact_revision


class FutureRevision(InputError):
    text = "etcdserver: mvcc: required revision is a future revision"


class NotFound(InputError):
    """The thing that the request names does not exist."""


class LeaseNotFound(NotFound):
    text = "etcdserver: requested lease not found"


class SessionNotFound(NotFound):
    text = "tianlu: session not found or ended; open a new one and register again"


class ServiceNotFound(NotFound):
    text = "tianlu: service not found"


class InstanceNotFound(NotFound):
    text = "tianlu: instance not found"


class MemberNotFound(NotFound):
    text = "etcdserver: member not found"


class ClusterChangeRefused(InputError):
    """A change of the membership or of the leader does not fit the present ones."""

    text = "tianlu: the membership change does not fit"


class MemberUrlsInvalid(InputError):
    text = "etcdserver: given member URLs are invalid"


class MemberExists(ClusterChangeRefused):
    text = "etcdserver: member ID already exist"


class PeerUrlExists(ClusterChangeRefused):
    text = "etcdserver: Peer URLs already exists"


class MemberNotLearner(ClusterChangeRefused):
    text = "etcdserver: can only promote a learner member"


class LearnerNotReady(ClusterChangeRefused):
    text = "etcdserver: can only promote a learner member which is in sync with leader"


class TooManyLearners(ClusterChangeRefused):
    text = "etcdserver: too many learner members in cluster"


class NotEnoughStarted(ClusterChangeRefused):
    text = "etcdserver: re-configuration failed due to not enough started members"


class BadLeaderTransferee(ClusterChangeRefused):
    text = "etcdserver: bad leader transferee"


class NotLeader(ClusterChangeRefused):
    text = "etcdserver: not leader"


class DowngradeVersionMalformed(InputError):
    text = "etcdserver: wrong downgrade target version format"


class DowngradeTargetInvalid(InputError):
    text = "etcdserver: invalid downgrade target version"


class NoInflightDowngrade(ClusterChangeRefused):
    text = "etcdserver: no inflight downgrade job"


class Exists(InputError):
    """The thing that the request would make is there already."""


class LeaseExists(Exists):
    text = "etcdserver: lease already exists"


class LeaseTtlTooLarge(InputError):
    text = "etcdserver: too large lease TTL"


class Conflict(InputError):
    """The thing is not in the state that the request needs."""

    text = "tianlu: conflict"


class AuthRefused(InputError):
    """A change of users, roles or authentication does not fit the present ones."""

    text = "tianlu: the change of users or roles does not fit"


class RootUserNotFound(AuthRefused):
    text = "etcdserver: root user does not exist"


class RootRoleNotGranted(AuthRefused):
    text = "etcdserver: root user does not have root role"


class UserExists(AuthRefused):
    text = "etcdserver: user name already exists"


class UserNotFound(AuthRefused):
    text = "etcdserver: user name not found"


class RoleExists(AuthRefused):
    text = "etcdserver: role name already exists"


class RoleNotFound(AuthRefused):
    text = "etcdserver: role name not found"


class RoleNotGranted(AuthRefused):
    text = "etcdserver: role is not granted to the user"


class PermissionNotGranted(AuthRefused):
    text = "etcdserver: permission is not granted to the role"


class AuthNotEnabled(AuthRefused):
    text = "etcdserver: authentication is not enabled"


class InvalidAuthManagement(InputError):
    """Root's user, role or grant would go while authentication is on, or a range is empty."""

    text = "etcdserver: invalid auth management"


class UserEmpty(InputError):
    """A user's name is missing: in a change of users, or because a call says of nobody."""

    text = "etcdserver: user name is empty"


class RoleEmpty(InputError):
    text = "etcdserver: role name is empty"


class PermissionNotGiven(InputError):
    text = "etcdserver: permission not given"


class AuthFailed(InputError):
    text = "etcdserver: authentication failed, invalid user ID or password"


class NoPasswordUser(InputError):
    """A user who has no password was to be known by one."""

    text = "auth: authentication failed, password was given for no password user"


class AuthOldRevision(InputError):
    """Users or roles have changed since the token was made or the request was checked: log in
    anew, or try again. etcd's clients do so by themselves."""

    text = "etcdserver: revision of auth store is old"


class PermissionDenied(InputError):
    text = "etcdserver: permission denied"


class InvalidAuthToken(InputError):
    """The token is unknown, has expired or is forged: log in anew."""

    text = "etcdserver: invalid auth token"


class RefusedUnderneath(InputError):
    """The etcd cluster that this node stands on refused, in words that are not ours.

    Args:
        code: gRPC's number for it; UNKNOWN if not given.
    """

    def __init__(self, message: str | None = None, code: int = 2) -> None:
        super().__init__(message)
        self.code = code


class Unavailable(RegistryError):
    """Nothing is wrong with the request; the registry cannot serve it now. Try again."""


class NoLeader(Unavailable):
    text = "etcdserver: no leader"


class NotSupportedForLearner(Unavailable):
    """This member has no vote yet: ask another. With the code of etcd 3.5, by which clients do; 3.6
    has FAILED_PRECONDITION for it, and a rule for it in its client."""

    text = "etcdserver: rpc not supported for learner"


class TooManyRequests(Unavailable):
    """The backlog of proposals is at its maximum."""

    text = "etcdserver: too many requests"


class Stopped(Unavailable):
    text = "etcdserver: server stopped"


class UnhealthyCluster(Unavailable):
    text = "etcdserver: unhealthy cluster"


class LeaderTransferTimeout(Unavailable):
    text = "etcdserver: request timed out, leader transfer took too long"


class RequestTimeout(Unavailable):
    """The request was not answered in time. Its outcome is unknown: it may yet be applied."""

    text = "etcdserver: request timed out"


class NoSpace(RegistryError):
    text = "etcdserver: mvcc: database space exceeded"


class Broken(RegistryError):
    """The node cannot go on without risking what it has promised. It stops.

    `exit_code` is the process's exit status; docs/operations/exit-codes.md lists them.
    """

    exit_code: ClassVar[int] = 70


class StorageFailed(Broken):
    """A write or fsync failed. Its effect is unknown, so nothing after it may be acknowledged."""

    text = "tianlu: storage failed"
    exit_code = 74


class Corrupt(Broken):
    """Stored data does not match its checksum where a torn tail cannot explain it."""

    text = "tianlu: stored data is corrupt"
    exit_code = 75


class MemberRemoved(Broken):
    """The cluster has removed this member. Its data is of no use to it any more."""

    text = (
        "tianlu: this member was removed from the cluster for ever; to join again, remove its data "
        "directory and add it as a new member"
    )
    exit_code = 77


class InvariantBroken(Broken):
    """Something that cannot be, is: a bug."""

    text = "tianlu: invariant broken"


def check(condition: bool, what: str) -> None:
    """Stop the node if an invariant does not hold. Unlike `assert`, always on.

    Raises:
        InvariantBroken: `condition` is false.
    """
    if not condition:
        raise InvariantBroken(f"{InvariantBroken.text}: {what}")
