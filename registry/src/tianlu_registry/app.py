"""The composition root of a registry node: what Envoy loads, `tianlu_registry.app:app`.

Everything is made in the lifespan's startup, top to bottom, and unmade in its shutdown. Envoy
listens only after startup, so nothing is served before the node has caught up. `composition` says
how the parts are put together.
"""

from __future__ import annotations

import contextlib
import hmac
import logging
import os
from contextlib import AsyncExitStack

from tianlu_registry.api.grpc_asgi.asgi import Receive, Scope, Send
from tianlu_registry.api.http import HttpRequest, HttpResponse, text_response
from tianlu_registry.audit.running import auditing
from tianlu_registry.authn.caller import serving
from tianlu_registry.authn.client_name import ClientNames
from tianlu_registry.composition.apis import Apis, Parts, compose
from tianlu_registry.composition.callers import callers_of
from tianlu_registry.composition.engine import running_engine
from tianlu_registry.composition.failure import exit_with
from tianlu_registry.cores import kind_of_cores
from tianlu_registry.errors import Unavailable
from tianlu_registry.governance import Governance
from tianlu_registry.server.collector import set_up_collector
from tianlu_registry.server.launcher import (
    ALIVE_PATH,
    DRAIN_PATH,
    RELAY_SECRET_VARIABLE,
    TOKEN_HEADER,
    TOKEN_VARIABLE,
)
from tianlu_registry.server.logs import set_up_logging
from tianlu_registry.server.peer_connections import PeerConnections
from tianlu_registry.server.relay import TlsRelay
from tianlu_registry.server.settings import SETTINGS_VARIABLE, RegistrySettings

_log = logging.getLogger(__name__)


class RegistryApp:
    """The ASGI application.

    Args:
        settings: what the launcher passed on.
        launcher_token: what requests of the launcher carry.
        relay: reads what the TLS listener says of clients; None if there is none.
    """

    def __init__(
        self, settings: RegistrySettings, launcher_token: str, relay: TlsRelay | None = None
    ) -> None:
        self._settings = settings
        self._launcher_token = launcher_token
        self._relay = relay
        self._apis: Apis | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http" and self._apis is not None:
            if self._relay is not None:
                self._relay.read(scope)
            serving(scope)
            await self._apis.entry(scope, receive, send)
        else:
            raise RuntimeError(f"no application for a scope of type {scope['type']}")

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        set_up_logging(self._settings.log_level, self._settings.log_format)
        _log.info("node_starting cores=%s", kind_of_cores())
        try:
            async with AsyncExitStack() as stack:
                self._apis = await self._start(stack)
                await send({"type": "lifespan.startup.complete"})
                await receive()
                self._apis.drain()
        except BaseException as error:  # noqa: BLE001 - whatever it is, the process ends with it
            exit_with(error)
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self, stack: AsyncExitStack) -> Apis:
        settings = self._settings
        engine = await stack.enter_async_context(running_engine(settings))
        governance = await stack.enter_async_context(Governance.start(engine.store))
        # So that a node answers /readyz with yes as soon as it listens. One whose catalogue takes
        # longer serves the rest meanwhile, and says so there.
        with contextlib.suppress(Unavailable):
            await governance.feed.wait_ready()
        callers = callers_of(engine, settings, behind_relay=self._relay is not None)
        stack.callback(callers.close)
        audit = stack.enter_context(
            auditing(
                settings.audit,
                settings.node.name,
                callers.guard,
                client_certificates=callers.believes_certificates,
            )
        )
        connections = self._peer_connections(callers.names)
        if connections is not None:
            await stack.enter_async_context(connections.running())
        apis = compose(settings, Parts(engine, governance, callers, audit, connections))
        self._add_launcher_routes(apis)
        set_up_collector()
        return apis

    def _peer_connections(self, names: ClientNames) -> PeerConnections | None:
        limit = self._settings.client_limits.max_connections_per_client
        if not limit:
            return None
        return PeerConnections(self._settings.client_ports, limit, names.limited_address)

    def _add_launcher_routes(self, apis: Apis) -> None:
        async def alive(request: HttpRequest) -> HttpResponse:
            return self._for_launcher(request) or text_response("ok\n")

        async def drain(request: HttpRequest) -> HttpResponse:
            refused = self._for_launcher(request)
            if refused is None:
                apis.drain()
            return refused or text_response("ok\n")

        apis.http.add("GET", ALIVE_PATH, alive)
        apis.http.add("POST", DRAIN_PATH, drain)

    def _for_launcher(self, request: HttpRequest) -> HttpResponse | None:
        """Return the answer for a stranger; None for the launcher."""
        token = request.header(TOKEN_HEADER.encode()) or b""
        if hmac.compare_digest(token, self._launcher_token.encode()):
            return None
        return text_response("for the launcher only\n", 403)


def _make_app() -> RegistryApp:
    settings = RegistrySettings.from_json(os.environ[SETTINGS_VARIABLE])
    secret = os.environ[RELAY_SECRET_VARIABLE]
    relay = TlsRelay(secret) if secret else None
    return RegistryApp(settings, os.environ[TOKEN_VARIABLE], relay)


def __getattr__(name: str) -> RegistryApp:
    """Make `app` when Envoy asks for it, so that importing this module needs no environment."""
    if name == "app":
        return _make_app()
    raise AttributeError(name)
