"""Strict JSON: agrees with protobuf's own decoder on good input, names the field on bad input."""

from __future__ import annotations

import base64
import contextlib
import json

import pytest
from google.protobuf.json_format import MessageToJson
from hypothesis import given
from hypothesis import strategies as st

from tianlu._proto.etcd.rpc_pb2 import (
    Compare,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
    WatchCreateRequest,
)
from tianlu._proto.v1.model_pb2 import Instance
from tianlu_registry.api.json_decode import ITEMS_MAX, decode_json
from tianlu_registry.errors import InvalidArgument

INT64 = st.integers(-(1 << 63), (1 << 63) - 1)
PUTS = st.builds(
    PutRequest, key=st.binary(max_size=9), value=st.binary(), lease=INT64, prev_kv=st.booleans()
)
RANGES = st.builds(
    RangeRequest, key=st.binary(max_size=9), limit=INT64, sort_order=st.integers(0, 2)
)
OPERATIONS = st.one_of(
    st.builds(lambda put: RequestOp(request_put=put), PUTS),
    st.builds(lambda read: RequestOp(request_range=read), RANGES),
)
COMPARES = st.one_of(
    st.builds(lambda key, value: Compare(key=key, value=value), st.binary(), st.binary()),
    st.builds(
        lambda version, result: Compare(version=version, result=result), INT64, st.integers(0, 3)
    ),
)
TXNS = st.builds(
    TxnRequest,
    compare=st.lists(COMPARES, max_size=3),
    success=st.lists(OPERATIONS, max_size=3),
    failure=st.lists(OPERATIONS, max_size=3),
)


@given(message=TXNS, original_names=st.booleans())
def test_reads_what_protobuf_writes(message: TxnRequest, original_names: bool) -> None:
    text = MessageToJson(message, preserving_proto_field_name=original_names)
    assert decode_json(text.encode(), TxnRequest) == message


def test_liberal_where_protojson_is() -> None:
    put = decode_json(b'{"key":"_-8","lease":"-7","value":null,"prevKv":true}', PutRequest)
    assert put == PutRequest(key=base64.b64decode("/+8="), lease=-7, prev_kv=True)
    assert decode_json(b'{"limit":5.0,"sort_order":1}', RangeRequest).limit == 5
    assert decode_json(b" ", PutRequest) == PutRequest()
    watch = decode_json(b'{"filters":["NOPUT",1]}', WatchCreateRequest)
    assert list(watch.filters) == [0, 1]
    instance = decode_json(b'{"metadata":{"a":"b"},"status":"INSTANCE_STATUS_UP"}', Instance)
    assert dict(instance.metadata) == {"a": "b"}


@pytest.mark.parametrize(
    ("text", "field", "problem"),
    [
        ("{", "body", "is not JSON: .* line 1 column 2"),
        ("[]", "body", "must be an object, not a list"),
        ('"x"', "body", "must be an object, not a text"),
        ('{"foo":1}', "foo", "is not a field of etcdserverpb.TxnRequest"),
        ('{"compare":{}}', "compare", "must be a list, not an object"),
        ('{"compare":[1]}', r"compare\[0\]", "must be an object, not a number"),
        ('{"compare":[{},{"versoin":1}]}', r"compare\[1\].versoin", "is not a field"),
        (
            '{"compare":[{"version":"x"}]}',
            r"compare\[0\].version",
            "must be an integer, not a text",
        ),
        ('{"compare":[{"version":1.5}]}', r"compare\[0\].version", "must be an integer"),
        ('{"compare":[{"version":true}]}', r"compare\[0\].version", "must be an integer, not true"),
        ('{"compare":[{"version":"9223372036854775808"}]}', r"compare\[0\].version", "it must be"),
        ('{"compare":[{"result":"LIKE"}]}', r"compare\[0\].result", "must be one of EQUAL, "),
        ('{"compare":[{"key":"*"}]}', r"compare\[0\].key", "is not base64"),
        ('{"compare":[{"key":"a"}]}', r"compare\[0\].key", "is not base64"),
        ('{"compare":[{"key":5}]}', r"compare\[0\].key", "must be base64 text, not a number"),
        (
            '{"compare":[{"version":1,"value":"YQ=="}]}',
            r"compare\[0\].value",
            "cannot be given together with version",
        ),
        ('{"success":[{"request_put":{"prev_kv":"yes"}}]}', r".*prev_kv", "must be true or false"),
        ('{"compare":[],"compare":[]}', "compare", "is given twice"),
        ('{"a":0,"b":0,"c":0,"c":0,"b":0}', "c", "is given twice"),
        ('{"compare":NaN}', "body", "NaN is not a number"),
    ],
)
def test_bad_input_names_the_field(text: str, field: str, problem: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^{field}: .*{problem}"):
        decode_json(text.encode(), TxnRequest)


def test_input_that_is_not_text_or_too_deep() -> None:
    with pytest.raises(InvalidArgument, match=r"^body: is not UTF-8"):
        decode_json(b'{"key":"\xff"}', PutRequest)
    with pytest.raises(InvalidArgument, match="too deeply"):
        decode_json(b'{"success":' * 5000, TxnRequest)
    deep: dict[str, object] = {}
    for _ in range(40):
        deep = {"success": [{"request_txn": deep}]}
    with pytest.raises(InvalidArgument, match="more than 32 deep"):
        decode_json(json.dumps(deep).encode(), TxnRequest)


@given(text=st.binary(max_size=40))
def test_garbage_never_does_anything_else(text: bytes) -> None:
    with contextlib.suppress(InvalidArgument):
        decode_json(text, TxnRequest)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (b'{"limit":' + b"1" * 5000 + b"}", "body"),
        (b'{"\\ud800":1}', "body"),
        (b'{"sort_order":true}', "sort_order"),
    ],
)
def test_what_python_reads_and_no_message_holds(text: bytes, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        decode_json(text, RangeRequest)
    assert refused.value.field == field
    str(refused.value).encode()


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (b'{"version":"\\ud800"}', "version"),
        (b'{"metadata":{"a":"\\ud800"}}', "metadata.a"),
        (b'{"metadata":{"\\ud800":"a"}}', "body"),
    ],
)
def test_half_a_character_is_refused(text: bytes, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        decode_json(text, Instance)
    assert refused.value.field == field
    str(refused.value).encode()


def test_a_list_is_bounded() -> None:
    text = json.dumps({"success": [{}] * (ITEMS_MAX + 1)})
    with pytest.raises(InvalidArgument, match="success: has 20001 items, it may have 20000"):
        decode_json(text.encode(), TxnRequest)
