"""`tianlu mesher`: the proxy of a host."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from tianlu.registry_access import (
    RegistryCaCert,
    RegistryCert,
    RegistryKey,
    RegistryPasswordFile,
    RegistryServerName,
    RegistryUser,
    registry_access,
)
from tianlu_mesher import options

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")


@app.callback(invoke_without_command=True)
def mesher(
    listen: Annotated[
        str,
        typer.Option(
            envvar="TIANLU_LISTEN",
            help="Where applications of this host send their calls: HOST:PORT or unix:PATH. Port "
            "0: the kernel chooses, and the choice is kept for the next start.",
        ),
    ] = "127.0.0.1:15001",
    registry: options.Registry = "127.0.0.1:2379",
    registry_user: RegistryUser = "",
    registry_password_file: RegistryPasswordFile = None,
    registry_cacert: RegistryCaCert = None,
    registry_cert: RegistryCert = None,
    registry_key: RegistryKey = None,
    registry_server_name: RegistryServerName = "",
    namespace: Annotated[
        str,
        typer.Option(
            envvar="TIANLU_NAMESPACE",
            help="Services of this namespace can be called by their bare name.",
        ),
    ] = "default",
    data_dir: options.DataDir = Path(".tianlu/mesher"),
    snapshot_dir: options.SnapshotDir = None,
    status_listen: options.StatusListen = "127.0.0.1:0",
    node_id: options.NodeId = "",
    concurrency: options.Concurrency = 1,
    drain_seconds: options.DrainSeconds = 3.0,
    run_file: options.RunFile = None,
    log_level: options.LogLevelOption = options.LogLevel.INFO,
) -> None:
    """Route calls between services: the proxy of this host, on Envoy.

    Applications send `GET http://orders.default/…` to it as their HTTP proxy, or connect to it
    with that Host (gRPC: authority). HTTP/1.1, HTTP/2, gRPC and WebSocket. It follows the registry,
    and goes on from the host snapshot while no registry can be reached.
    """

    def start() -> NoReturn:
        # Imported here so that `tianlu --help` stays quick.
        from tianlu_mesher.addresses import parse_registry
        from tianlu_mesher.prepare import ProxyOptions, launch
        from tianlu_mesher.routing.role import Role

        access = registry_access(
            user=registry_user,
            password_file=registry_password_file,
            cacert=registry_cacert,
            cert=registry_cert,
            key=registry_key,
            server_name=registry_server_name,
        )
        launch(
            ProxyOptions(
                role=Role("mesher", bare_namespace=namespace),
                static_clusters=(),
                listen=listen,
                registry=tuple(map(str, parse_registry("--registry", registry))),
                access=access,
                data_dir=data_dir,
                snapshot_dir=snapshot_dir,
                node_id=node_id,
                status_listen=status_listen,
                concurrency=concurrency,
                drain_seconds=drain_seconds,
                run_file=run_file,
                log_level=log_level.upper(),
            )
        )

    options.or_one_line("mesher", start)
