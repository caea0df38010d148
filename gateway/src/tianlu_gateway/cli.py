"""`tianlu gateway`: the entrance from outside."""

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
def gateway(
    listen: Annotated[
        str,
        typer.Option(
            envvar="TIANLU_LISTEN",
            help="The entrance: HOST:PORT or unix:PATH. Use 0.0.0.0 to be reached from elsewhere.",
        ),
    ] = "127.0.0.1:8080",
    registry: options.Registry = "127.0.0.1:2379",
    registry_user: RegistryUser = "",
    registry_password_file: RegistryPasswordFile = None,
    registry_cacert: RegistryCaCert = None,
    registry_cert: RegistryCert = None,
    registry_key: RegistryKey = None,
    registry_server_name: RegistryServerName = "",
    console: Annotated[
        str,
        typer.Option(
            envvar="TIANLU_CONSOLE",
            help="Where the console listens: HOST:PORT or unix:PATH. Without it /console/ is 404.",
        ),
    ] = "",
    status: Annotated[
        str,
        typer.Option(
            envvar="TIANLU_STATUS",
            help="Who answers /healthz, /readyz and /metrics for all parts: HOST:PORT or "
            "unix:PATH. Default: this gateway, for itself.",
        ),
    ] = "",
    control_host: Annotated[
        str,
        typer.Option(
            envvar="TIANLU_CONTROL_HOST",
            metavar="NAME[,NAME]",
            help="Host names under which the console and the control APIs are served, besides IP "
            "addresses and localhost.",
        ),
    ] = "",
    data_dir: options.DataDir = Path(".tianlu/gateway"),
    snapshot_dir: options.SnapshotDir = None,
    status_listen: options.StatusListen = "127.0.0.1:0",
    node_id: options.NodeId = "",
    concurrency: options.Concurrency = 1,
    drain_seconds: options.DrainSeconds = 3.0,
    run_file: options.RunFile = None,
    log_level: options.LogLevelOption = options.LogLevel.INFO,
) -> None:
    """Serve services and the control plane on one port, on Envoy.

    Services stand at `Host: SERVICE.NAMESPACE` and at /s/NAMESPACE/SERVICE/…; the console at
    /console/; the registry's gRPC and JSON APIs at their own paths. It follows the registry, and
    goes on from the host snapshot while no registry can be reached.

    Who calls the registry through it is who he says he is by his own token: the gateway's user and
    certificate are for itself, and are never lent to callers.
    """

    def start() -> NoReturn:
        # Imported here so that `tianlu --help` stays quick.
        from tianlu_gateway.control_plane import STATUS_CLUSTER, ControlPlane
        from tianlu_mesher.addresses import parse_address, parse_host_names, parse_registry
        from tianlu_mesher.prepare import ProxyOptions, launch

        endpoints = parse_registry("--registry", registry)
        access = registry_access(
            user=registry_user,
            password_file=registry_password_file,
            cacert=registry_cacert,
            cert=registry_cert,
            key=registry_key,
            server_name=registry_server_name,
        )
        control = ControlPlane(
            registry=endpoints,
            registry_ca_file=access["ca_file"],
            registry_server_name=registry_server_name,
            console=parse_address("--console", console) if console else None,
            status=parse_address("--status", status) if status else None,
            hosts=parse_host_names("--control-host", control_host),
        )
        launch(
            ProxyOptions(
                role=control.role(),
                static_clusters=control.static_clusters(),
                status_cluster="" if status else STATUS_CLUSTER,
                listen=listen,
                registry=tuple(map(str, endpoints)),
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

    options.or_one_line("gateway", start)
