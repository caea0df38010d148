"""httpx transports that resolve `http://service.namespace/...` by the local cache.

`Transport` (synchronous) is generated from `AsyncTransport` by tools/unasync.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import httpx

from tianlu._balancer import Balancer
from tianlu._client import AsyncClient
from tianlu._model import Instance
from tianlu._route import (
    ATTEMPTS_MAX,
    LIMITS_DEFAULT,
    instance_url,
    mesher_url,
    redirected,
    repeatable,
    split_host,
)
from tianlu._view import ServiceKey


class AsyncTransport(httpx.AsyncBaseTransport):
    """Sends requests for `http://orders.default/...` to an instance of the service.

    The host is "service" (in the client's namespace), "service.namespace" or
    "port-name.service.namespace". The service is subscribed on its first request. Every other
    host is an error: a misspelt service must not turn into a DNS lookup.

    An instance is picked for each request; requests under way are counted, for least-request
    balancing. A request that can be sent again (no body, or one held in memory) is tried on up to
    two other instances
      - if the connection could not be made: the service has not seen it; or
      - if the connection broke before an answer, and the method is idempotent (RFC 9110, 9.2.2).
    Answers and timeouts are never retried.

    Args:
        client: who knows the services; stays the caller's to close.
        mesher: send everything through the mesher instead, which balances, retries and guards: its
            address, such as "http://127.0.0.1:15001", or True for the environment variable
            TIANLU_MESHER. Without the variable, True means direct calls.
        limits: of connections, over all instances; None means 1000, of which 100 may be idle.

    Raises:
        InvalidInput: `mesher` is no address.
    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        mesher: str | bool = False,
        limits: httpx.Limits | None = None,
    ) -> None:
        self._client = client
        self._mesher = mesher_url(mesher)
        # Its pool keeps connections by address and port, so instances do not get mixed up.
        self._inner = httpx.AsyncHTTPTransport(limits=limits or LIMITS_DEFAULT)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request; see the class.

        Raises:
            httpx.UnsupportedProtocol: the scheme is not http.
            InvalidInput: the host cannot name a service, or the service has no such port.
            NoInstance: the service is unknown or has no instance that may be sent traffic.
            httpx.TransportError: as any httpx transport.
        """
        if request.url.scheme != "http":
            raise httpx.UnsupportedProtocol(f"{request.url.scheme}:// is not served by services")
        if self._mesher is not None:
            return await self._inner.handle_async_request(redirected(request, self._mesher))
        port_name, service = split_host(request.url.host)
        key = self._client.service_key(service)
        if not self._client.subscribed(str(key)):
            await self._client.subscribe(str(key))
        tried: list[str] = []
        while True:
            instance = self._client.pick(str(key), exclude=tried)
            tried.append(instance.id)
            try:
                return await self._send(instance, request, key, port_name)
            except httpx.TransportError as error:
                others_left = len(set(tried)) == len(tried) < ATTEMPTS_MAX
                if not others_left or not repeatable(request, error):
                    raise

    async def aclose(self) -> None:
        """Close all connections. The client stays open."""
        await self._inner.aclose()

    async def _send(
        self, instance: Instance, request: httpx.Request, key: ServiceKey, port_name: str | None
    ) -> httpx.Response:
        balancer = self._client.balancer(key)
        balancer.begin(instance.id)
        try:
            response = await self._inner.handle_async_request(
                redirected(request, instance_url(instance, port_name))
            )
        except BaseException:
            balancer.end(instance.id)
            raise
        # Servers and transports of httpx give a stream of the kind that matches the transport.
        stream = cast("httpx.AsyncByteStream", response.stream)
        response.stream = _CountedStream(stream, balancer, instance.id)
        return response


class _CountedStream(httpx.AsyncByteStream):
    """A response body that ends its request in the balancer when it is closed."""

    def __init__(self, stream: httpx.AsyncByteStream, balancer: Balancer, id_: str) -> None:
        self._stream = stream
        self._balancer = balancer
        self._id = id_
        self._open = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    async def aclose(self) -> None:
        try:
            await self._stream.aclose()
        finally:
            if self._open:
                self._open = False
                self._balancer.end(self._id)
