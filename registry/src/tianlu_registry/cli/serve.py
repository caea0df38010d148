"""What the launcher runs, as the flags give it; and running it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from tianlu_registry.audit.files import STANDARD_OUTPUT
from tianlu_registry.authn.client_name import Proxies
from tianlu_registry.cli.all_flags import Flags
from tianlu_registry.cli.auto_tls import (
    client_self_signed,
    provide_for_clients,
    provide_for_peers,
)
from tianlu_registry.cli.tls_flags import ClientTlsFlags
from tianlu_registry.cli.urls import split_urls
from tianlu_registry.node.config import NodeConfig
from tianlu_registry.server.addresses import Address, Reservation, TcpAddress, parse_listen_urls
from tianlu_registry.server.client_tls import ClientTls
from tianlu_registry.server.exposure import check_loopback
from tianlu_registry.server.launcher import Launcher, LaunchPlan
from tianlu_registry.server.logs import direct_log
from tianlu_registry.server.preflight import DirectoryLock, check_writable
from tianlu_registry.server.runfile import remove_run_file, write_run_file
from tianlu_registry.server.self_signed import SelfSigned
from tianlu_registry.server.settings import SETTINGS_VARIABLE, RegistrySettings
from tianlu_registry.server.supervision import Limits

APPLICATION: Final = "tianlu_registry.app:app"
_LISTEN_FLAG: Final = "--listen-client-urls"
_METRICS_FLAG: Final = "--listen-metrics-urls"


def serve(flags: Flags, node: NodeConfig) -> int:
    """Check, reserve, and run the launcher. Returns the exit status.

    Raises:
        CannotStart: a check failed; nothing was started.
        InvalidArgument: the same, and names the field.
    """
    _check_exposure(flags, node)
    run_file = flags.running.run_file
    if run_file is not None:
        check_writable("--run-file", run_file)
    addresses = parse_listen_urls(_LISTEN_FLAG, flags.clients.listen_client_urls)
    metrics = _metrics_addresses(flags.clients.listen_metrics_urls)
    has_tls = any(address.is_tls for address in (*addresses, *metrics))
    made = client_self_signed(node.data_dir.absolute(), flags.client_tls) if has_tls else None
    tls = _client_tls(flags.client_tls, made) if has_tls else None
    if tls is not None and made is None:
        tls.check()
    settings = _settings(flags, node, tls)
    connections = flags.client_limits.connections()
    with (
        DirectoryLock("--data-dir", node.data_dir),
        Reservation(_LISTEN_FLAG, addresses) as held,
        Reservation(_METRICS_FLAG, metrics) as metrics_held,
    ):
        settings = _settings_at(settings, held.addresses)
        if tls is not None and made is not None:
            urls = [*settings.client_urls, *(address.url for address in held.addresses)]
            provide_for_clients(made, urls, flags.client_tls)
            tls.check()
        provide_for_peers(node, flags.client_tls)
        plan = LaunchPlan(
            app=APPLICATION,
            addresses=held.addresses,
            environment={SETTINGS_VARIABLE: settings.to_json()},
            log_level=settings.log_level,
            log_format=settings.log_format,
            limits=Limits(drain=flags.running.drain_seconds),
            connections=connections,
            tls=tls,
            metrics_addresses=metrics_held.addresses,
            speaks_on_standard_output=settings.audit.path == STANDARD_OUTPUT,
        )
        direct_log(flags.running.log_outputs)
        return _launch(plan, run_file)


def _check_exposure(flags: Flags, node: NodeConfig) -> None:
    if not flags.running.allow_insecure_listen:
        check_loopback(_LISTEN_FLAG, split_urls(flags.clients.listen_client_urls))
        check_loopback("--listen-peer-urls", node.listen_peer_urls)


def _settings(flags: Flags, node: NodeConfig, tls: ClientTls | None) -> RegistrySettings:
    """Return what the application is told, but for the addresses that are not reserved yet.

    Raises:
        CannotStart, InvalidArgument: a flag cannot be.
    """
    clients, running = flags.clients, flags.running
    client_limits = flags.client_limits.clients()
    Proxies(client_limits.trusted_proxies)
    return RegistrySettings(
        node=node,
        client_urls=split_urls(clients.advertise_client_urls),
        etcd_endpoints=split_urls(running.etcd_endpoints),
        **asdict(flags.underlying),
        progress_interval_seconds=flags.limits.progress_interval_seconds,
        auth_token=flags.users.auth_token,
        auth_token_ttl_seconds=float(flags.users.auth_token_ttl),
        metrics=running.metrics.value,
        audit=flags.audit.options(),
        client_limits=client_limits,
        cors=split_urls(clients.cors),
        host_whitelist=split_urls(clients.host_whitelist.lower()),
        client_certificates=tls is not None and tls.client_cert_auth,
        log_level=running.level,
        log_format=running.log_format.value,
    )


def _settings_at(settings: RegistrySettings, addresses: tuple[Address, ...]) -> RegistrySettings:
    """Return the settings of a node that listens for clients at `addresses`."""
    client_urls = settings.client_urls or tuple(address.url for address in addresses)
    return replace(
        settings,
        node=replace(settings.node, client_urls=client_urls),
        client_urls=client_urls,
        client_ports=_ports(addresses),
    )


def _ports(addresses: tuple[Address, ...]) -> tuple[int, ...]:
    return tuple(address.port for address in addresses if isinstance(address, TcpAddress))


def _client_tls(flags: ClientTlsFlags, made: SelfSigned | None) -> ClientTls:
    """Return how TLS addresses are served, not yet checked.

    Args:
        made: the certificate that the node makes itself, if it does.
    """
    return ClientTls(
        cert_file=str(made.cert_file) if made else flags.cert_file,
        key_file=str(made.key_file) if made else flags.key_file,
        trusted_ca_file=flags.trusted_ca_file,
        client_cert_auth=flags.client_cert_auth,
        allowed_hostname=flags.client_cert_allowed_hostname,
        crl_file=flags.client_crl_file,
        cipher_suites=flags.cipher_suites,
        min_version=flags.tls_min_version,
        max_version=flags.tls_max_version,
    )


def _metrics_addresses(text: str) -> tuple[Address, ...]:
    """Return where metrics are served. Without TLS they may be reached from other machines: they
    say nothing of what is stored."""
    return parse_listen_urls(_METRICS_FLAG, text) if text else ()


def _launch(plan: LaunchPlan, run_file: Path | None) -> int:
    def serving(admin_socket: Path) -> None:
        if run_file is not None:
            addresses: dict[str, str | list[str]] = {
                "client_urls": [address.url for address in plan.addresses],
                "admin": f"unix:{admin_socket}",
            }
            if plan.metrics_addresses:
                addresses["metrics_urls"] = [address.url for address in plan.metrics_addresses]
            write_run_file(run_file, "registry", addresses)

    async def run() -> int:
        return await Launcher(plan, serving).run()

    try:
        return asyncio.run(run())
    finally:
        if run_file is not None:
            remove_run_file(run_file)
