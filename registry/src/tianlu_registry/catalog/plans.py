"""Transactions on the store that the catalogue's writes are made of.

Each compares what its author believed with what is stored, and reads the truth in its else
branch, so that a wrong guess costs one more turn and never a wrong write.
"""

from __future__ import annotations

from collections.abc import Iterable

from tianlu._proto.etcd.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
    TxnResponse,
)
from tianlu._proto.v1.model_pb2 import Health, Instance, Override, Service
from tianlu_registry.catalog import keys
from tianlu_registry.catalog.holding import Holding
from tianlu_registry.catalog.keys import InstanceName, Kind

MARKS_MAX = 100
"""Instances marked in one transaction, which has at most 128 comparisons and operations each."""


def read_holding(name: InstanceName) -> TxnRequest:
    """Read an instance's own key and its status, at one revision."""
    return TxnRequest(success=_reads(name))


def holding_read(response: TxnResponse) -> Holding:
    """Return what `read_holding`, or the else branch of a plan, has read."""
    instance, status = (op.response_range.kvs for op in response.responses)
    return Holding.of_stored(
        instance[0] if instance else None,
        status[0] if status else None,
    )


def put_instance(
    name: InstanceName, held: Holding, owner: Instance, lease: int, *, alive: bool
) -> TxnRequest:
    """Store the owner's word, if the key is as `held` says.

    Args:
        owner: what `holding.owner_part` returns, or equal to it.
        lease: the session that holds it from now on.
        alive: the owner has just spoken, so what was suspected is over.
    """
    put = PutRequest(
        key=keys.instance_key(name), value=owner.SerializeToString(deterministic=True), lease=lease
    )
    success = [RequestOp(request_put=put)]
    if alive:
        success.append(_delete(keys.status_key(name)))
    compare = [_unchanged(name, held)]
    if held.suspect and lease != held.session_id:
        # A takeover rests on the mark: a session that came back meanwhile keeps its instance.
        compare.append(_at_revision(keys.status_key(name), held.status_revision))
    return TxnRequest(compare=compare, success=success, failure=_reads(name))


def confirm_instance(name: InstanceName, held: Holding) -> TxnRequest:
    """Change nothing; succeed if the key is as `held` says."""
    return TxnRequest(compare=[_unchanged(name, held)], failure=_reads(name))


def delete_instance(name: InstanceName, held: Holding) -> TxnRequest:
    """Remove an instance and what was found about it, if the key is as `held` says."""
    success = [_delete(keys.instance_key(name)), _delete(keys.status_key(name))]
    return TxnRequest(compare=[_unchanged(name, held)], success=success, failure=_reads(name))


def put_override(name: InstanceName, override: Override, mod_revision: int) -> TxnRequest:
    """Store an operator's decision, if the stored one is of `mod_revision` (0: there is none)."""
    key = keys.override_key(name)
    put = PutRequest(key=key, value=override.SerializeToString())
    return TxnRequest(
        compare=[_at_revision(key, mod_revision)],
        success=[RequestOp(request_put=put)],
        failure=[_range(key)],
    )


def delete_override(name: InstanceName, mod_revision: int) -> TxnRequest:
    """Remove an override of that revision whose instance is gone."""
    key = keys.override_key(name)
    return TxnRequest(
        compare=[_at_revision(key, mod_revision), _at_revision(keys.instance_key(name), 0)],
        success=[_delete(key)],
    )


def mark(session_id: int, findings: Iterable[tuple[InstanceName, Health]]) -> TxnRequest:
    """Store what was found about a session's instances, if each is still on its lease.

    Args:
        findings: at most `MARKS_MAX`.
    """
    request = TxnRequest()
    for name, health in findings:
        request.compare.add(
            key=keys.instance_key(name),
            target=Compare.LEASE,
            result=Compare.EQUAL,
            lease=session_id,
        )
        request.success.add(
            request_put=PutRequest(
                key=keys.status_key(name),
                value=health.SerializeToString(),
                lease=session_id,
            )
        )
    return request


def put_service(service: Service) -> PutRequest:
    """Store a description."""
    stored = Service()
    stored.CopyFrom(service)
    stored.ClearField("create_revision")
    stored.ClearField("mod_revision")
    return PutRequest(
        key=keys.service_key(service.namespace, service.name),
        value=stored.SerializeToString(deterministic=True),
    )


def delete_service(namespace: str, name: str) -> TxnRequest:
    """Remove a description and left-over overrides, if the service has no instance.

    Its responses, in both branches: the description's key with its previous value, or the count
    of instances.
    """
    key = keys.service_key(namespace, name)
    first, end = keys.of_service(Kind.INSTANCE, namespace, name)
    overrides, overrides_end = keys.of_service(Kind.OVERRIDE, namespace, name)
    # A comparison over a range holds for each of its keys, and for none if there are none.
    nothing = Compare(
        key=first,
        range_end=end,
        target=Compare.CREATE,
        result=Compare.EQUAL,
        create_revision=0,
    )
    return TxnRequest(
        compare=[nothing],
        success=[
            _delete(key),
            RequestOp(
                request_delete_range=DeleteRangeRequest(key=overrides, range_end=overrides_end)
            ),
        ],
        failure=[
            RequestOp(request_range=RangeRequest(key=first, range_end=end, count_only=True)),
        ],
    )


def _unchanged(name: InstanceName, held: Holding) -> Compare:
    return _at_revision(keys.instance_key(name), held.mod_revision)


def _at_revision(key: bytes, mod_revision: int) -> Compare:
    return Compare(key=key, target=Compare.MOD, result=Compare.EQUAL, mod_revision=mod_revision)


def _reads(name: InstanceName) -> list[RequestOp]:
    return [_range(keys.instance_key(name)), _range(keys.status_key(name))]


def _range(key: bytes) -> RequestOp:
    return RequestOp(request_range=RangeRequest(key=key))


def _delete(key: bytes) -> RequestOp:
    return RequestOp(request_delete_range=DeleteRangeRequest(key=key))
