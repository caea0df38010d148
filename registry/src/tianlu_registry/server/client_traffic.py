"""Bytes from and to clients, as Envoy counts them: nothing is counted twice for it.

Source: etcd server/etcdserver/api/v3rpc/metrics.go; Envoy documentation, "HTTP connection manager
statistics".
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from tianlu_registry.server.bootstrap import LISTENER_NAME
from tianlu_registry.server.local_http import request

ADMIN_SOCKET_VARIABLE: Final = "TIANLU_ENVOY_ADMIN_SOCKET"
"""Environment variable that tells the application where Envoy's admin interface is."""

_TIMEOUT_SECONDS: Final = 1.0
_STATS: Final = f"http.{LISTENER_NAME}.downstream_cx_(rx|tx)_bytes_total"


def admin_socket() -> Path:
    """Return where this process's Envoy tells its figures."""
    return Path(os.environ[ADMIN_SOCKET_VARIABLE])


class ClientTraffic(Collector):
    """What the clients' listener has received and sent: all of HTTP, also what TLS clients say,
    without TLS's own share.

    Args:
        admin_socket: of Envoy's admin interface.
    """

    def __init__(self, admin_socket: Path) -> None:
        self._admin_socket = admin_socket
        self._bytes = {"rx": 0, "tx": 0}

    async def refresh(self) -> None:
        """Ask Envoy. If it does not answer in time, the last figures stay."""
        path = f"/stats?filter=^{_STATS}$".replace("|", "%7C")
        answer = await request(self._admin_socket, "GET", path, timeout_seconds=_TIMEOUT_SECONDS)
        if answer is not None:
            for direction, count in re.findall(rf"{_STATS}: (\d+)", answer[1].decode()):
                self._bytes[direction] = int(count)

    def collect(self) -> Iterator[Metric]:
        for name, direction, text in (
            ("etcd_network_client_grpc_received_bytes", "rx", "Bytes received from clients."),
            ("etcd_network_client_grpc_sent_bytes", "tx", "Bytes sent to clients."),
        ):
            yield CounterMetricFamily(name, text, value=self._bytes[direction])
