"""The adapter inside a real Envoy, called by grpcio and by raw HTTP/2."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import h2.config
import h2.connection
import h2.events
import httpx
import pytest
import pytest_asyncio
from registry.api.adapter_service import Text
from registry.server.server_process import RunningLauncher, launched

ECHO = "/adapter.test.Echo/"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def server() -> AsyncIterator[RunningLauncher]:
    async with launched() as running:
        await running.serving()
        yield running


pytestmark = pytest.mark.asyncio(loop_scope="module")


class Client:
    """The test service, by method."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        codec = {
            "request_serializer": lambda message: message.SerializeToString(),
            "response_deserializer": Text.FromString,
        }
        self.say = channel.unary_unary(ECHO + "Say", **codec)
        self.collect = channel.stream_unary(ECHO + "Collect", **codec)
        self.expand = channel.unary_stream(ECHO + "Expand", **codec)
        self.chat = channel.stream_stream(ECHO + "Chat", **codec)


@pytest_asyncio.fixture(loop_scope="module")
async def client(server: RunningLauncher) -> AsyncIterator[Client]:
    options = [("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(server.target, options=options) as channel:
        yield Client(channel)


async def cancelled(server: RunningLauncher) -> list[str]:
    async with httpx.AsyncClient(base_url=server.urls[0]) as http:
        return list((await http.get("/cancelled")).json())


async def until_cancelled(server: RunningLauncher, method: str, before: int) -> None:
    async with asyncio.timeout(10):
        while (await cancelled(server)).count(method) <= before:
            await asyncio.sleep(0.02)


async def test_four_kinds(client: Client) -> None:
    texts = [Text(text=str(number)) for number in range(5)]
    assert (await client.say(Text(text="a", count=4))).count == 5
    assert (await client.collect(iter(texts))).text == "0,1,2,3,4"
    expanded = [one.count async for one in client.expand(Text(text="e", count=100))]
    assert expanded == list(range(100))
    assert [one.text async for one in client.chat(iter(texts))] == ["0", "1", "2", "3", "4"]


async def test_full_duplex(client: Client) -> None:
    call = client.chat()
    for number in range(20):
        await call.write(Text(count=number))
        assert (await call.read()).count == number
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


async def test_metadata(client: Client) -> None:
    call = client.say(Text(text="metadata"), metadata=(("x-text", "one"), ("x-raw-bin", b"\0\xff")))
    await call
    assert dict(await call.initial_metadata())["x-first"] == "one"
    assert dict(await call.trailing_metadata())["x-last-bin"] == b"\0\xff"


async def test_status_with_details(client: Client) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.say(Text(text="status"))
    assert caught.value.code() is grpc.StatusCode.ABORTED
    assert caught.value.details() == "50% done: näh"
    assert b"adapter.test.Text" in dict(caught.value.trailing_metadata())["grpc-status-details-bin"]


async def test_deadline(client: Client, server: RunningLauncher) -> None:
    before = (await cancelled(server)).count("Say")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.say(Text(text="sleep"), timeout=0.2)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await until_cancelled(server, "Say", before)


async def test_cancelled_calls_end_their_handlers(client: Client, server: RunningLauncher) -> None:
    before = await cancelled(server)
    chat = client.chat()
    await chat.write(Text(text="a"))
    await chat.read()
    expand = client.expand(Text(text="endless", count=1))
    await expand.read()
    say = client.say(Text(text="sleep"))
    await asyncio.sleep(0.05)
    for call in (chat, expand, say):
        call.cancel()
    for method in ("Chat", "Expand", "Say"):
        await until_cancelled(server, method, before.count(method))


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compression(client: Client, compression: grpc.Compression) -> None:
    text = "compressible " * 10_000
    assert (await client.say(Text(text=text), compression=compression)).text == text
    sent = [Text(text=text), Text(text="small")]
    received = [one.text async for one in client.chat(iter(sent), compression=compression)]
    assert received == [text, "small"]


async def test_large_messages_up_to_the_limit(client: Client) -> None:
    limit = 2 * 1024 * 1024
    assert len((await client.say(Text(text="x" * (limit - 100)))).text) == limit - 100
    for text in ("x" * (limit + 100), "x" * (8 * limit)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.say(Text(text=text))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "received message larger than max" in str(caught.value.details())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await client.say(Text(text="\0" * (8 * limit)), compression=grpc.Compression.Gzip)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_slow_reader_holds_back_its_own_stream_only(client: Client) -> None:
    slow = client.expand(Text(text="x" * 100_000, count=2_000))
    await slow.read()
    assert (await client.say(Text(text="a"), timeout=5)).text == "a"
    slow.cancel()


async def test_many_calls_at_once(client: Client) -> None:
    answers = await asyncio.gather(*(client.say(Text(count=number)) for number in range(500)))
    assert [answer.count for answer in answers] == list(range(1, 501))


async def test_malformed_frames_over_raw_http2(server: RunningLauncher) -> None:
    """What no gRPC library would send."""
    for body, text in (
        (b"", "no message"),
        (b"\0\0\0\0\x05x", "prefix says 5 bytes"),
        (b"\x09\0\0\0\x01x", "flag is 9"),
    ):
        status, message = await raw_call(server.target, body)
        assert status == "13"
        assert text in message


async def raw_call(target: str, body: bytes) -> tuple[str, str]:
    """Make a call with nothing but HTTP/2 and return the trailers' status and message."""
    host, _, port = target.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    connection = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    connection.initiate_connection()
    headers = {":method": "POST", ":scheme": "http", ":authority": target, ":path": ECHO + "Say"}
    grpc_headers = {"content-type": "application/grpc", "te": "trailers"}
    connection.send_headers(1, [*headers.items(), *grpc_headers.items()])
    connection.send_data(1, body, end_stream=True)
    try:
        while True:
            writer.write(connection.data_to_send())
            for event in connection.receive_data(await reader.read(65536)):
                if isinstance(event, h2.events.TrailersReceived):
                    trailers = dict(event.headers)
                    return trailers["grpc-status"], trailers["grpc-message"]
    finally:
        writer.close()
        await writer.wait_closed()


async def test_http1_on_the_same_port(server: RunningLauncher) -> None:
    async with httpx.AsyncClient(base_url=server.urls[0]) as http:
        answer: Any = await http.get("/nothing/here")
    assert answer.status_code == 404
    assert json.loads(answer.content)["message"] == "path: /nothing/here is not served here"
