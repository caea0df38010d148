"""Frames, the outbox, addresses and the other parts without sockets."""

from __future__ import annotations

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tianlu_registry import errors
from tianlu_registry.errors import InvalidArgument, RegistryError, Unavailable
from tianlu_registry.transport import BadPeerMessage, PeerAddress, TransportLimits
from tianlu_registry.transport.calls import rebuild_error
from tianlu_registry.transport.change_log import SUBJECTS_MAX, ChangeLog
from tianlu_registry.transport.dialer import Backoff
from tianlu_registry.transport.frames import PREFACE, FrameKind, FrameReader, frame_header
from tianlu_registry.transport.outbox import BATCH_BYTES, Outbox

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A machine that is busy with something else is no failure."""


def frame(kind: FrameKind, body: bytes) -> bytes:
    return frame_header(kind, len(body)) + body


frames = st.lists(st.tuples(st.sampled_from(FrameKind), st.binary(max_size=50)), max_size=10)


@UNHURRIED
@given(frames, st.data())
def test_frames_are_cut_wherever_the_bytes_are_split(
    sent: list[tuple[FrameKind, bytes]], data: st.DataObject
) -> None:
    stream = PREFACE + b"".join(frame(kind, body) for kind, body in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    reader = FrameReader(1000)
    received = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        received += reader.feed(stream[start:end])
    assert received == sent
    assert reader.version == 1


@pytest.mark.parametrize("size", [0, 1001, 0xFFFFFFFF])
def test_a_frame_of_an_impossible_size_is_refused_before_it_is_here(size: int) -> None:
    reader = FrameReader(1000)
    with pytest.raises(BadPeerMessage, match=f"a frame of {size} bytes"):
        reader.feed(PREFACE + size.to_bytes(4, "little") + b"\x05")


@pytest.mark.parametrize("size", [0, 1001, 0xFFFFFFFF])
def test_the_same_when_its_header_comes_in_pieces(size: int) -> None:
    """Found by the fuzzer: the size was not compared, and gigabytes would have been collected."""
    reader = FrameReader(1000)
    header = PREFACE + size.to_bytes(4, "little") + b"\x05"
    assert reader.feed(header[:10]) == []
    with pytest.raises(BadPeerMessage, match=f"a frame of {size} bytes"):
        reader.feed(header[10:])


@pytest.mark.parametrize(
    ("start", "text"),
    [
        (b"\x16\x03\x01\x02\x00", "speaks TLS"),
        (b"GET / HTTP/1.1\r\n", "speaks HTTP"),
        (b"PRI * HTTP/2.0\r\n", "speaks HTTP"),
        (b"nonsense", "does not speak the peer protocol"),
        (b"TLPEER\x00\x00", "version cannot be 0"),
    ],
)
def test_strangers_are_recognised(start: bytes, text: str) -> None:
    with pytest.raises(BadPeerMessage, match=text):
        FrameReader(1000).feed(start)


def test_the_outbox_is_bounded_in_bytes_and_number() -> None:
    outbox = Outbox(bytes_max=100, messages_max=3)
    assert outbox.push(b"x" * 500)  # one always fits
    assert not outbox.push(b"x")
    assert outbox.clear() == 1
    assert [outbox.push(b"x") for _ in range(4)] == [True, True, True, False]
    buffers, size = outbox.pop_batch()
    assert b"".join(buffers) == frame(FrameKind.MESSAGE, b"x") * 3
    assert size == 18
    assert (len(outbox), outbox.bytes) == (0, 0)
    assert outbox.pop_batch() == ([], 0)
    assert outbox.push(b"x" * 80)
    assert not outbox.push(b"x" * 20)


def test_a_batch_ends_when_it_is_large_enough() -> None:
    outbox = Outbox(bytes_max=10 * BATCH_BYTES, messages_max=100)
    for _ in range(3):
        outbox.push(bytes(BATCH_BYTES - 100))
    _, size = outbox.pop_batch()
    assert BATCH_BYTES <= size < 2 * BATCH_BYTES
    assert len(outbox) == 1


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("http://127.0.0.1:2380", PeerAddress("127.0.0.1", 2380)),
        ("https://host.test:0/", PeerAddress("host.test", 0, is_tls=True)),
        ("http://[::1]:1", PeerAddress("::1", 1)),
        ("unix:/run/peer", PeerAddress(path="/run/peer")),
        ("unix:///run/peer", PeerAddress(path="/run/peer")),
        ("unixs:/run/peer", PeerAddress(path="/run/peer", is_tls=True)),
    ],
)
def test_urls_are_read_and_written(url: str, address: PeerAddress) -> None:
    assert PeerAddress.parse(url) == address
    assert PeerAddress.parse(address.url) == address


@pytest.mark.parametrize(
    "url",
    [
        "",
        "host:2380",
        "tcp://host:1",
        "http://host",
        "http://:1",
        "http://host:99999",
        "http://host:1/path",
        "http://user@host:1",
        "http://[::1:1",
        "unix:",
        "unix:/" + "x" * 107,
    ],
)
def test_what_is_no_peer_url_is_named(url: str) -> None:
    with pytest.raises(InvalidArgument, match="peer_url"):
        PeerAddress.parse(url)


@pytest.mark.parametrize(
    "changes",
    [
        {"dead_after_seconds": 0},
        {"calls_max": -1},
        {"reconnect_seconds_min": 2.0},
        {"frame_bytes_max": 1 << 40},
    ],
)
def test_limits_that_cannot_be_are_named(changes: dict[str, float]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(changes))):
        TransportLimits(**changes)  # type: ignore[arg-type]


def test_waits_double_up_to_a_maximum_less_chance() -> None:
    backoff = Backoff(0.1, 0.5, lambda: 0.0)
    assert [backoff.next() for _ in range(4)] == [0.1, 0.2, 0.4, 0.5]
    backoff.reset()
    assert backoff.next() == 0.1
    assert Backoff(0.1, 0.5, lambda: 1.0).next() == 0.05


def test_what_is_tried_again_is_logged_once_per_change(caplog: pytest.LogCaptureFixture) -> None:
    log = ChangeLog(logging.getLogger("test"))
    for reason in ("a", "a", "b", "a"):
        log.note("event", "subject", reason)
    log.forget("subject")
    log.note("event", "subject", "a")
    assert [record.message.rpartition("=")[2] for record in caplog.records] == ["a", "b", "a", "a"]
    for number in range(SUBJECTS_MAX + 5):
        log.note("event", f"{number}", "a")
    assert len(log._last) == SUBJECTS_MAX


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("LeaseNotFound", errors.LeaseNotFound),
        ("Compacted", errors.Compacted),
        ("InvalidArgument", InvalidArgument),
        ("Corrupt", Unavailable),
        ("check", Unavailable),
        ("ClassVar", Unavailable),
        ("Exception", Unavailable),
        ("FromTheFuture", Unavailable),
    ],
)
def test_errors_are_rebuilt_by_their_name(name: str, kind: type[RegistryError]) -> None:
    error = rebuild_error(name, "field: text")
    assert type(error) is kind
    assert str(error) == "field: text"


def test_every_error_can_be_rebuilt() -> None:
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, RegistryError):
            rebuilt = rebuild_error(name, "a: b")
            assert type(rebuilt) is (Unavailable if issubclass(kind, errors.Broken) else kind)
