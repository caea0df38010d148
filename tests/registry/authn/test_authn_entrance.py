"""Whoever calls is asked, whatever he calls for: a real node behind the guard."""

from __future__ import annotations

import asyncio
import inspect
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from registry.authn.entrances import calling, entrance_of, furnish, guarded, log_in
from registry.node.clusters import members
from registry.node.nodes import running, small

from tianlu._proto.etcd import auth_pb2 as auth_pb
from tianlu._proto.etcd import rpc_pb2 as pb
from tianlu._proto.v1.catalog_pb2 import DESCRIPTOR as CATALOG
from tianlu_registry import errors
from tianlu_registry.auth import ROOT, AuthCommand, Claim
from tianlu_registry.authn.entrance import Entrance
from tianlu_registry.authn.guarded_cluster import GuardedCluster
from tianlu_registry.authn.guarded_methods import (
    CATALOG_KEYS,
    CATALOG_RULES,
    MAINTENANCE_RULES,
    guarded_methods,
)
from tianlu_registry.authn.guarded_store import GuardedStore
from tianlu_registry.engine.cluster import Cluster
from tianlu_registry.engine.embedded import EmbeddedNode
from tianlu_registry.engine.embedded_auth import EmbeddedAuth
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import (
    AuthFailed,
    AuthNotEnabled,
    AuthOldRevision,
    InvalidAuthToken,
    NoPasswordUser,
    PermissionDenied,
    UserEmpty,
)
from tianlu_registry.mvcc.types import WatchBatch, WatchSpec


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[EmbeddedNode]:
    async with running(small(tmp_path)) as made:
        yield made


@pytest.fixture
async def entrance(node: EmbeddedNode) -> AsyncIterator[Entrance]:
    made = entrance_of(node)
    await furnish(made)
    yield made
    made.close()


class Sink:
    """Where a watch's news go."""

    def __init__(self) -> None:
        self.events = 0
        self.error: Exception | None = None

    def deliver(self, batch: WatchBatch) -> bool:
        self.events += len(batch.events)
        return True

    def ended(self, error: Exception) -> None:
        self.error = error


Act = Callable[[Entrance], Awaitable[object]]


async def _watch(entrance: Entrance, spec: WatchSpec) -> None:
    await entrance.store.check_watch(spec)
    entrance.store.watch(spec, Sink()).cancel()


async def _snapshot(entrance: Entrance) -> None:
    async for _ in entrance.cluster.snapshot():
        pass


async def _stream(entrance: Entrance, key: bytes) -> None:
    async for _ in entrance.store.range_stream(pb.RangeRequest(key=key)):
        pass


SERIALIZABLE = pb.RangeRequest(key=b"r/a", serializable=True)
FOR_ANN: list[Act] = [
    lambda to: to.store.put(pb.PutRequest(key=b"w/a")),
    lambda to: to.store.range(pb.RangeRequest(key=b"r/", range_end=b"r0")),
    lambda to: to.store.range(SERIALIZABLE),
    lambda to: to.store.delete_range(pb.DeleteRangeRequest(key=b"w/a")),
    lambda to: to.store.txn(pb.TxnRequest(compare=[pb.Compare(key=b"r/a")])),
    lambda to: to.store.txn(
        pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=b"w/a"))])
    ),
    lambda to: to.store.compact(pb.CompactionRequest(revision=2)),
    lambda to: to.store.lease_grant(pb.LeaseGrantRequest(TTL=60)),
    lambda to: to.store.lease_time_to_live(pb.LeaseTimeToLiveRequest(ID=5, keys=True)),
    lambda to: to.store.lease_leases(),
    lambda to: _watch(to, WatchSpec(b"r/", b"r0")),
    lambda to: _status(to),
    lambda to: to.cluster.alarm(pb.AlarmRequest()),
    lambda to: to.store.range_encoded(SERIALIZABLE),
    lambda to: _stream(to, b"r/a"),
    lambda to: to.administration.roles_of("ann"),
    lambda to: to.administration.permissions_of("role"),
]
FOR_ROOT: list[Act] = [
    lambda to: to.store.put(pb.PutRequest(key=b"r/a")),
    lambda to: to.store.range(pb.RangeRequest(key=b"w/a")),
    lambda to: to.store.range_encoded(pb.RangeRequest(key=b"w/a")),
    lambda to: _stream(to, b"w/a"),
    lambda to: to.store.range(pb.RangeRequest(key=b"r/", range_end=b"\0")),
    lambda to: to.store.delete_range(pb.DeleteRangeRequest(key=b"r/a")),
    lambda to: to.store.txn(pb.TxnRequest(compare=[pb.Compare(key=b"w/a")])),
    lambda to: to.store.txn(
        pb.TxnRequest(success=[pb.RequestOp(request_put=pb.PutRequest(key=b"x"))])
    ),
    lambda to: _watch(to, WatchSpec(b"\0", b"\0")),
    lambda to: to.cluster.hash(),
    lambda to: to.cluster.hash_kv(pb.HashKVRequest()),
    lambda to: _snapshot(to),
    lambda to: to.cluster.alarm(pb.AlarmRequest(action=pb.AlarmRequest.DEACTIVATE)),
    lambda to: to.administration.users(),
    lambda to: to.administration.roles(),
    lambda to: to.administration.roles_of(ROOT),
    lambda to: to.administration.add_user(pb.AuthUserAddRequest(name="new", password="x")),
    lambda to: to.administration.change(
        AuthCommand.ROLE_ADD, pb.AuthRoleAddRequest(name="another")
    ),
]


async def _status(entrance: Entrance) -> object:
    return entrance.store.status()


async def test_everybody_gets_what_is_his(entrance: Entrance) -> None:
    """One node for all of it: starting one takes longer than asking it everything."""
    for act in [*FOR_ANN, *FOR_ROOT]:
        with pytest.raises(UserEmpty):
            await act(entrance)
        with calling("made-up"), pytest.raises(InvalidAuthToken):
            await act(entrance)
    ann, root = await log_in(entrance, "ann"), await log_in(entrance, ROOT)
    with calling(ann):
        for act in FOR_ROOT:
            with pytest.raises(PermissionDenied):
                await act(entrance)
        for act in FOR_ANN:
            await act(entrance)
    with calling(root):
        for act in [*FOR_ANN[:-2], *FOR_ROOT]:
            try:
                await act(entrance)
            except errors.Compacted:
                assert act is FOR_ANN[6]


async def test_leases_are_guarded_by_their_keys(entrance: Entrance) -> None:
    ann, root = await log_in(entrance, "ann"), await log_in(entrance, ROOT)
    with calling(root):
        for lease, key in ((1, b"w/1"), (2, b"r/1"), (3, b"b/1")):
            await entrance.store.lease_grant(pb.LeaseGrantRequest(TTL=60, ID=lease))
            await entrance.store.put(pb.PutRequest(key=key, lease=lease))
    store = entrance.store
    with calling(ann):
        for lease in (3, 1):  # the key ends on lease 1
            await store.lease_keep_alive(lease)
            await store.put(pb.PutRequest(key=b"w/2", lease=lease))
        for lease in (2, 3):
            await store.lease_time_to_live(pb.LeaseTimeToLiveRequest(ID=lease, keys=True))
        await store.lease_time_to_live(pb.LeaseTimeToLiveRequest(ID=1))
        denied: list[Awaitable[object]] = [
            store.lease_keep_alive(2),
            store.lease_keep_alives([1, 2]),
            store.lease_revoke(pb.LeaseRevokeRequest(ID=2)),
            store.put(pb.PutRequest(key=b"w/2", lease=2)),
            store.lease_time_to_live(pb.LeaseTimeToLiveRequest(ID=1, keys=True)),
            store.lease_leases(),
        ]
        for each in denied:
            with pytest.raises(PermissionDenied):
                await each
        await store.lease_revoke(pb.LeaseRevokeRequest(ID=3))


async def test_logging_in(entrance: Entrance) -> None:
    administration = entrance.administration
    for user, password in (("ann", "bob's"), ("ann", ""), ("none", "x"), ("ann", "x" * 5000)):
        with pytest.raises(AuthFailed):
            await administration.log_in(user, password)
    with calling(await log_in(entrance, ROOT)):
        options = {"no_password": True}
        await administration.add_user(pb.AuthUserAddRequest(name="bare", options=options))  # type: ignore[arg-type]
        with pytest.raises(NoPasswordUser):
            await administration.log_in("bare", "")
        await administration.change(AuthCommand.DISABLE, pb.AuthDisableRequest())
    with pytest.raises(AuthNotEnabled):
        await log_in(entrance, "ann")
    await entrance.store.put(pb.PutRequest(key=b"r/a"))


async def test_tokens_end_with_password_user_and_authentication(entrance: Entrance) -> None:
    administration, read = entrance.administration, pb.RangeRequest(key=b"r/a")
    ann, bob = await log_in(entrance, "ann"), await log_in(entrance, "bob")
    root = await log_in(entrance, ROOT)
    with calling(root):
        await administration.change_password(
            pb.AuthUserChangePasswordRequest(name="ann", password="new")
        )
    with calling(ann), pytest.raises(InvalidAuthToken):
        await entrance.store.range(read)
    with calling(bob):
        await entrance.store.range(read)
    with calling(await administration.log_in("ann", "new")):
        await entrance.store.range(read)
    with calling(root):
        await administration.change(AuthCommand.USER_DELETE, pb.AuthUserDeleteRequest(name="bob"))
        await administration.change(AuthCommand.DISABLE, pb.AuthDisableRequest())
        await administration.change(AuthCommand.ENABLE, pb.AuthEnableRequest())
    for token in (bob, root):
        with calling(token), pytest.raises(InvalidAuthToken):
            await entrance.store.range(read)


async def test_a_write_is_judged_where_it_is_applied(tmp_path: Path) -> None:
    """However it got past the guard: what counts is its place in the log."""
    async with running(small(tmp_path)) as node:
        entrance = entrance_of(node)
        await furnish(entrance)
        auth = node.node.machine.auth
        seam = EmbeddedAuth(node.node)
        put = pb.PutRequest(key=b"w/a")
        await seam.claiming(Claim("ann", auth.revision)).put(put)
        with pytest.raises(AuthOldRevision):
            await seam.claiming(Claim("ann", auth.revision - 1)).put(put)
        with pytest.raises(PermissionDenied):
            await seam.claiming(Claim("ann", auth.revision)).put(pb.PutRequest(key=b"r/a"))
        with pytest.raises(UserEmpty):
            await seam.claiming(Claim("", 0)).put(put)
        with pytest.raises(PermissionDenied):
            await seam.change_auth(
                AuthCommand.DISABLE, pb.AuthDisableRequest(), Claim("ann", auth.revision)
            )
        await node.store.put(pb.PutRequest(key=b"own"))  # the node itself asks nobody
        entrance.close()


async def test_a_watch_ends_with_its_permission(entrance: Entrance) -> None:
    ann, root = await log_in(entrance, "ann"), await log_in(entrance, ROOT)
    hers, roots = Sink(), Sink()
    with calling(ann):
        entrance.store.watch(WatchSpec(b"r/", b"r0"), hers)
    with calling(root):
        running_on = entrance.store.watch(WatchSpec(b"r/", b"r0"), roots)
        await entrance.store.put(pb.PutRequest(key=b"r/a"))
        assert (hers.events, roots.events) == (1, 1)
        await entrance.administration.change(
            AuthCommand.USER_REVOKE_ROLE, pb.AuthUserRevokeRoleRequest(name="ann", role="role")
        )
        await entrance.store.put(pb.PutRequest(key=b"r/b"))
    assert isinstance(hers.error, PermissionDenied)
    assert (hers.events, roots.events, roots.error) == (1, 2, None)
    running_on.cancel()
    running_on.cancel()
    assert not entrance.store._watches


async def test_users_and_passwords_survive_a_restart(tmp_path: Path) -> None:
    async with guarded(tmp_path) as entrance:
        token = await log_in(entrance, "ann")
    async with running(small(tmp_path)) as node:
        entrance = entrance_of(node)
        with calling(token), pytest.raises(InvalidAuthToken):
            await entrance.store.range(pb.RangeRequest(key=b"r/a"))
        with calling(await log_in(entrance, "ann")):
            await entrance.store.range(pb.RangeRequest(key=b"r/a"))
        entrance.close()


async def test_no_secret_is_in_the_data_directory(tmp_path: Path) -> None:
    async with guarded(tmp_path) as entrance:
        token = await log_in(entrance, "ann")
    stored = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"ann" in stored
    assert b"$argon2id$" in stored
    assert b"ann's" not in stored
    assert token.encode() not in stored


async def test_a_certificate_counts_if_the_listener_verifies_it(tmp_path: Path) -> None:
    put, certificate = pb.PutRequest(key=b"w/a"), 'Subject="CN=ann,O=Shop"'
    async with guarded(tmp_path / "verified", client_certificates=True) as entrance:
        with calling(certificate=certificate):
            await entrance.store.put(put)
        root = await log_in(entrance, ROOT)
        with calling(root, certificate=certificate):  # the token goes first
            await entrance.administration.users()
    async with guarded(tmp_path / "unverified") as entrance:
        with calling(certificate=certificate), pytest.raises(UserEmpty):
            await entrance.store.put(put)


async def test_a_token_counts_on_every_member(tmp_path: Path) -> None:
    async with members("abc") as cluster:
        await cluster.wait_leader()
        entrances = [entrance_of(cluster[name]) for name in "abc"]
        await furnish(entrances[0])
        for one, other in itertools.pairwise(entrances):
            with calling(await log_in(one, "ann")):
                await other.store.put(pb.PutRequest(key=b"w/a"))
                with pytest.raises(PermissionDenied):
                    await other.store.put(pb.PutRequest(key=b"r/a"))
        await cluster.wait_equal()
        hashes = {node.node.machine.auth.revision for node in cluster.running.values()}
        assert len(hashes) == 1
        for entrance in entrances:
            entrance.close()


class Catalog:
    """As much of a servicer as the wrapper needs."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def Discover(self, request: object, context: object) -> str:
        self.asked.append("Discover")
        return "found"

    async def Watch(self, request: object, context: object) -> AsyncIterator[str]:
        self.asked.append("Watch")
        yield "one"

    async def Added(self, request: object, context: object) -> str:
        return "later"


async def test_a_stream_of_keys_ends_when_users_change(entrance: Entrance) -> None:
    """What was read after that was not read under the claim."""
    root, ann = await log_in(entrance, ROOT), await log_in(entrance, "ann")
    with calling(root):
        for number in range(30):
            await entrance.store.put(pb.PutRequest(key=b"r/%02d" % number))
    with calling(ann):
        pieces = entrance.store.range_stream(pb.RangeRequest(key=b"r/", range_end=b"r0"))
        assert (await anext(pieces)).kvs
    with calling(root):
        await entrance.administration.change(
            AuthCommand.ROLE_ADD, pb.AuthRoleAddRequest(name="another")
        )
    with calling(ann), pytest.raises(AuthOldRevision):
        await anext(pieces)


class Overtaken:
    """A store whose every answer is overtaken by something."""

    def __init__(self, store: Store, overtaking: Callable[[], Awaitable[object]]) -> None:
        self._store = store
        self._overtaking = overtaking

    def __getattr__(self, name: str) -> Callable[..., Awaitable[object]]:
        async def overtaken(*arguments: object) -> object:
            answer = await getattr(self._store, name)(*arguments)
            await self._overtaking()
            return answer

        return overtaken

    async def range_stream(self, request: pb.RangeRequest) -> AsyncIterator[pb.RangeResponse]:
        async for piece in self._store.range_stream(request):
            await self._overtaking()
            yield piece


_RANGE = pb.RangeRequest(key=b"r/a")


@pytest.mark.parametrize(
    "read",
    [
        lambda store: store.range(_RANGE),
        lambda store: store.range_encoded(_RANGE),
        lambda store: anext(store.range_stream(_RANGE)),
        lambda store: store.txn(pb.TxnRequest(success=[pb.RequestOp(request_range=_RANGE)])),
        lambda store: store.lease_time_to_live(pb.LeaseTimeToLiveRequest(ID=1, keys=True)),
        lambda store: store.lease_leases(),
    ],
)
async def test_what_is_read_while_authentication_is_switched_on_is_kept_back(
    entrance: Entrance, node: EmbeddedNode, read: Callable[[Store], Awaitable[object]]
) -> None:
    """Nobody was asked before, and who would not be answered now must not be."""
    engine, switch = EmbeddedAuth(node.node), AuthCommand

    async def switched(kind: AuthCommand, request: Any) -> None:
        await engine.change_auth(kind, request, Claim(ROOT, engine.auth.revision))

    on = partial(switched, switch.ENABLE, pb.AuthEnableRequest())
    overtaken = GuardedStore(Overtaken(node.store, on), engine, entrance.guard)  # type: ignore[arg-type]
    await switched(switch.DISABLE, pb.AuthDisableRequest())
    with pytest.raises(AuthOldRevision):
        await read(overtaken)


async def test_methods_without_a_rule_are_roots(entrance: Entrance) -> None:
    servicer = Catalog()
    wrapped: Any = guarded_methods(servicer, entrance.guard, CATALOG_RULES)
    with calling(await log_in(entrance, "ann")):
        for call in (wrapped.Discover, wrapped.Added):
            with pytest.raises(PermissionDenied):
                await call(None, None)
        with pytest.raises(PermissionDenied):
            await anext(wrapped.Watch(None, None))
    assert not servicer.asked
    with calling(await log_in(entrance, ROOT)):
        assert await wrapped.Discover(None, None) == "found"
        assert await wrapped.Added(None, None) == "later"
        assert [each async for each in wrapped.Watch(None, None)] == ["one"]
    assert wrapped.asked == ["Discover", "Watch"]


class Call:
    """A call that notes what ended it."""

    def __init__(self) -> None:
        self.ended_by: Exception | None = None

    def abort(self, error: Exception) -> None:
        self.ended_by = error


async def test_a_stream_ends_with_the_permission_for_it(entrance: Entrance) -> None:
    change = entrance.administration.change
    catalogue = auth_pb.Permission(
        permType=auth_pb.Permission.READ, key=CATALOG_KEYS[0], range_end=CATALOG_KEYS[1]
    )
    wrapped: Any = guarded_methods(Catalog(), entrance.guard, CATALOG_RULES)
    anns, roots, over = Call(), Call(), Call()
    with calling(await log_in(entrance, ROOT)):
        await change(
            AuthCommand.ROLE_GRANT_PERMISSION,
            pb.AuthRoleGrantPermissionRequest(name="role", perm=catalogue),
        )
        kept = wrapped.Watch(None, roots)
        assert await anext(kept) == "one"
    with calling(await log_in(entrance, "ann")):
        lost = wrapped.Watch(None, anns)
        assert await anext(lost) == "one"
        assert [each async for each in wrapped.Watch(None, over)] == ["one"]
    with calling(await log_in(entrance, ROOT)):
        await change(
            AuthCommand.USER_REVOKE_ROLE, pb.AuthUserRevokeRoleRequest(name="ann", role="role")
        )
    assert isinstance(anns.ended_by, PermissionDenied)
    assert roots.ended_by is over.ended_by is None
    await kept.aclose()
    await lost.aclose()


def test_every_method_has_a_rule() -> None:
    services = {
        "Catalog": (CATALOG.services_by_name["Catalog"], CATALOG_RULES),
        "Maintenance": (pb.DESCRIPTOR.services_by_name["Maintenance"], MAINTENANCE_RULES),
    }
    for service, rules in services.values():
        assert {method.name for method in service.methods} == set(rules)


@pytest.mark.parametrize(
    ("seam", "guarded_one"), [(Store, GuardedStore), (Cluster, GuardedCluster)]
)
def test_every_operation_is_guarded(seam: type, guarded_one: type) -> None:
    """What a seam grows is missing here until somebody has thought about who may use it."""
    operations = {
        name for name, _ in inspect.getmembers(seam, inspect.isfunction) if name[0] != "_"
    }
    assert operations <= set(vars(guarded_one))


async def test_calls_at_once_are_kept_apart(entrance: Entrance) -> None:
    ann, root = await log_in(entrance, "ann"), await log_in(entrance, ROOT)

    async def call(token: str) -> bool:
        with calling(token):
            try:
                await entrance.store.put(pb.PutRequest(key=b"r/x"))
            except PermissionDenied:
                return False
            return True

    outcomes = await asyncio.gather(*(call(token) for token in (ann, root) * 20))
    assert outcomes == [False, True] * 20
