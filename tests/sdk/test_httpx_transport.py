"""httpx through the SDK, against real HTTP servers and a real registry."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from sdk_registry import RegistryProcess

import tianlu
from tianlu import Port
from tianlu._route import mesher_url, repeatable, split_host

Until = Callable[..., Awaitable[None]]


class Echo(BaseHTTPRequestHandler):
    """Answers with who it is and what it was sent; /break closes the connection instead."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        length = int(self.headers.get("content-length", 0))
        body = self.rfile.read(length)
        if self.path == "/break" and self.server.server_port in BREAKING:
            self.connection.close()
            self.close_connection = True
            return
        answer = json.dumps(
            {
                "port": self.server.server_port,
                "host": self.headers["host"],
                "path": self.path,
                "body": body.decode(),
            }
        ).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815 - named by the standard library

    def log_message(self, *arguments: object) -> None:
        pass


BREAKING: set[int] = set()


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A test that breaks connections needs no stack traces."""


@contextlib.contextmanager
def http_server() -> Iterator[int]:
    server = QuietServer(("127.0.0.1", 0), Echo)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server.server_port
    finally:
        BREAKING.discard(server.server_port)
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def server() -> Iterator[int]:
    with http_server() as port:
        yield port


@pytest.fixture
def another() -> Iterator[int]:
    with http_server() as port:
        yield port


async def test_requests_reach_every_instance(client: tianlu.AsyncClient, server: int, another: int):
    await client.register("reached", port=server)
    await client.register("reached", port=another)
    async with httpx.AsyncClient(transport=tianlu.AsyncTransport(client)) as http:
        answers = [(await http.get("http://reached.default/a?b=1")).json() for _ in range(30)]
    assert {answer["port"] for answer in answers} == {server, another}
    assert answers[0]["host"] == "reached.default"
    assert answers[0]["path"] == "/a?b=1"


async def test_named_port_and_bare_name(client: tianlu.AsyncClient, server: int, another: int):
    await client.register(
        "named", address="127.0.0.1", ports=[Port("http", server), Port("admin", another)]
    )
    async with httpx.AsyncClient(transport=tianlu.AsyncTransport(client)) as http:
        assert (await http.get("http://named/")).json()["port"] == server
        assert (await http.get("http://admin.named.default/")).json()["port"] == another
        with pytest.raises(tianlu.InvalidInput, match="no port named 'nope'"):
            await http.get("http://nope.named.default/")


async def test_dead_instance_is_tried_elsewhere_whatever_the_method(
    client: tianlu.AsyncClient, server: int, unused_port: int
):
    await client.register("halfdead", port=server)
    await client.register("halfdead", port=unused_port)
    async with httpx.AsyncClient(transport=tianlu.AsyncTransport(client)) as http:
        for _ in range(10):
            assert (await http.post("http://halfdead/", content=b"x")).json()["body"] == "x"


async def test_broken_answer_is_retried_only_if_idempotent(
    client: tianlu.AsyncClient, server: int, another: int
):
    BREAKING.add(server)
    await client.register("breaking", port=server)
    await client.register("breaking", port=another)
    async with httpx.AsyncClient(transport=tianlu.AsyncTransport(client)) as http:
        for _ in range(10):
            assert (await http.get("http://breaking/break")).json()["port"] == another
        posts = [http.post("http://breaking/break", content=b"x") for _ in range(20)]
        outcomes = await asyncio.gather(*posts, return_exceptions=True)
    assert any(isinstance(one, httpx.TransportError) for one in outcomes)
    assert any(isinstance(one, httpx.Response) for one in outcomes)


async def test_a_body_that_streams_is_sent_once(client: tianlu.AsyncClient, unused_port: int):
    await client.register("streamed", port=unused_port, id="a")
    await client.register("streamed", port=unused_port, id="b")

    async def parts():
        yield b"x"

    async with httpx.AsyncClient(transport=tianlu.AsyncTransport(client)) as http:
        with pytest.raises(httpx.ConnectError):
            await http.post("http://streamed/", content=parts())


async def test_least_request_counts_until_the_body_is_closed(
    client: tianlu.AsyncClient, server: int
):
    registration = await client.register("counted", port=server)
    key = client.service_key("counted")
    async with httpx.AsyncClient(transport=tianlu.AsyncTransport(client)) as http:
        async with http.stream("GET", "http://counted/"):
            assert client.balancer(key)._active == {registration.instance.id: 1}
        assert client.balancer(key)._active == {}


async def test_what_is_no_service_is_refused(client: tianlu.AsyncClient):
    async with httpx.AsyncClient(transport=tianlu.AsyncTransport(client)) as http:
        with pytest.raises(tianlu.NoInstance, match="not registered"):
            await http.get("http://unheard.default/")
        with pytest.raises(tianlu.InvalidInput, match="url"):
            await http.get("http://www.example.org.uk/")
        with pytest.raises(httpx.UnsupportedProtocol):
            await http.get("https://reached/")


async def test_mesher_gets_everything_with_the_host_kept(
    client: tianlu.AsyncClient, server: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TIANLU_MESHER", f"http://127.0.0.1:{server}")
    async with httpx.AsyncClient(transport=tianlu.AsyncTransport(client, mesher=True)) as http:
        answer = (await http.get("http://anything.default/x")).json()
    assert (answer["port"], answer["host"], answer["path"]) == (server, "anything.default", "/x")


async def test_synchronous_transport(shared_registry: RegistryProcess, server: int):
    def work() -> list[int]:
        with tianlu.Client(shared_registry.endpoint) as client:
            client.register("synchronous", port=server)
            with httpx.Client(transport=tianlu.Transport(client)) as http:
                return [http.get("http://synchronous/").json()["port"] for _ in range(3)]

    assert await asyncio.to_thread(work) == [server] * 3


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("orders", (None, "orders")),
        ("orders.shop", (None, "orders.shop")),
        ("admin.orders.shop", ("admin", "orders.shop")),
    ],
)
def test_hosts_name_services(host: str, found: tuple[str | None, str]):
    assert split_host(host) == found


@pytest.mark.parametrize("host", ["", "a..b", ".a", "a.b.c.d"])
def test_other_hosts_do_not(host: str):
    with pytest.raises(tianlu.InvalidInput):
        split_host(host)


@pytest.mark.parametrize("text", ["127.0.0.1:1", "https://a:1", "http://", "::"])
def test_a_mesher_address_must_be_one(text: str):
    with pytest.raises(tianlu.InvalidInput, match="mesher"):
        mesher_url(text)


def test_timeouts_are_not_retried():
    request = httpx.Request("GET", "http://a/")
    assert not repeatable(request, httpx.ReadTimeout("slow"))
    assert repeatable(request, httpx.ConnectTimeout("slow"))
    assert repeatable(request, httpx.ReadError("gone"))
    assert not repeatable(httpx.Request("POST", "http://a/"), httpx.ReadError("gone"))
