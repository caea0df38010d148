"""The TLS port under attack: handshakes that stall, and readers that do not read behind the relay
which all TLS clients share."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trustme
from hostile import http2 as h2
from hostile.attacked import Attacked
from hostile.calls import PUT, WATCH, call, framed, grpc_headers
from hostile.wire import connect, dial
from registry.registry_process import RegistryProcess

from tianlu._proto.etcd.rpc_pb2 import PutRequest, WatchCreateRequest, WatchRequest

READERS = 60


class Secured:
    """A node with a plaintext port and a TLS port, and what its TLS clients need."""

    def __init__(self, process: RegistryProcess, authority: trustme.CA) -> None:
        self.attacked = Attacked(process)
        self.target = next(url for url in process.urls if url.startswith("https")).partition("//")[
            2
        ]
        self.context = ssl.create_default_context()
        authority.configure_trust(self.context)
        self.context.set_alpn_protocols(["h2"])


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    directory: Path = tmp_path_factory.mktemp("hostile-tls")
    authority = trustme.CA()
    own = authority.issue_cert("localhost", "127.0.0.1")
    own.cert_chain_pems[0].write_to_path(directory / "node.pem")
    own.private_key_pem.write_to_path(directory / "node.key")
    process = RegistryProcess(
        directory,
        "--listen-client-urls=http://127.0.0.1:0,https://127.0.0.1:0",
        f"--cert-file={directory / 'node.pem'}",
        f"--key-file={directory / 'node.key'}",
    )
    process.start(60)
    yield Secured(process, authority)
    process.kill()


async def test_handshakes_that_stall_end(secured: Secured) -> None:
    hello = bytes.fromhex("16030102000100")
    with secured.attacked.unharmed():
        wires = [await connect(secured.target) for _ in range(200)]
        for number, wire in enumerate(wires):
            if number % 2:
                await wire.send(hello)
        await _put(secured)
        await asyncio.gather(*(wire.until_closed(40) for wire in wires))
        assert all(wire.closed for wire in wires)
        for wire in wires:
            await wire.closing()


async def test_no_tls_at_all_is_refused(secured: Secured) -> None:
    with secured.attacked.unharmed():
        for data in (
            b"GET / HTTP/1.1\r\n\r\n",
            h2.PREFACE + h2.settings(),
            b"\x15\x03\x01\xff\xff",
        ):
            async with dial(secured.target) as wire:
                await wire.send(data * 200)
                await wire.until_closed(30)
                assert wire.closed
    await _put(secured)


async def test_readers_that_do_not_read_hold_up_nobody_else(secured: Secured) -> None:
    """Each of them on a connection of its own, all over one connection of the relay's."""
    create = framed(WatchRequest(create_request=WatchCreateRequest(key=b"tls")))
    with secured.attacked.unharmed(160 << 20):
        async with AsyncExitStack() as stack:
            for _ in range(READERS):
                wire = await stack.enter_async_context(dial(secured.target, tls=secured.context))
                reader = h2.Http2(wire)
                await reader.start({h2.Setting.INITIAL_WINDOW_SIZE: 0})
                await reader.send(h2.headers(1, grpc_headers(WATCH)))
                await reader.send_body(1, create, end=False)
                assert await reader.until_pong(30)
            for _ in range(12):
                await _put(secured, bytes(200_000))
            await _put(secured)


async def _put(secured: Secured, value: bytes = b"") -> None:
    async with dial(secured.target, tls=secured.context) as wire:
        connection = h2.Http2(wire)
        await connection.start()
        put = PutRequest(key=b"tls", value=value)
        await call(connection, 1, grpc_headers(PUT), framed(put))
        await connection.until_over(1, seconds_max=20)
        assert connection.answer(1).headers["grpc-status"] == "0"
