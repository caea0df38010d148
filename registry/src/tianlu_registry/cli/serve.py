"""What the launcher runs, as the flags give it; and running it."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, replace
from pathlib import Path
from typing import Final

from tianlu_registry.audit.files import STANDARD_OUTPUT
from tianlu_registry.authn.client_name import Proxies
from tianlu_registry.cli.audit_flags import AuditFlags
from tianlu_registry.cli.auto_tls import (
    client_self_signed,
    provide_for_clients,
    provide_for_peers,
)
from tianlu_registry.cli.client_limit_flags import ClientLimitFlags
from tianlu_registry.cli.limit_flags import LimitFlags
from tianlu_registry.cli.serving_flags import ClientFlags, RunningFlags, UserFlags
from tianlu_registry.cli.tls_flags import ClientTlsFlags
from tianlu_registry.cli.underlying_flags import UnderlyingFlags
from tianlu_registry.cli.urls import split_urls
from tianlu_registry.node.config import NodeConfig
from tianlu_registry.server.addresses import Address, Reservation, TcpAddress, parse_listen_urls
from tianlu_registry.server.client_tls import ClientTls
from tianlu_registry.server.exposure import check_loopback
from tianlu_registry.server.launcher import Launcher, LaunchPlan
from tianlu_registry.server.logs import direct_log
from tianlu_registry.server.preflight import DirectoryLock, check_writable
from tianlu_registry.server.runfile import remove_run_file, write_run_file
from tianlu_registry.server.settings import SETTINGS_VARIABLE, RegistrySettings
from tianlu_registry.server.supervision import Limits

APPLICATION: Final = "tianlu_registry.app:app"
_LISTEN_FLAG: Final = "--listen-client-urls"
_METRICS_FLAG: Final = "--listen-metrics-urls"


def serve(
    node: NodeConfig,
    clients: ClientFlags,
    client_tls: ClientTlsFlags,
    limits: LimitFlags,
    client_limits: ClientLimitFlags,
    users: UserFlags,
    audit: AuditFlags,
    running: RunningFlags,
    underlying: UnderlyingFlags,
) -> int:
    """Check, reserve, and run the launcher. Returns the exit status.

    Raises:
        CannotStart: a check failed; nothing was started.
    """
    if not running.allow_insecure_listen:
        check_loopback(_LISTEN_FLAG, split_urls(clients.listen_client_urls))
        check_loopback("--listen-peer-urls", node.listen_peer_urls)
    if running.run_file is not None:
        check_writable("--run-file", running.run_file)
    audit_options = audit.options()
    limits_of_clients = client_limits.clients()
    Proxies(limits_of_clients.trusted_proxies)
    connections = client_limits.connections()
    addresses = parse_listen_urls(_LISTEN_FLAG, clients.listen_client_urls)
    metrics = _metrics_addresses(clients.listen_metrics_urls)
    has_tls = any(address.is_tls for address in (*addresses, *metrics))
    with (
        DirectoryLock("--data-dir", node.data_dir),
        Reservation(_LISTEN_FLAG, addresses) as held,
        Reservation(_METRICS_FLAG, metrics) as metrics_held,
    ):
        urls = tuple(address.url for address in held.addresses)
        client_urls = split_urls(clients.advertise_client_urls) or urls
        tls = _client_tls(node.data_dir, client_tls, (*urls, *client_urls)) if has_tls else None
        provide_for_peers(node, client_tls)
        settings = RegistrySettings(
            node=replace(node, client_urls=client_urls),
            client_urls=client_urls,
            etcd_endpoints=split_urls(running.etcd_endpoints),
            **asdict(underlying),
            progress_interval_seconds=limits.progress_interval_seconds,
            auth_token=users.auth_token,
            auth_token_ttl_seconds=float(users.auth_token_ttl),
            metrics=running.metrics.value,
            audit=audit_options,
            client_limits=limits_of_clients,
            client_ports=_ports(held.addresses),
            cors=split_urls(clients.cors),
            host_whitelist=split_urls(clients.host_whitelist.lower()),
            client_certificates=tls is not None and tls.client_cert_auth,
            log_level=running.level,
            log_format=running.log_format.value,
        )
        plan = LaunchPlan(
            app=APPLICATION,
            addresses=held.addresses,
            environment={SETTINGS_VARIABLE: settings.to_json()},
            log_level=running.level,
            log_format=running.log_format.value,
            limits=Limits(drain=running.drain_seconds),
            connections=connections,
            tls=tls,
            metrics_addresses=metrics_held.addresses,
            speaks_on_standard_output=audit_options.path == STANDARD_OUTPUT,
        )
        direct_log(running.log_outputs)
        return _launch(plan, running.run_file)


def _ports(addresses: tuple[Address, ...]) -> tuple[int, ...]:
    return tuple(address.port for address in addresses if isinstance(address, TcpAddress))


def _client_tls(data_dir: Path, flags: ClientTlsFlags, urls: tuple[str, ...]) -> ClientTls:
    """Return how TLS addresses are served, checked.

    Raises:
        CannotStart: names the flag that cannot be, and why.
    """
    made = client_self_signed(data_dir.absolute(), flags)
    if made is not None:
        provide_for_clients(made, urls, flags)
    tls = ClientTls(
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
    tls.check()
    return tls


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
