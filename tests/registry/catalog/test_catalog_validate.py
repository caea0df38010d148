"""Every rule for what may be written, with the field that its error names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from registry.catalog.catalog_fakes import instance

from tianlu._proto.v1.model_pb2 import Instance, Port, Service
from tianlu_registry.catalog import keys, validate
from tianlu_registry.catalog.keys import InstanceName, Kind
from tianlu_registry.errors import InvalidArgument


def _changed(**more) -> Instance:
    return instance("default", **more)


def _ports(*ports: Port) -> Instance:
    made = _changed()
    del made.ports[:]
    made.ports.extend(ports)
    return made


HTTP = Port(name="http", number=80, protocol="http")

BAD_INSTANCES = [
    ("instance.namespace", instance("")),
    ("instance.namespace", instance("Default")),
    ("instance.namespace", instance("a" * 64)),
    ("instance.namespace", instance("a/b")),
    ("instance.namespace", instance("-a")),
    ("instance.namespace", instance("a.b")),
    ("instance.service", instance("default", "")),
    ("instance.service", instance("default", "orders_1")),
    ("instance.service", instance("default", "orders-")),
    ("instance.id", instance("default", id_="")),
    ("instance.id", instance("default", id_="a/b")),
    ("instance.id", instance("default", id_=".hidden")),
    ("instance.id", instance("default", id_="ä")),
    ("instance.id", instance("default", id_="a" * 129)),
    ("instance.address", _changed(address="")),
    ("instance.address", _changed(address="0.0.0.0")),
    ("instance.address", _changed(address="::")),
    ("instance.address", _changed(address="10.0.0.1:80")),
    ("instance.address", _changed(address="http://host")),
    ("instance.address", _changed(address="10.0.0.256")),
    ("instance.address", _changed(address="fe80::1%eth0")),
    ("instance.address", _changed(address="a b")),
    ("instance.address", _changed(address="-a.example")),
    ("instance.address", _changed(address="a" * 254)),
    ("instance.ports", _ports()),
    ("instance.ports", _ports(*(Port(name=f"p{n}", number=1, protocol="tcp") for n in range(33)))),
    ("instance.ports[0].name", _ports(Port(number=80, protocol="http"))),
    ("instance.ports[0].name", _ports(Port(name="A", number=80, protocol="http"))),
    ("instance.ports[1].name", _ports(HTTP, HTTP)),
    ("instance.ports[0].number", _ports(Port(name="http", number=0, protocol="http"))),
    ("instance.ports[0].number", _ports(Port(name="http", number=65536, protocol="http"))),
    ("instance.ports[1].protocol", _ports(HTTP, Port(name="x", number=1))),
    ("instance.ports[0].protocol", _ports(Port(name="x", number=1, protocol="udp"))),
    ("instance.version", _changed(version="a b")),
    ("instance.version", _changed(version="v" * 65)),
    ("instance.weight", _changed(weight=10_001)),
    ("instance.zone", _changed(zone="z/1")),
    ("instance.status", _changed(status=9)),
    ("instance.metadata", _changed(metadata={f"k{n}": "" for n in range(65)})),
    ("instance.metadata", _changed(metadata={f"k{n}": "v" * 1024 for n in range(16)})),
    ("instance.metadata['']", _changed(metadata={"": "x"})),
    ("instance.metadata['a b']", _changed(metadata={"a b": "x"})),
    ("instance.metadata[long]", _changed(metadata={"long": "x" * 1025})),
    ("instance.metadata[wide]", _changed(metadata={"wide": "ä" * 513})),
]


@pytest.mark.parametrize(("field", "bad"), BAD_INSTANCES)
def test_a_bad_instance_is_named_by_field(field: str, bad: Instance) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate.instance(bad)
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


def test_a_long_metadata_key_is_shown_in_short() -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate.metadata("metadata", {"k" * 129: ""})
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "good",
    [
        instance("default"),
        instance("a", "b", "c"),
        instance("a" * 63, "b" * 63, "c" * 128),
        _changed(id_="10.0.0.1:8080"),
        _changed(id_="host@zone_1-2"),
        _changed(address="::1"),
        _changed(address="2001:db8::7"),
        _changed(address="orders.internal.example"),
        _changed(address="orders_db_1"),
        _changed(address="host."),
        _changed(weight=0),
        _changed(weight=10_000),
        _changed(status=0),
        _changed(zone="eu-1a", version="1.2.3+build-7"),
        _changed(metadata={f"k{n}": "v" * 100 for n in range(64)}),
        _changed(metadata={"k" * 128: "ä" * 512, "empty": ""}),
        _ports(HTTP, Port(name="grpc", number=65535, protocol="grpc")),
    ],
)
def test_good_instances_pass(good: Instance) -> None:
    validate.instance(good)


@pytest.mark.parametrize(
    ("field", "bad"),
    [
        ("service.namespace", Service(name="orders")),
        ("service.name", Service(namespace="default")),
        ("service.description", Service(namespace="a", name="b", description="x" * 4097)),
        ("service.description", Service(namespace="a", name="b", description="\x00")),
        ("service.owner", Service(namespace="a", name="b", owner="x" * 257)),
        ("service.owner", Service(namespace="a", name="b", owner="two\nlines")),
        ("service.load_balancer", Service(namespace="a", name="b", load_balancer=7)),
        ("service.metadata['?']", Service(namespace="a", name="b", metadata={"?": ""})),
    ],
)
def test_a_bad_service_is_named_by_field(field: str, bad: Service) -> None:
    with pytest.raises(InvalidArgument) as caught:
        validate.service(bad)
    assert caught.value.field == field


def test_a_description_may_have_lines() -> None:
    validate.service(Service(namespace="a", name="b", description="one\ntwo\tthree"))


def test_the_rest() -> None:
    with pytest.raises(InvalidArgument, match="reason: is needed"):
        validate.reason("reason", "  ", needed=True)
    validate.reason("reason", "", needed=False)
    with pytest.raises(InvalidArgument, match="at most 1024"):
        validate.reason("reason", "x" * 1025, needed=False)
    with pytest.raises(InvalidArgument, match="services: must be at most 1000"):
        validate.watched_services("services", ["a"] * 1001)
    with pytest.raises(InvalidArgument, match=r"services\[1\]"):
        validate.watched_services("services", ["a", "B"])
    assert validate.ttl_seconds("ttl", 0) == 10
    assert validate.ttl_seconds("ttl", 3600) == 3600


names = st.text(max_size=70)


@given(namespace=names, service=names, id_=names)
def test_names_that_pass_make_keys_with_one_reading(namespace: str, service: str, id_: str) -> None:
    name = InstanceName(namespace, service, id_)
    try:
        validate.instance_name(name)
    except InvalidArgument:
        return
    for kind, key in (
        (Kind.INSTANCE, keys.instance_key(name)),
        (Kind.OVERRIDE, keys.override_key(name)),
        (Kind.STATUS, keys.status_key(name)),
    ):
        assert keys.parse(key) == (kind, namespace, service, id_)
        assert keys.PREFIX <= key < keys.PREFIX_END
        first, end = keys.of_service(kind, namespace, service)
        assert first <= key < end


@given(
    namespace=st.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True),
    service=st.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True),
    other=st.from_regex(r"[a-z0-9]([a-z0-9-]{0,5}[a-z0-9])?", fullmatch=True),
    id_=st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,9}", fullmatch=True),
)
def test_one_services_range_holds_no_other(
    namespace: str, service: str, other: str, id_: str
) -> None:
    name = InstanceName(namespace, other, id_)
    validate.instance_name(name)
    first, end = keys.of_service(Kind.INSTANCE, namespace, service)
    assert (first <= keys.instance_key(name) < end) == (service == other)
    assert keys.parse(keys.service_key(namespace, service)) == (
        Kind.SERVICE,
        namespace,
        service,
        "",
    )
