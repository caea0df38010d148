"""Envoy's administration interface, over its unix socket."""

from __future__ import annotations

from pathlib import Path

import httpx

from tianlu_mesher.errors import EnvoyFailed

_TIMEOUT_SECONDS = 3.0


class EnvoyAdmin:
    """Asks Envoy. Every call raises EnvoyFailed if it does not answer in 3 s."""

    def __init__(self, socket_path: Path) -> None:
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(socket_path)),
            base_url="http://envoy",
            timeout=_TIMEOUT_SECONDS,
            trust_env=False,
        )

    async def close(self) -> None:
        """Close the connection."""
        await self._client.aclose()

    async def live(self) -> bool:
        """Whether Envoy has started its listeners and is not draining."""
        try:
            return (await self._get("/ready")).status_code == httpx.codes.OK
        except EnvoyFailed:
            return False

    async def metrics(self) -> bytes:
        """Return Envoy's statistics in Prometheus' text format, those that were ever touched."""
        return (await self._get("/stats/prometheus?usedonly")).content

    async def _get(self, path: str) -> httpx.Response:
        try:
            return await self._client.get(path)
        except httpx.HTTPError as error:
            raise EnvoyFailed(f"Envoy's administration interface: {error!r}") from error
