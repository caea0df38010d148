"""Objects come out of a stream whole, however its bytes were cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianlu_registry.api.grpc_asgi import RpcError
from tianlu_registry.api.json_objects import DEPTH_MAX, JsonObjects
from tianlu_registry.errors import InvalidArgument

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
OBJECTS = st.dictionaries(st.text('a"\\{}é', max_size=5), VALUES, max_size=4)


@given(
    objects=st.lists(OBJECTS, max_size=5),
    space=st.sampled_from(["", " ", "\n", "\r\n\t "]),
    ascii_only=st.booleans(),
    size=st.integers(1, 9),
)
def test_any_cutting_gives_the_same_objects(
    objects: list[dict[str, object]], space: str, ascii_only: bool, size: int
) -> None:
    texts = [json.dumps(each, ensure_ascii=ascii_only) for each in objects]
    data = (space + space.join(texts) + space).encode("utf-8", "surrogatepass")
    stream, found = JsonObjects(10_000), []
    for start in range(0, len(data), size):
        stream.feed(data[start : start + size])
        while (one := stream.next_object()) is not None:
            found.append(one)
    stream.check_finished()
    assert found == [text.encode("utf-8", "surrogatepass") for text in texts]


@pytest.mark.parametrize("data", [b"[1]", b"true", b",", b"}"])
def test_something_else_than_objects(data: bytes) -> None:
    stream = JsonObjects(100)
    stream.feed(b'{"a":1}' + data)
    assert stream.next_object() == b'{"a":1}'
    with pytest.raises(InvalidArgument, match="sequence of JSON objects"):
        stream.next_object()


@pytest.mark.parametrize("data", [b"{", b'{"a', b'{"a\\', b'{"}"', b'{"a":{}'])
def test_end_inside_an_object(data: bytes) -> None:
    stream = JsonObjects(100)
    stream.feed(b" " + data)
    assert stream.next_object() is None
    with pytest.raises(InvalidArgument, match="ends inside an object"):
        stream.check_finished()


def test_an_object_is_bounded_whether_it_ends_or_not() -> None:
    for data in (b'{"a":"' + b"x" * 100, b'{"a":"' + b"x" * 100 + b'"}'):
        stream = JsonObjects(100)
        stream.feed(data)
        with pytest.raises(RpcError, match="an object is longer than 100 bytes"):
            stream.next_object()


def test_deep_nesting_is_refused_before_its_end() -> None:
    stream = JsonObjects(10_000)
    stream.feed(b'{"a":' * (DEPTH_MAX + 1))
    with pytest.raises(InvalidArgument, match="nested more than 1000 deep"):
        stream.next_object()
