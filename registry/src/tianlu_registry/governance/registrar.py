"""Writes to the catalogue: checked requests become transactions on the store.

Each write guesses from the view what is stored, sends a transaction that compares the guess, and
on a miss goes on with what the transaction read. A refusal is never given on a guess alone. The
answer waits until this node's view shows the write, so that a caller reads its own writes here.
"""

from __future__ import annotations

from collections.abc import Callable

from tianlu._proto.etcd.rpc_pb2 import TxnRequest
from tianlu._proto.v1.catalog_pb2 import (
    DeleteServiceRequest,
    DeregisterRequest,
    OverrideInstanceRequest,
    RegisterRequest,
    UpdateInstanceRequest,
)
from tianlu._proto.v1.model_pb2 import Instance, Override, Service
from tianlu_registry.catalog import changes, plans, validate
from tianlu_registry.catalog.entries import InstanceEntry
from tianlu_registry.catalog.holding import Holding, owner_part, shown
from tianlu_registry.catalog.keys import InstanceName
from tianlu_registry.engine.store import Store
from tianlu_registry.errors import (
    Conflict,
    InputError,
    InstanceNotFound,
    InvalidArgument,
    LeaseNotFound,
    ServiceNotFound,
    SessionNotFound,
    Unavailable,
)
from tianlu_registry.governance.feed import ViewFeed
from tianlu_registry.governance.wallclock import now_ms

_ATTEMPTS_MAX = 16
_SHOWN_WAIT_SECONDS = 2.0

Plan = Callable[[Holding], TxnRequest | None]
"""Says what to do about an instance as it is held; None: it is already as it should be."""


class Registrar:
    """Carries out the writing requests of the catalogue's API.

    Every method returns what was written and the revision at which it stands.

    Raises (all): `InvalidArgument` for a field, `Conflict`, `NotFound` as named, and what the
    store raises.
    """

    def __init__(self, store: Store, feed: ViewFeed) -> None:
        self._store = store
        self._feed = feed

    async def register(self, request: RegisterRequest) -> tuple[Instance, int]:
        """Register an instance on a session, or say its state anew.

        Raises:
            SessionNotFound: the session has ended.
            Conflict: another live session holds the instance.
        """
        validate.session_id("session_id", request.session_id)
        validate.instance(request.instance)
        session_id = request.session_id
        name = _name_of(request.instance)

        def plan(held: Holding) -> TxnRequest | None:
            held.check_registrable(name, session_id)
            same_session = held.session_id == session_id
            owner = changes.registered(
                owner_part(request.instance), held.owner if same_session else None, now_ms()
            )
            if same_session and owner == held.owner and not held.suspect:
                return None
            return plans.put_instance(name, held, owner, session_id, alive=True)

        try:
            _, revision = await self._write(name, plan)
        except LeaseNotFound as error:
            raise SessionNotFound from error
        return await self._shown(name, revision, request.instance)

    async def deregister(self, request: DeregisterRequest) -> int:
        """Remove an instance.

        Raises:
            InstanceNotFound: there is none.
            Conflict: another session than the asking one holds it.
        """
        name = InstanceName(request.namespace, request.service, request.id)
        validate.instance_name(name)

        def plan(held: Holding) -> TxnRequest:
            _check_present(name, held)
            held.check_owner(name, request.session_id)
            return plans.delete_instance(name, held)

        _, revision = await self._write(name, plan)
        await self._wait_shown(revision)
        return revision

    async def update_instance(self, request: UpdateInstanceRequest) -> tuple[Instance, int]:
        """Change what an instance's owner says.

        Raises:
            InstanceNotFound: there is none.
            Conflict: another session than the asking one holds it.
        """
        name = InstanceName(request.namespace, request.service, request.id)
        validate.instance_name(name)
        validate.status("status", request.status)
        validate.weight("weight", request.weight)
        validate.metadata("metadata", request.metadata)

        def plan(held: Holding) -> TxnRequest | None:
            owner = _check_present(name, held)
            held.check_owner(name, request.session_id)
            changed = changes.updated(owner, request)
            validate.metadata("metadata", changed.metadata)
            if changed == owner:
                return None
            return plans.put_instance(name, held, changed, held.session_id, alive=False)

        try:
            held, revision = await self._write(name, plan)
        except LeaseNotFound as error:  # its session ended a moment ago, and it with it
            raise _unknown_instance(name) from error
        return await self._shown(name, revision, held.owner)

    async def override_instance(self, request: OverrideInstanceRequest) -> tuple[Instance, int]:
        """Isolate or restore an instance.

        Raises:
            InstanceNotFound: there is neither the instance nor an override of it.
        """
        name = InstanceName(request.namespace, request.service, request.id)
        validate.instance_name(name)
        validate.reason("reason", request.reason, needed=request.isolated)
        validate.text("actor", request.actor, validate.PEOPLE_BYTES_MAX)
        now = now_ms()
        if request.isolated and request.expires_unix_ms and request.expires_unix_ms <= now:
            raise InvalidArgument("expires_unix_ms", "is in the past")
        if request.expires_unix_ms < 0:
            raise InvalidArgument("expires_unix_ms", "must not be negative")
        override = changes.decided(request, now)
        entry = await self._entry(name)
        revision = await self._put_override(name, override, entry.override_revision)
        await self._wait_shown(revision)
        after = self._feed.view.entry(name)
        return (after or entry).message(), revision

    async def put_service(self, service: Service) -> tuple[Service, int]:
        """Describe a service, whether or not it has instances."""
        validate.service(service)
        revision = (await self._store.put(plans.put_service(service))).header.revision
        await self._wait_shown(revision)
        snapshot = self._feed.view.service(service.namespace, service.name)
        return (snapshot.service if snapshot is not None else service), revision

    async def delete_service(self, request: DeleteServiceRequest) -> int:
        """Remove a service's description.

        Raises:
            Conflict: it has instances; they would keep it alive without its description.
            ServiceNotFound: there is no description.
        """
        validate.namespace("namespace", request.namespace)
        validate.service_name("name", request.name)
        plan = plans.delete_service(request.namespace, request.name)
        response = await self._store.txn(plan)
        if not response.succeeded:
            count = response.responses[0].response_range.count
            raise Conflict(
                f"service {request.name} in namespace {request.namespace} has {count} "
                "instances; they must leave first"
            )
        if not response.responses[0].response_delete_range.deleted:
            raise unknown_service(request.namespace, request.name)
        await self._wait_shown(response.header.revision)
        return response.header.revision

    # Private

    async def _write(self, name: InstanceName, plan: Plan) -> tuple[Holding, int]:
        """Carry out what `plan` says until its comparison holds.

        Returns:
            the holding that it was planned for, and the revision at which it is so.
        """
        await self._feed.wait_ready()
        held = Holding.of_entry(self._feed.view.entry(name))
        certain = False
        for _ in range(_ATTEMPTS_MAX):
            try:
                request = plan(held)
            except InputError:
                if certain:
                    raise
                held, certain = (
                    plans.holding_read(await self._store.txn(plans.read_holding(name))),
                    True,
                )
                continue
            response = await self._store.txn(request or plans.confirm_instance(name, held))
            if response.succeeded:
                return held, response.header.revision if request else held.mod_revision
            held, certain = plans.holding_read(response), True
        raise Unavailable(f"tianlu: instance {shown(name)} keeps changing; try again")

    async def _shown(
        self, name: InstanceName, revision: int, written: Instance | None
    ) -> tuple[Instance, int]:
        """Return the joined instance as of `revision` or later; if it has left again meanwhile,
        or the view is slow, the owner's part."""
        await self._wait_shown(revision)
        instance = self._feed.view.instance(name) or written
        return instance or Instance(namespace=name.namespace, service=name.service, id=name.id), (
            revision
        )

    async def _wait_shown(self, revision: int) -> None:
        """Wait for the view; a slow view does not undo the write, so it is no error."""
        try:
            await self._feed.wait_revision(revision, _SHOWN_WAIT_SECONDS)
        except Unavailable:
            return

    async def _entry(self, name: InstanceName) -> InstanceEntry:
        """Return what the view knows of an instance; if nothing, look again at the newest."""
        await self._feed.wait_ready()
        entry = self._feed.view.entry(name)
        if entry is None:
            read = await self._store.txn(plans.read_holding(name))
            await self._feed.wait_revision(read.header.revision)
            entry = self._feed.view.entry(name)
        if entry is None:
            raise _unknown_instance(name)
        return entry

    async def _put_override(self, name: InstanceName, override: Override, revision: int) -> int:
        for _ in range(_ATTEMPTS_MAX):
            response = await self._store.txn(plans.put_override(name, override, revision))
            if response.succeeded:
                return response.header.revision
            stored = response.responses[0].response_range.kvs
            revision = stored[0].mod_revision if stored else 0
        raise Unavailable(f"tianlu: instance {shown(name)} keeps changing; try again")


def unknown_service(namespace: str, name: str) -> ServiceNotFound:
    """Return the error that names a service which is not there."""
    return ServiceNotFound(f"service {name} in namespace {namespace} is not registered")


def _unknown_instance(name: InstanceName) -> InstanceNotFound:
    return InstanceNotFound(f"instance {shown(name)} is not registered")


def _check_present(name: InstanceName, held: Holding) -> Instance:
    if held.owner is None:
        raise _unknown_instance(name)
    return held.owner


def _name_of(instance: Instance) -> InstanceName:
    return InstanceName(instance.namespace, instance.service, instance.id)
