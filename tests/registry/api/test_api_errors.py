"""The table of errors is total, and etcd's pairs of code and text are etcd's."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
from google.rpc.error_details_pb2 import BadRequest

import tianlu_registry
from tianlu_registry import errors
from tianlu_registry.api.errors import CODES, HTTP_STATUSES, code_of, error_status
from tianlu_registry.api.grpc_asgi import StatusCode


def all_errors() -> list[type[errors.RegistryError]]:
    """Every error class of every module of the registry."""
    for module in pkgutil.walk_packages(tianlu_registry.__path__, "tianlu_registry."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    found: list[type[errors.RegistryError]] = [errors.RegistryError]
    for kind in found:
        found.extend(sub for sub in kind.__subclasses__() if sub not in found)
    return found


def test_every_error_has_a_code_and_a_text() -> None:
    kinds = all_errors()
    assert len(kinds) > 30
    for kind in kinds:
        assert code_of(kind) is not StatusCode.OK
        assert kind.text.startswith(("etcdserver: ", "mvcc: ", "auth: ", "tianlu: "))


def test_every_code_has_an_http_status() -> None:
    assert set(HTTP_STATUSES) == set(StatusCode)


def test_the_table_names_no_class_in_vain() -> None:
    """An entry that repeats its parent's code would only hide a mistake."""
    for kind, code in CODES.items():
        parent = next((base for base in kind.__mro__[1:] if base in CODES), None)
        assert parent is None or CODES[parent] is not code, kind


# Source: etcd api/v3rpc/rpctypes/error.go.
ETCD = {
    errors.EmptyKey: (3, "etcdserver: key is not provided"),
    errors.KeyNotFound: (3, "etcdserver: key not found"),
    errors.ValueProvided: (3, "etcdserver: value is provided"),
    errors.LeaseProvided: (3, "etcdserver: lease is provided"),
    errors.TooManyOperations: (3, "etcdserver: too many operations in txn request"),
    errors.DuplicateKey: (3, "etcdserver: duplicate key given in txn request"),
    errors.InvalidSortOption: (3, "etcdserver: invalid sort option"),
    errors.Compacted: (11, "etcdserver: mvcc: required revision has been compacted"),
    errors.FutureRevision: (11, "etcdserver: mvcc: required revision is a future revision"),
    errors.NoSpace: (8, "etcdserver: mvcc: database space exceeded"),
    errors.LeaseNotFound: (5, "etcdserver: requested lease not found"),
    errors.LeaseExists: (9, "etcdserver: lease already exists"),
    errors.LeaseTtlTooLarge: (11, "etcdserver: too large lease TTL"),
    errors.MemberNotFound: (5, "etcdserver: member not found"),
    errors.MemberUrlsInvalid: (3, "etcdserver: given member URLs are invalid"),
    errors.MemberExists: (9, "etcdserver: member ID already exist"),
    errors.PeerUrlExists: (9, "etcdserver: Peer URLs already exists"),
    errors.MemberNotLearner: (9, "etcdserver: can only promote a learner member"),
    errors.LearnerNotReady: (
        9,
        "etcdserver: can only promote a learner member which is in sync with leader",
    ),
    errors.TooManyLearners: (9, "etcdserver: too many learner members in cluster"),
    errors.NotEnoughStarted: (
        9,
        "etcdserver: re-configuration failed due to not enough started members",
    ),
    errors.BadLeaderTransferee: (9, "etcdserver: bad leader transferee"),
    errors.NotLeader: (9, "etcdserver: not leader"),
    errors.NotSupportedForLearner: (14, "etcdserver: rpc not supported for learner"),
    errors.DowngradeVersionMalformed: (3, "etcdserver: wrong downgrade target version format"),
    errors.DowngradeTargetInvalid: (3, "etcdserver: invalid downgrade target version"),
    errors.NoInflightDowngrade: (9, "etcdserver: no inflight downgrade job"),
    errors.UnhealthyCluster: (14, "etcdserver: unhealthy cluster"),
    # Not in etcd's own table of codes (server/etcdserver/api/v3rpc/util.go): UNKNOWN then.
    errors.LeaderTransferTimeout: (
        2,
        "etcdserver: request timed out, leader transfer took too long",
    ),
    errors.RequestTooLarge: (3, "etcdserver: request is too large"),
    errors.TooManyRequests: (8, "etcdserver: too many requests"),
    errors.NoLeader: (14, "etcdserver: no leader"),
    errors.Stopped: (14, "etcdserver: server stopped"),
    errors.RequestTimeout: (14, "etcdserver: request timed out"),
    errors.RootUserNotFound: (9, "etcdserver: root user does not exist"),
    errors.RootRoleNotGranted: (9, "etcdserver: root user does not have root role"),
    errors.UserExists: (9, "etcdserver: user name already exists"),
    errors.UserEmpty: (3, "etcdserver: user name is empty"),
    errors.UserNotFound: (9, "etcdserver: user name not found"),
    errors.RoleExists: (9, "etcdserver: role name already exists"),
    errors.RoleNotFound: (9, "etcdserver: role name not found"),
    errors.RoleEmpty: (3, "etcdserver: role name is empty"),
    errors.AuthFailed: (
        3,
        "etcdserver: authentication failed, invalid user ID or password",
    ),
    errors.PermissionNotGiven: (3, "etcdserver: permission not given"),
    errors.PermissionDenied: (7, "etcdserver: permission denied"),
    errors.RoleNotGranted: (9, "etcdserver: role is not granted to the user"),
    errors.PermissionNotGranted: (9, "etcdserver: permission is not granted to the role"),
    errors.AuthNotEnabled: (9, "etcdserver: authentication is not enabled"),
    errors.InvalidAuthToken: (16, "etcdserver: invalid auth token"),
    errors.InvalidAuthManagement: (3, "etcdserver: invalid auth management"),
    errors.AuthOldRevision: (3, "etcdserver: revision of auth store is old"),
}


def test_every_text_of_etcd_is_compared() -> None:
    assert {kind for kind in all_errors() if kind.text.startswith("etcdserver: ")} == set(ETCD)


@pytest.mark.parametrize("kind", ETCD)
def test_etcd_clients_find_what_they_match(kind: type[errors.RegistryError]) -> None:
    status = error_status(kind())
    assert status is not None
    assert (status.code, status.message) == ETCD[kind]


def test_a_wrong_field_is_named_for_programs_too() -> None:
    status = error_status(errors.InvalidArgument("ports[0].number", "is 0"))
    assert status is not None
    (details,) = status.details
    assert details == BadRequest(
        field_violations=[{"field": "ports[0].number", "description": "is 0"}]
    )


def test_strangers_are_not_in_the_table() -> None:
    assert error_status(ValueError("x")) is None
