"""Connections per client: the kernel's table as it is written, and whose connections end."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianlu_registry.server.peer_connections import (
    Connection,
    PeerConnections,
    excess,
    read_table,
)

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when uid timeout inode\n"
LINE = "   0: {local} {remote} {state} 0:0 00:0 00000000     0        0 {inode} 1 0 20\n"


def table(*rows: tuple[str, str, str, int]) -> str:
    return HEAD + "".join(
        LINE.format(local=local, remote=remote, state=state, inode=inode)
        for local, remote, state, inode in rows
    )


def test_the_kernels_table_is_understood() -> None:
    text = table(
        ("0100007F:094B", "0200007F:C350", "01", 11),
        ("0100007F:094B", "0200007F:C351", "06", 12),  # it is closing
        ("0100007F:1F90", "0200007F:C352", "01", 13),  # another port
        (
            "0000000000000000FFFF00000100007F:094B",
            "0000000000000000FFFF000001020304:0001",
            "01",
            14,
        ),
        (
            "00000000000000000000000001000000:094B",
            "B80D0120000000000000000001000000:0002",
            "01",
            15,
        ),
    )
    assert list(read_table(text, frozenset({2379}))) == [
        Connection("127.0.0.2", 50000, 11),
        Connection("4.3.2.1", 1, 14),
        Connection("2001:db8::1", 2, 15),
    ]


CONNECTIONS = st.lists(
    st.tuples(st.sampled_from(["a", "b", "proxy"]), st.integers(1, 30)), unique=True
).map(lambda pairs: [Connection(host, port, 100 * port) for host, port in pairs])


@given(connections=CONNECTIONS, known=st.integers(0, 30), share=st.integers(1, 5))
def test_everybody_keeps_his_share_and_his_oldest(
    connections: list[Connection], known: int, share: int
) -> None:
    old = frozenset(one for one in connections if one.port <= known)
    ended = excess(connections, old, share, lambda host: None if host == "proxy" else host)
    for host in ("a", "b"):
        theirs = [one for one in connections if one.host == host]
        left = [one for one in theirs if one not in ended]
        assert len(left) == min(share, len(theirs))
        if any(one in old for one in ended if one.host == host):
            assert all(one in old for one in left)
    assert all(one.host != "proxy" for one in ended)
    assert len(set(ended)) == len(ended)


def test_what_is_too_much_is_shut_down() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connections = PeerConnections([port], 2, lambda host: host)
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        accepted = [server.accept()[0] for _ in range(2)]
        connections.look()
        clients.append(socket.create_connection(("127.0.0.1", port)))
        accepted.append(server.accept()[0])
        connections.look()
        assert connections.ended == 1
        assert accepted[2].recv(1) == b""
        clients[2].settimeout(10)
        assert clients[2].recv(1) == b""
        accepted[0].sendall(b"x")
        assert clients[0].recv(1) == b"x"
        for one in (*clients, *accepted):
            one.close()


def test_nothing_to_end() -> None:
    connections = PeerConnections([1], 1, lambda host: host)
    connections.look()
    assert connections.ended == 0


@pytest.mark.parametrize("text", ["", HEAD])
def test_an_empty_table(text: str) -> None:
    assert list(read_table(text, frozenset({1}))) == []
