"""The adapter against a scripted ASGI server."""

from __future__ import annotations

import asyncio
import gzip
import logging
import struct
from typing import Any

import pytest
from registry.api.adapter_service import Echo, Text, make_app
from registry.api.asgi_fakes import FakeCall, framed

from tianlu_registry.api.grpc_asgi import Method, StatusCode
from tianlu_registry.api.grpc_asgi.frames import frame
from tianlu_registry.errors import Stopped

SAY = "/adapter.test.Echo/Say"
GRPC = (b"content-type", b"application/grpc")


async def say(text: str = "hi", *, app: Any = None, **options: Any) -> FakeCall:
    call = FakeCall(SAY, [framed(Text(text=text, count=1))], **options)
    return await call.run(app or make_app(Echo()))


def texts(call: FakeCall) -> list[tuple[str, int]]:
    messages = [Text.FromString(data) for _, data in call.frames]
    return [(message.text, message.count) for message in messages]


def ends(method: Method) -> dict[StatusCode, int]:
    return {code: count for code, count in method.ended.items() if count}


async def test_unary() -> None:
    call = await say()
    assert (call.status, call.code) == (200, 0)
    assert call.headers[b"content-type"] == b"application/grpc"
    assert texts(call) == [("hi", 2)]


async def test_request_in_many_chunks() -> None:
    data = framed(Text(text="chunked", count=1))
    call = FakeCall(SAY, [data[i : i + 1] for i in range(len(data))])
    assert texts(await call.run(make_app(Echo()))) == [("chunked", 2)]


@pytest.mark.parametrize(
    ("body", "code", "text"),
    [
        ([], StatusCode.INTERNAL, "no message"),
        ([b"\0\0"], StatusCode.INTERNAL, "no message"),
        ([frame(b"") + b"x"], StatusCode.INTERNAL, "prefix says 0 bytes, the request has 1"),
        ([struct.pack(">BI", 0, 9) + b"x"], StatusCode.INTERNAL, "prefix says 9"),
        ([frame(b"\xff\xff")], StatusCode.INTERNAL, "failed to unmarshal"),
        ([struct.pack(">BI", 0, 51) + b"x"], StatusCode.RESOURCE_EXHAUSTED, "51 vs. 50"),
        ([frame(b"x" * 200)[:60], b"x" * 145], StatusCode.RESOURCE_EXHAUSTED, "200 vs. 50"),
        ([struct.pack(">BI", 2, 1) + b"x"], StatusCode.INTERNAL, "flag is 2"),
        ([struct.pack(">BI", 1, 1) + b"x"], StatusCode.INTERNAL, "names no encoding"),
    ],
)
async def test_malformed_requests(body: list[bytes], code: StatusCode, text: str) -> None:
    echo = Echo()
    call = await FakeCall(SAY, body).run(make_app(echo, request_bytes_max=50))
    assert call.code == code
    assert text in call.message
    assert echo.entered == 0


async def test_unknown_methods_and_services() -> None:
    app = make_app(Echo())
    for path, text in (
        ("/adapter.test.Echo/Absent", "unknown method Absent for service adapter.test.Echo"),
        ("/adapter.test.Echo/Nope", "unknown method Nope for service adapter.test.Echo"),
        ("/other.Service/Say", "unknown service other.Service"),
        ("/", "unknown service "),
    ):
        call = await FakeCall(path, [frame(b"")]).run(app)
        assert (call.code, call.message) == (StatusCode.UNIMPLEMENTED, text)


async def test_metadata_both_ways() -> None:
    headers = [GRPC, (b"x-text", b"one"), (b"x-raw-bin", b"AP8")]
    call = await say("metadata", headers=headers)
    assert call.headers[b"x-first"] == b"one"
    assert call.trailers[b"x-last-bin"] == b"AP8"
    assert call.code == 0


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("status", StatusCode.ABORTED, "50% done: näh"),
        ("registry", StatusCode.INVALID_ARGUMENT, "ports[0].number: is 0; give 1 to 65535"),
        ("crash", StatusCode.UNKNOWN, "internal error: ZeroDivisionError"),
        ("exit", StatusCode.UNKNOWN, "internal error: SystemExit"),
        ("interrupt", StatusCode.UNKNOWN, "internal error: KeyboardInterrupt"),
        ("oserror", StatusCode.UNKNOWN, "internal error: ConnectionResetError"),
    ],
)
@pytest.mark.parametrize("method", ["Say", "Expand", "Chat"])
async def test_no_exception_leaves_a_handler(
    method: str, text: str, code: StatusCode, message: str
) -> None:
    call = FakeCall(f"/adapter.test.Echo/{method}", [framed(Text(text=text))])
    await call.run(make_app(Echo()))
    assert (call.code, call.message) == (code, message)


async def test_a_crash_is_logged_with_its_stack(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        await say("crash")
    assert "call_crashed" in caplog.text
    assert "ZeroDivisionError: secret" in caplog.text


async def test_details_of_a_status() -> None:
    from base64 import b64decode

    from google.rpc.status_pb2 import Status

    packed = (await say("status")).trailers[b"grpc-status-details-bin"]
    status = Status.FromString(b64decode(packed + b"=" * (-len(packed) % 4)))
    assert (status.code, status.details[0].type_url) == (
        10,
        "type.googleapis.com/adapter.test.Text",
    )


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
async def test_compressed_request_gets_compressed_answer(encoding: bytes) -> None:
    from tianlu_registry.api.grpc_asgi.compression import compress, decompress

    message = compress(Text(text="a" * 5000).SerializeToString(), encoding)
    call = FakeCall(
        SAY, [frame(message, compressed=True)], headers=[GRPC, (b"grpc-encoding", encoding)]
    )
    await call.run(make_app(Echo()))
    ((flag, data),) = call.frames
    assert (flag, call.headers[b"grpc-encoding"]) == (1, encoding)
    assert Text.FromString(decompress(data, encoding, 10_000)).text == "a" * 5000


async def test_small_answer_is_not_compressed() -> None:
    message = frame(gzip.compress(Text(text="a").SerializeToString()), compressed=True)
    call = FakeCall(SAY, [message], headers=[GRPC, (b"grpc-encoding", b"gzip")])
    await call.run(make_app(Echo()))
    assert [flag for flag, _ in call.frames] == [0]


async def test_unknown_encoding_names_the_known_ones() -> None:
    call = FakeCall(SAY, [frame(b"x", compressed=True)], headers=[GRPC, (b"grpc-encoding", b"br")])
    await call.run(make_app(Echo()))
    assert call.code == StatusCode.UNIMPLEMENTED
    assert call.trailers[b"grpc-accept-encoding"] == b"identity,gzip,deflate"


async def test_deadline_cancels_the_handler() -> None:
    echo = Echo()
    call = await say("sleep", app=make_app(echo), headers=[GRPC, (b"grpc-timeout", b"20m")])
    assert (call.code, call.message) == (
        StatusCode.DEADLINE_EXCEEDED,
        "context deadline exceeded",
    )
    assert echo.cancelled == ["Say"]


async def test_deadline_already_over_and_malformed() -> None:
    echo = Echo()
    app = make_app(echo)
    late = await say(app=app, headers=[GRPC, (b"grpc-timeout", b"0n")])
    wrong = await say(app=app, headers=[GRPC, (b"grpc-timeout", b"soon")])
    assert (late.code, wrong.code) == (StatusCode.DEADLINE_EXCEEDED, StatusCode.INVALID_ARGUMENT)
    assert "grpc-timeout: 'soon'" in wrong.message
    assert echo.entered == 0


async def test_streams() -> None:
    app = make_app(Echo())
    three = [framed(Text(text=str(number))) for number in range(3)]
    collect = await FakeCall("/adapter.test.Echo/Collect", [b"".join(three)]).run(app)
    expand = FakeCall("/adapter.test.Echo/Expand", [framed(Text(text="e", count=3))])
    chat = FakeCall("/adapter.test.Echo/Chat", three)
    assert texts(collect) == [("0,1,2", 3)]
    assert texts(await expand.run(app)) == [("e", 0), ("e", 1), ("e", 2)]
    assert texts(await chat.run(app)) == [("0", 0), ("1", 0), ("2", 0)]
    assert {collect.code, expand.code, chat.code} == {0}


async def test_stream_that_ends_inside_a_message() -> None:
    call = FakeCall("/adapter.test.Echo/Chat", [framed(Text(text="a")) + b"\0\0"])
    await call.run(make_app(Echo()))
    assert texts(call) == [("a", 0)]
    assert (call.code, call.message) == (
        StatusCode.INTERNAL,
        "grpc: the request ended inside a message",
    )


async def until(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_bidirectional_stream_is_full_duplex_and_notices_the_disconnect() -> None:
    echo = Echo()
    call = FakeCall("/adapter.test.Echo/Chat", [framed(Text(text="ping"))], half_close=False)
    running = asyncio.create_task(call.run(make_app(echo)))
    await until(lambda: texts(call) == [("ping", 0)] if call.events else False)
    call.client_sends(framed(Text(text="pong")))
    await until(lambda: len(call.frames) == 2)
    call.client_disconnects()
    await running
    assert echo.cancelled == ["Chat"]
    assert call.events[-1]["type"] == "http.response.body"  # nobody is told a status


@pytest.mark.parametrize(("method", "text"), [("Say", "sleep"), ("Expand", "endless")])
async def test_half_closed_call_notices_the_disconnect(method: str, text: str) -> None:
    echo = Echo()
    app = make_app(echo, sweep_interval_seconds=0.01)
    call = FakeCall(f"/adapter.test.Echo/{method}", [framed(Text(text=text, count=1))])
    running = asyncio.create_task(call.run(app))
    await asyncio.sleep(0.05)
    call.client_disconnects()
    await running
    assert echo.cancelled == [method]


async def test_server_that_answers_receive_at_once_is_asked_again() -> None:
    """pyvoy does not wait for the disconnect; see reader.py."""
    echo = Echo()
    app = make_app(echo, sweep_interval_seconds=0.01)
    call = FakeCall(SAY, [framed(Text(text="sleep"))])
    for _ in range(3):
        call.client_sends(b"", last=True)
    call.client_disconnects()
    await call.run(app)
    assert echo.cancelled == ["Say"]


async def test_disconnect_before_the_request_is_complete() -> None:
    echo = Echo()
    app = make_app(echo)
    call = FakeCall(SAY, [b"\0\0"], half_close=False)
    call.client_disconnects()
    assert (await call.run(app)).events == []
    assert ends(app.methods[SAY]) == {StatusCode.CANCELLED: 1}


async def test_disconnect_while_sending_is_not_a_crash(caplog: pytest.LogCaptureFixture) -> None:
    class ClientDisconnectedError(OSError):
        """pyvoy's, by name."""

    call = FakeCall(SAY, [framed(Text(text="x"))])
    call.send_error = ClientDisconnectedError()
    await call.run(make_app(Echo()))
    assert "call_crashed" not in caplog.text


async def test_calls_are_counted_by_how_they_ended() -> None:
    app = make_app(Echo())
    await say(app=app)
    await say("status", app=app)
    method = app.methods[SAY]
    assert (method.kind, method.started) == ("unary", 2)
    assert ends(method) == {StatusCode.OK: 1, StatusCode.ABORTED: 1}


async def test_draining_ends_streams_and_refuses_new_ones_but_not_unary_calls() -> None:
    app = make_app(Echo())
    call = FakeCall("/adapter.test.Echo/Chat", [framed(Text(text="a"))], half_close=False)
    running = asyncio.create_task(call.run(app))
    await until(lambda: bool(call.body))
    app.drain(Stopped())
    await running
    later = await FakeCall("/adapter.test.Echo/Expand", [framed(Text(text="a"))]).run(app)
    for ended in (call, later):
        assert (ended.code, ended.message) == (StatusCode.UNAVAILABLE, Stopped.text)
    assert (await say(app=app)).code == 0


async def test_a_caller_without_grpc_is_told_so() -> None:
    call = await FakeCall(SAY, [b"{}"], headers=[(b"content-type", b"application/json")]).run(
        make_app(Echo())
    )
    assert call.status == 415
    assert b"must be application/grpc" in call.body


@pytest.mark.parametrize("headers", [[], [(b"content-type", b"text/plain;charset=UTF-8")]])
@pytest.mark.parametrize("method", ["Say", "Chat"])
async def test_a_page_of_another_site_calls_nothing(
    headers: list[tuple[bytes, bytes]], method: str
) -> None:
    """A browser posts a well-formed frame without asking, if the type is a form's or absent."""
    app = make_app(Echo())
    path = f"/adapter.test.Echo/{method}"
    call = await FakeCall(path, [framed(Text(text="a"))], headers=headers).run(app)
    assert call.status == 415
    assert ends(app.methods[path]) == {StatusCode.INVALID_ARGUMENT: 1}


async def test_fallback_serves_what_is_not_grpc() -> None:
    async def page(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 404, "headers": []})
        await send({"type": "http.response.body", "body": b"page"})

    app = make_app(Echo(), fallback=page)
    assert (await FakeCall("/nope", headers=[]).run(app)).body == b"page"
    assert (await FakeCall("/nope/x").run(app)).code == StatusCode.UNIMPLEMENTED


async def test_a_caller_that_takes_no_trailers_is_told_in_the_headers() -> None:
    app = make_app(Echo())
    call = await FakeCall(SAY, [framed(Text(text="a"))], reads_trailers=False).run(app)
    assert call.headers[b"grpc-status"] == b"13"
    assert call.headers[b"grpc-message"].startswith(b"te: must be trailers")
    assert not call.body
    assert ends(app.methods[SAY]) == {StatusCode.INTERNAL: 1}


async def test_http_1_is_told_that_grpc_needs_more() -> None:
    call = FakeCall(SAY, [framed(Text(text="a"))])
    call.scope["http_version"] = "1.1"
    await call.run(make_app(Echo()))
    assert call.status == 505
    assert b"gRPC needs HTTP/2" in call.body
