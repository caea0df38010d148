"""Envoy's administration interface, over its unix socket."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path

from tianlu_mesher.errors import EnvoyFailed
from tianlu_mesher.local_http import ask

_TIMEOUT_SECONDS = 3.0


class EnvoyAdmin:
    """Asks Envoy, on a connection for each question."""

    def __init__(self, socket_path: Path) -> None:
        self._socket = str(socket_path)

    async def live(self) -> bool:
        """Whether Envoy has started its listeners and is not draining."""
        answer = await ask("/ready", unix_socket=self._socket, timeout_seconds=_TIMEOUT_SECONDS)
        return answer.status == HTTPStatus.OK

    async def metrics(self) -> bytes:
        """Return Envoy's statistics in Prometheus' text format, those that were ever touched.

        Raises:
            EnvoyFailed: Envoy does not answer within 3 s.
        """
        path = "/stats/prometheus?usedonly"
        answer = await ask(path, unix_socket=self._socket, timeout_seconds=_TIMEOUT_SECONDS)
        if answer.status != HTTPStatus.OK:
            raise EnvoyFailed("Envoy's administration interface does not answer")
        return answer.content
