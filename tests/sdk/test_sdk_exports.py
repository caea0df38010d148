"""The public surface: pinned, documented, quick to import."""

from __future__ import annotations

import dataclasses
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import tianlu
from tianlu import _errors

ROOT = Path(__file__).resolve().parents[2]

EXPORTS = [
    "Access",
    "Applied",
    "AsyncAuth",
    "AsyncClient",
    "AsyncKv",
    "AsyncMirror",
    "AsyncRegistration",
    "AsyncTransport",
    "Auth",
    "AuthStatus",
    "CatalogView",
    "Change",
    "ChangeKind",
    "Client",
    "ClientClosed",
    "ClientStatus",
    "Compacted",
    "Conflict",
    "DeadlinePassed",
    "Discovery",
    "Health",
    "HostSnapshot",
    "Instance",
    "InstanceStatus",
    "InvalidInput",
    "KeyChange",
    "KeyRange",
    "KeyValue",
    "Kv",
    "Lease",
    "LimitReached",
    "Listing",
    "Liveness",
    "LoadBalancer",
    "Mirror",
    "NoInstance",
    "NotAllowed",
    "NotFound",
    "OutcomeUnknown",
    "Override",
    "Permission",
    "PermissionDenied",
    "Port",
    "ProtocolError",
    "Registration",
    "Rung",
    "Service",
    "ServiceKey",
    "ServiceSummary",
    "ServiceView",
    "SessionLost",
    "Subscriber",
    "TianluError",
    "Transport",
    "TxnResult",
    "Unauthenticated",
    "Unavailable",
    "__version__",
]


def test_exports_are_these_and_no_others():
    assert sorted(tianlu.__all__) == sorted(EXPORTS)
    assert set(EXPORTS) <= set(dir(tianlu))
    with pytest.raises(AttributeError, match="nonsense"):
        _ = tianlu.nonsense


@pytest.mark.parametrize("name", [one for one in EXPORTS if one != "__version__"])
def test_every_export_and_its_methods_are_documented(name: str):
    exported = getattr(tianlu, name)
    assert inspect.getdoc(exported)
    if exported.__module__.startswith("tianlu._"):
        for method, found in vars(exported).items():
            if not method.startswith("_") and (callable(found) or isinstance(found, property)):
                assert inspect.getdoc(found), f"{name}.{method}"


@pytest.mark.parametrize("name", [one for one in EXPORTS if one != "__version__"])
def test_every_export_stands_in_the_guide(name: str):
    assert re.search(rf"`{name}\b", (ROOT / "docs/sdk.md").read_text())


def test_values_are_frozen_and_slotted():
    for name in EXPORTS:
        exported = getattr(tianlu, name)
        if dataclasses.is_dataclass(exported):
            assert exported.__dataclass_params__.frozen, name  # type: ignore[attr-defined]
            assert "__slots__" in vars(exported), name


def test_import_loads_nothing_heavy():
    script = (
        "import sys, tianlu\n"
        "heavy = {'grpc', 'google.protobuf', 'httpx', 'lmdb', 'asyncio', 'typer'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
        "tianlu.AsyncClient, tianlu.Client, tianlu.HostSnapshot\n"
        "print(sorted({'grpc', 'httpx', 'lmdb'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stdout.decode().splitlines() == ["[]", "[]"]


def test_errors_table_is_total_and_every_class_is_reached():
    import grpc

    reached = set()
    for code in grpc.StatusCode:
        if code is grpc.StatusCode.OK:
            continue
        error = _errors.from_rpc(code.name, "text", endpoint="e:1")
        assert isinstance(error, tianlu.TianluError)
        assert "text" in str(error)
        reached.add(type(error))
    local = {
        _errors.TianluError,
        _errors.NoInstance,
        _errors.NotAllowed,
        _errors.OutcomeUnknown,
        _errors.SessionLost,
        _errors.ClientClosed,
    }
    every = {one for one in vars(_errors).values() if inspect.isclass(one)}
    assert reached | local == {one for one in every if issubclass(one, tianlu.TianluError)}


@pytest.mark.parametrize(
    ("details", "field"),
    [
        ("instance.ports[0].number: 0 is not within 1 to 65535", "instance.ports[0].number"),
        ("instance.metadata[a]: is 5000 bytes", "instance.metadata[a]"),
        ("etcdserver: key is not provided", ""),
        ("tianlu: something", ""),
        ("no field here", ""),
    ],
)
def test_invalid_input_names_the_field(details: str, field: str):
    error = _errors.from_rpc("INVALID_ARGUMENT", details, endpoint="e:1")
    assert isinstance(error, tianlu.InvalidInput)
    assert error.field == field
    assert str(error) == details
