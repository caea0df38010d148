"""The benchmark's HTTP/2 against the hyper project's, which decodes and encodes as others do."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import h2.settings
import hpack
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from tianlu._cli.bench import http2
from tianlu._cli.bench.call import Caller
from tianlu._cli.bench.http2 import Outcome, RequestHeaders, ResponseHeaders
from tianlu._cli.bench.target import Target
from tianlu._credentials import Credentials
from tianlu._endpoint import Endpoint
from tianlu._errors import Conflict, NotAllowed, TianluError, Unavailable
from tianlu._proto.etcd import rpc_pb2 as etcd

FIELDS = [(":authority", "127.0.0.1:2379"), ("content-type", "application/grpc"), ("te", "x")]
paths = st.sampled_from(["/a", "/etcdserverpb.KV/Put", "/" + "long" * 60])


@given(st.lists(paths, max_size=12), st.sampled_from([0, 100, 200, 4096]), st.integers(0, 300))
def test_request_headers_mean_what_was_asked(
    asked: list[str], table_bytes: int, token: int
) -> None:
    fields = [*FIELDS, ("token", "t" * token)]
    headers = RequestHeaders("https", fields, table_bytes)
    decoder = hpack.Decoder()
    decoder.header_table.maxsize = table_bytes
    for path in asked:
        expected = [(":method", "POST"), (":scheme", "https"), (":path", path), *fields]
        assert decoder.decode(headers.block(path)) == expected


def test_request_headers_are_a_few_bytes_from_the_second_on() -> None:
    headers = RequestHeaders("http", FIELDS)
    headers.block("/etcdserverpb.KV/Put")
    assert len(headers.block("/etcdserverpb.KV/Put")) == 6


texts = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters="%"))


@given(
    st.lists(st.tuples(st.sampled_from([0, 5, 14]), st.sampled_from(["", "gone", "busy"]))),
    st.booleans(),
)
def test_trailers_are_read_whether_or_not_they_were_seen(
    asked: list[tuple[int, str]], huffman: bool
) -> None:
    encoder, headers = hpack.Encoder(), ResponseHeaders()
    for status, text in asked:
        block = encoder.encode(
            [("grpc-status", str(status)), ("grpc-message", text)], huffman=huffman
        )
        assert headers.read(block) == Outcome(status, text)
        start = encoder.encode([(":status", "200"), ("content-type", "application/grpc")])
        assert headers.read(start) == Outcome(None)


def test_a_full_table_is_followed() -> None:
    """The same bytes mean something else when entries have moved."""
    encoder, headers = hpack.Encoder(), ResponseHeaders()
    for number in range(300):
        text = f"message {number % 130:064d}"
        block = encoder.encode([("grpc-status", "5"), ("grpc-message", text)])
        assert headers.read(block) == Outcome(5, text)


def test_an_answer_that_is_not_grpc_is_an_error() -> None:
    block = hpack.Encoder().encode([(":status", "502")])
    assert ResponseHeaders().read(block) == Outcome(2, "HTTP status 502")


@given(st.binary(max_size=40), st.integers(0, 20))
def test_padding_goes(content: bytes, padding: int) -> None:
    padded = bytes((padding,)) + content + bytes(padding)
    assert http2.unpadded(http2.PADDED, padded) == content
    assert http2.unpadded(0, content) == content


Serve = Callable[[h2.connection.H2Connection, h2.events.Event], None]


@contextmanager
def serving(
    serve: Serve, *, tls: ssl.SSLContext | None = None, **settings: int
) -> Iterator[Target]:
    """Serve one connection after the other with the hyper project's HTTP/2."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        arguments = (listener, serve, tls, settings)
        thread = threading.Thread(target=_serve_all, args=arguments, daemon=True)
        thread.start()
        endpoint = Endpoint(f"127.0.0.1:{listener.getsockname()[1]}")
        yield Target(endpoint, Credentials(), "", 10.0)
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def _serve_all(
    listener: socket.socket, serve: Serve, tls: ssl.SSLContext | None, settings: dict[str, int]
) -> None:
    while True:
        try:
            accepted, _ = listener.accept()
        except OSError:
            return
        with accepted, suppress(ssl.SSLError, ConnectionError):  # a client may not trust us
            if tls is None:
                _serve_one(accepted, serve, settings)
            else:
                with tls.wrap_socket(accepted, server_side=True) as secured:
                    _serve_one(secured, serve, settings)


def _serve_one(accepted: socket.socket, serve: Serve, settings: dict[str, int]) -> None:
    config = h2.config.H2Configuration(client_side=False)
    peer = h2.connection.H2Connection(config)
    peer.initiate_connection()
    codes = h2.settings.SettingCodes
    peer.update_settings({codes[name]: value for name, value in settings.items()})
    accepted.sendall(peer.data_to_send())
    while data := accepted.recv(65536):
        for event in peer.receive_data(data):
            serve(peer, event)
        accepted.sendall(peer.data_to_send())


def answer(peer: h2.connection.H2Connection, stream: int, *trailers: tuple[str, str]) -> None:
    """Answer with a PutResponse at revision 7, in pieces, some of them padded."""
    response = etcd.PutResponse(header=etcd.ResponseHeader(revision=7)).SerializeToString()
    message = http2.grpc_message(response)
    peer.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
    peer.send_data(stream, message[:3], pad_length=9)
    peer.send_data(stream, message[3:])
    peer.send_headers(stream, list(trailers) or [("grpc-status", "0")], end_stream=True)


def put(caller: Caller, value: bytes = b"v") -> int:
    request = etcd.PutRequest(key=b"k", value=value)
    response = caller.call("/etcdserverpb.KV/Put", request, etcd.PutResponse)
    return response.header.revision


def test_calls_are_answered() -> None:
    def serve(peer: h2.connection.H2Connection, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            answer(peer, event.stream_id)
        if isinstance(event, h2.events.RequestReceived):
            peer.ping(b"12345678")

    with serving(serve) as target, closing(Caller(target)) as caller:
        assert [put(caller) for _ in range(3)] == [7, 7, 7]


def _authority(directory: Path) -> tuple[ssl.SSLContext, Credentials]:
    """Return a server's side of TLS and the credentials of clients that trust it."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("registry.test").configure_cert(context)
    file = directory / "authority.pem"
    authority.cert_pem.write_to_path(file)
    return context, Credentials(ca_file=file, server_name="registry.test")


def test_calls_over_tls(tmp_path: Path) -> None:
    def serve(peer: h2.connection.H2Connection, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.DataReceived):
            peer.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if isinstance(event, h2.events.StreamEnded):
            answer(peer, event.stream_id)

    context, credentials = _authority(tmp_path)
    context.set_alpn_protocols(["h2"])
    with serving(serve, tls=context) as found:
        target = replace(found, endpoint=replace(found.endpoint, tls=True), credentials=credentials)
        with closing(Caller(target)) as caller:
            assert put(caller, b"v" * 200_000) == 7
            assert put(caller) == 7
        with pytest.raises(NotAllowed, match="TLS: "):
            Caller(replace(target, credentials=Credentials()))


def test_tls_without_http2(tmp_path: Path) -> None:
    context, credentials = _authority(tmp_path)
    with serving(lambda peer, event: None, tls=context) as found:
        endpoint = replace(found.endpoint, tls=True)
        with pytest.raises(Unavailable, match="does not speak HTTP/2 over TLS"):
            Caller(replace(found, endpoint=endpoint, credentials=credentials))


@pytest.mark.parametrize("window", [1_000, 70_000])
def test_the_servers_windows_are_obeyed(window: int) -> None:
    """hyper's HTTP/2 ends the connection of who sends more than was granted."""
    taken: list[int] = []

    def serve(peer: h2.connection.H2Connection, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.DataReceived):
            taken.append(event.flow_controlled_length)
            peer.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        if isinstance(event, h2.events.StreamEnded):
            answer(peer, event.stream_id)

    settings = {"INITIAL_WINDOW_SIZE": window}
    with serving(serve, **settings) as target, closing(Caller(target)) as caller:
        assert put(caller, b"v" * 300_000) == 7
        assert put(caller) == 7
    assert sum(taken) > 300_000


def test_a_refusal_is_an_error_with_the_servers_text() -> None:
    def serve(peer: h2.connection.H2Connection, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            refusal = [("grpc-status", "9"), ("grpc-message", "etcdserver: 100%25 full")]
            answer(peer, event.stream_id, *refusal)

    with (
        serving(serve) as target,
        closing(Caller(target)) as caller,
        pytest.raises(Conflict, match="100% full"),
    ):
        put(caller)


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (lambda peer, stream: peer.reset_stream(stream, 2), "reset the stream"),
        (lambda peer, stream: peer.close_connection(additional_data=b"later"), "away: later"),
    ],
)
def test_a_call_that_the_server_breaks_off(end: Callable[..., None], said: str) -> None:
    def serve(peer: h2.connection.H2Connection, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.StreamEnded):
            end(peer, event.stream_id)

    with (
        serving(serve) as target,
        closing(Caller(target)) as caller,
        pytest.raises(Unavailable, match=said),
    ):
        put(caller)


@pytest.mark.parametrize("said", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
def test_who_does_not_speak_http2(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            accepted, _ = listener.accept()
            with accepted:
                accepted.recv(1024)
                accepted.sendall(said)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        endpoint = Endpoint(f"127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(TianluError):
            Caller(Target(endpoint, Credentials(), "", 5.0))
        thread.join(5)


def test_who_is_not_there(unused_port: int) -> None:
    endpoint = Endpoint(f"127.0.0.1:{unused_port}")
    with pytest.raises(Unavailable, match="refused"):
        Caller(Target(endpoint, Credentials(), "", 5.0))
    with pytest.raises((Unavailable, NotAllowed)):
        Caller(Target(Endpoint(endpoint.target, tls=True), Credentials(), "", 5.0))
