"""Conversion to the wire and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tianlu import (
    Health,
    Instance,
    InstanceStatus,
    Liveness,
    LoadBalancer,
    Override,
    Port,
    Service,
)
from tianlu._convert import (
    instance_from_proto,
    instance_to_proto,
    service_from_proto,
    service_to_proto,
    status_to_proto,
)
from tianlu._proto.v1 import model_pb2

TEXT = st.text(max_size=10)
REVISION = st.integers(0, 2**63 - 1)
PORTS = st.builds(Port, TEXT, st.integers(1, 65535), st.sampled_from(["http", "grpc"]))
INSTANCES = st.builds(
    Instance,
    namespace=TEXT,
    service=TEXT,
    id=TEXT,
    address=TEXT,
    ports=st.lists(PORTS, max_size=3).map(tuple),
    version=TEXT,
    weight=st.integers(0, 10_000),
    zone=TEXT,
    metadata=st.dictionaries(TEXT, TEXT, max_size=3),
    status=st.sampled_from(InstanceStatus),
    session_id=REVISION,
    registered_unix_ms=REVISION,
    override=st.none() | st.builds(Override, st.booleans(), TEXT, TEXT, REVISION, REVISION),
    health=st.builds(Health, st.sampled_from(Liveness), TEXT, REVISION),
    create_revision=REVISION,
    mod_revision=REVISION,
)


@given(INSTANCES)
def test_instances_survive_the_wire(instance: Instance):
    data = instance_to_proto(instance, joined=True).SerializeToString()
    assert instance_from_proto(model_pb2.Instance.FromString(data)) == instance


@given(INSTANCES)
def test_owners_do_not_send_what_the_registry_joins_in(instance: Instance):
    message = instance_to_proto(instance)
    assert not message.HasField("override")
    assert not message.HasField("health")
    assert message.mod_revision == message.create_revision == 0


@given(
    st.builds(
        Service,
        namespace=TEXT,
        name=TEXT,
        description=TEXT,
        owner=TEXT,
        load_balancer=st.sampled_from(LoadBalancer),
        metadata=st.dictionaries(TEXT, TEXT, max_size=3),
        create_revision=REVISION,
        mod_revision=REVISION,
    )
)
def test_services_survive_the_wire(service: Service):
    data = service_to_proto(service).SerializeToString()
    assert service_from_proto(model_pb2.Service.FromString(data)) == service


def test_enumerations_have_the_wires_order_and_names():
    for ours, theirs, prefix in (
        (InstanceStatus, model_pb2.InstanceStatus, "INSTANCE_STATUS_"),
        (Liveness, model_pb2.Liveness, "LIVENESS_"),
        (LoadBalancer, model_pb2.LoadBalancer, "LOAD_BALANCER_"),
    ):
        assert [f"{prefix}{one.name}" for one in ours] == list(theirs.keys())
        assert list(theirs.values()) == list(range(len(ours)))
    assert status_to_proto(InstanceStatus.UP) == model_pb2.INSTANCE_STATUS_UP


def test_numbers_of_a_newer_registry_are_unspecified():
    message = model_pb2.Instance()
    message.MergeFromString(b"\x50\x63")  # status = 99
    instance = instance_from_proto(message)
    assert instance.status is InstanceStatus.UNSPECIFIED
    assert instance.weight == 100
    assert not instance.serving


def test_authority_and_ports():
    instance = Instance("n", "s", "i", "fd00::1", (Port("http", 80), Port("rpc", 81, "grpc")))
    assert instance.authority() == "[fd00::1]:80"
    assert instance.port("rpc") == Port("rpc", 81, "grpc")
    assert instance.port("none") is None
