"""`tianlu registry`: runs a registry node. Flags carry etcd's names where they mean the same."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final

import typer

from tianlu_registry.errors import InvalidArgument
from tianlu_registry.node.config import DEFAULT_CLUSTER_TOKEN, GIB, NodeConfig
from tianlu_registry.server.addresses import Reservation, parse_listen_urls
from tianlu_registry.server.client_tls import ClientTls
from tianlu_registry.server.errors import EXIT_USAGE, CannotStart
from tianlu_registry.server.exposure import check_loopback
from tianlu_registry.server.launcher import Launcher, LaunchPlan
from tianlu_registry.server.logs import set_up_logging
from tianlu_registry.server.preflight import DirectoryLock, check_writable
from tianlu_registry.server.retention import parse_retention
from tianlu_registry.server.runfile import remove_run_file, write_run_file
from tianlu_registry.server.settings import SETTINGS_VARIABLE, RegistrySettings
from tianlu_registry.server.supervision import Limits

APPLICATION: Final = "tianlu_registry.app:app"
_LISTEN_FLAG: Final = "--listen-client-urls"

_FLAG_OF_FIELD: Final = {
    "data_dir": "--data-dir",
    "name": "--name",
    "peer_urls": "--initial-advertise-peer-urls",
    "listen_peer_urls": "--listen-peer-urls",
    "cluster_state": "--initial-cluster-state",
    "peer_cert_file": "--peer-cert-file",
    "peer_key_file": "--peer-key-file",
    "peer_trusted_ca_file": "--peer-trusted-ca-file",
    "peer_client_cert_auth": "--peer-client-cert-auth",
    "peer_cert_allowed_cn": "--peer-cert-allowed-cn",
    "initial_cluster": "--initial-cluster",
    "cluster_token": "--initial-cluster-token",
    "quota_bytes": "--quota-backend-bytes",
    "request_bytes_max": "--max-request-bytes",
    "txn_ops_max": "--max-txn-ops",
    "wal_entries_kept": "--snapshot-catchup-entries",
    "tick_milliseconds": "--heartbeat-interval",
    "election_ticks": "--election-timeout",
    "auto_compaction_mode": "--auto-compaction-mode",
    "auto_compaction_retention": "--auto-compaction-retention",
    "compaction_period_seconds": "--auto-compaction-retention",
    "compaction_revisions_kept": "--auto-compaction-retention",
}
"""So that an error names what its reader wrote."""

app = typer.Typer(
    add_completion=False,
    invoke_without_command=True,
    rich_markup_mode="markdown",
    help="Run a registry node: etcd's v3 API and Tianlu's catalogue on one port.",
)


class LogLevel(StrEnum):
    """How much is logged: each level includes the ones below it."""

    DEBUG = "debug"
    INFO = "info"
    WARN = "warn"
    ERROR = "error"


def _option(flag: str, text: str, panel: str) -> object:
    """Return a flag that can also be given as ``TIANLU_<FLAG>``."""
    name = flag.partition("/")[0].removeprefix("--")
    variable = "TIANLU_" + name.replace("-", "_").upper()
    return typer.Option(flag, help=text, envvar=variable, rich_help_panel=panel)


_MEMBER = "Member"
_CLIENTS = "Clients"
_CLUSTER = "Cluster"
_CLIENT_TLS = "TLS for clients"
_PEER_TLS = "TLS between members"
_AUTH = "Users"
_LIMITS = "Limits"
_RUNNING = "Running"


@app.callback()
def registry(
    name: Annotated[str, _option("--name", "Name of this member.", _MEMBER)] = "default",
    data_dir: Annotated[
        Path | None,
        _option("--data-dir", "Directory of the member's data; NAME.tianlu if not given.", _MEMBER),
    ] = None,
    listen_client_urls: Annotated[
        str,
        _option(
            _LISTEN_FLAG,
            "Where clients connect: comma-separated http://host:port or https:// (port 0: any free "
            "one), unix:/path and unixs:/path.",
            _CLIENTS,
        ),
    ] = "http://127.0.0.1:2379",
    advertise_client_urls: Annotated[
        str,
        _option(
            "--advertise-client-urls",
            "Where clients are told to connect; the listen URLs if not given.",
            _CLIENTS,
        ),
    ] = "",
    listen_peer_urls: Annotated[
        str,
        _option(
            "--listen-peer-urls",
            "Where other members connect: comma-separated http://host:port or https://. If not "
            "given: the advertised peer URLs in a cluster of several, nowhere in a cluster of one.",
            _CLUSTER,
        ),
    ] = "",
    initial_advertise_peer_urls: Annotated[
        str,
        _option(
            "--initial-advertise-peer-urls",
            "Where other members are told to connect; a part of the member's identity.",
            _CLUSTER,
        ),
    ] = "http://localhost:2380",
    initial_cluster: Annotated[
        str,
        _option(
            "--initial-cluster",
            "Members at first start, name=url,...; this member alone if not given.",
            _CLUSTER,
        ),
    ] = "",
    initial_cluster_state: Annotated[
        str,
        _option(
            "--initial-cluster-state",
            "'new': the members named found a cluster. 'existing': this one was added to it "
            "(tianlu cluster member add). Read at the first start only.",
            _CLUSTER,
        ),
    ] = "new",
    initial_cluster_token: Annotated[
        str,
        _option("--initial-cluster-token", "Keeps two clusters of equal URLs apart.", _CLUSTER),
    ] = DEFAULT_CLUSTER_TOKEN,
    force_new_cluster: Annotated[
        bool,
        _option(
            "--force-new-cluster",
            "Begin again as a cluster of this member alone, with its data: when the majority is "
            "lost for ever. See the how-to on disaster recovery first.",
            _CLUSTER,
        ),
    ] = False,
    pre_vote: Annotated[
        bool,
        _option("--pre-vote/--no-pre-vote", "Accepted for etcd's sake: always on.", _CLUSTER),
    ] = True,
    heartbeat_interval: Annotated[
        int, _option("--heartbeat-interval", "Milliseconds between heartbeats.", _CLUSTER)
    ] = 100,
    election_timeout: Annotated[
        int, _option("--election-timeout", "Milliseconds without a leader before voting.", _CLUSTER)
    ] = 1000,
    cert_file: Annotated[
        str, _option("--cert-file", "This node's certificate for clients, PEM.", _CLIENT_TLS)
    ] = "",
    key_file: Annotated[str, _option("--key-file", "Its private key, PEM.", _CLIENT_TLS)] = "",
    trusted_ca_file: Annotated[
        str, _option("--trusted-ca-file", "Who signs clients' certificates, PEM.", _CLIENT_TLS)
    ] = "",
    client_cert_auth: Annotated[
        bool,
        _option("--client-cert-auth", "Clients must show a certificate of that CA.", _CLIENT_TLS),
    ] = False,
    client_crl_file: Annotated[
        str,
        _option("--client-crl-file", "Certificates that are not accepted any more.", _CLIENT_TLS),
    ] = "",
    cipher_suites: Annotated[
        str,
        _option(
            "--cipher-suites", "For TLS 1.2, comma-separated; good ones if not given.", _CLIENT_TLS
        ),
    ] = "",
    tls_min_version: Annotated[
        str, _option("--tls-min-version", "TLS1.2 or TLS1.3.", _CLIENT_TLS)
    ] = "TLS1.2",
    tls_max_version: Annotated[
        str, _option("--tls-max-version", "TLS1.2 or TLS1.3; the newest if not given.", _CLIENT_TLS)
    ] = "",
    peer_cert_file: Annotated[
        str, _option("--peer-cert-file", "This member's certificate, PEM.", _PEER_TLS)
    ] = "",
    peer_key_file: Annotated[
        str, _option("--peer-key-file", "Its private key, PEM.", _PEER_TLS)
    ] = "",
    peer_trusted_ca_file: Annotated[
        str,
        _option("--peer-trusted-ca-file", "Who signs the members' certificates, PEM.", _PEER_TLS),
    ] = "",
    peer_client_cert_auth: Annotated[
        bool,
        _option(
            "--peer-client-cert-auth",
            "Members must show a certificate of that CA when they connect.",
            _PEER_TLS,
        ),
    ] = False,
    peer_cert_allowed_cn: Annotated[
        str,
        _option("--peer-cert-allowed-cn", "And its common name must be this.", _PEER_TLS),
    ] = "",
    allow_insecure_listen: Annotated[
        bool,
        _option(
            "--allow-insecure-listen",
            "Listen without TLS on addresses other than loopback: whoever reaches them reads and "
            "writes everything.",
            _RUNNING,
        ),
    ] = False,
    quota_backend_bytes: Annotated[
        int,
        _option(
            "--quota-backend-bytes",
            "Database size above which writes are refused; 0 for the default, 2 GiB.",
            _LIMITS,
        ),
    ] = 0,
    max_request_bytes: Annotated[
        int, _option("--max-request-bytes", "Largest request.", _LIMITS)
    ] = 1536 * 1024,
    max_txn_ops: Annotated[
        int, _option("--max-txn-ops", "Most operations in a transaction.", _LIMITS)
    ] = 128,
    auto_compaction_mode: Annotated[
        str,
        _option(
            "--auto-compaction-mode",
            "How the retention is meant: 'periodic' (a time) or 'revision' (a number of them).",
            _LIMITS,
        ),
    ] = "periodic",
    auto_compaction_retention: Annotated[
        str,
        _option(
            "--auto-compaction-retention",
            "History that compaction keeps: hours, a duration such as 30m, or, by mode, revisions. "
            "0: compact only when asked.",
            _LIMITS,
        ),
    ] = "0",
    snapshot_catchup_entries: Annotated[
        int,
        _option(
            "--snapshot-catchup-entries", "Applied log entries kept behind the database.", _LIMITS
        ),
    ] = 5000,
    snapshot_count: Annotated[
        int,
        _option(
            "--snapshot-count",
            "Accepted for etcd's sake, without effect: the state is committed continuously.",
            _LIMITS,
        ),
    ] = 0,
    watch_progress_notify_interval: Annotated[
        float,
        _option(
            "--watch-progress-notify-interval",
            "Seconds of silence after which watches that asked for it hear how far they are.",
            _LIMITS,
        ),
    ] = 600.0,
    auth_token: Annotated[
        str,
        _option(
            "--auth-token",
            "Tokens of users who have logged in: 'simple', or "
            "'jwt,sign-method=RS256,priv-key=FILE,pub-key=FILE,ttl=10m'.",
            _AUTH,
        ),
    ] = "simple",  # noqa: S107 - the name of a kind
    auth_token_ttl: Annotated[
        int, _option("--auth-token-ttl", "Seconds that an unused simple token lives.", _AUTH)
    ] = 300,
    etcd_endpoints: Annotated[
        str,
        _option(
            "--etcd-endpoints",
            "Stand on this existing etcd cluster (comma-separated URLs) instead of own storage.",
            _RUNNING,
        ),
    ] = "",
    drain_seconds: Annotated[
        float,
        _option("--drain-seconds", "Longest wait for calls in flight when stopping.", _RUNNING),
    ] = 1.0,
    run_file: Annotated[
        Path | None,
        _option("--run-file", "File that says, as JSON, that the node serves and where.", _RUNNING),
    ] = None,
    log_level: Annotated[
        LogLevel, _option("--log-level", "How much to log, to stderr.", _RUNNING)
    ] = LogLevel.INFO,
) -> None:
    """Run a registry node until it is told to stop.

    One port serves etcd's v3 API (gRPC, and JSON under /v3/), the catalogue tianlu.v1 (gRPC, and
    JSON under /v1/), gRPC health and reflection, /health, /livez, /readyz, /version and /metrics.

    SIGTERM and Ctrl-C stop it: streams are told to go, calls in flight end, the data is safe.
    """
    set_up_logging(log_level.value)
    try:
        _check_pre_vote(pre_vote)
        retention = parse_retention(auto_compaction_mode, auto_compaction_retention)
        node = NodeConfig(
            data_dir=data_dir or Path(f"{name}.tianlu"),
            name=name,
            peer_urls=_split(initial_advertise_peer_urls),
            initial_cluster=initial_cluster,
            cluster_token=initial_cluster_token,
            cluster_state=initial_cluster_state,
            force_new_cluster=force_new_cluster,
            listen_peer_urls=_peer_listeners(
                listen_peer_urls, initial_advertise_peer_urls, initial_cluster
            ),
            client_urls=_split(advertise_client_urls),
            peer_cert_file=peer_cert_file,
            peer_key_file=peer_key_file,
            peer_trusted_ca_file=peer_trusted_ca_file,
            peer_client_cert_auth=peer_client_cert_auth,
            peer_cert_allowed_cn=peer_cert_allowed_cn,
            quota_bytes=quota_backend_bytes or 2 * GIB,
            request_bytes_max=max_request_bytes,
            txn_ops_max=max_txn_ops,
            wal_entries_kept=snapshot_catchup_entries,
            compaction_period_seconds=retention.period_seconds,
            compaction_revisions_kept=retention.revisions,
            tick_milliseconds=heartbeat_interval,
            election_ticks=_election_ticks(election_timeout, heartbeat_interval),
        )
        if not allow_insecure_listen:
            check_loopback(_LISTEN_FLAG, _split(listen_client_urls))
            check_loopback("--listen-peer-urls", node.listen_peer_urls)
        status = _serve(
            node,
            listen=listen_client_urls,
            advertise=_split(advertise_client_urls),
            etcd_endpoints=_split(etcd_endpoints),
            progress_interval_seconds=watch_progress_notify_interval,
            auth_token=(auth_token, auth_token_ttl),
            limits=Limits(drain=drain_seconds),
            tls=ClientTls(
                cert_file=cert_file,
                key_file=key_file,
                trusted_ca_file=trusted_ca_file,
                client_cert_auth=client_cert_auth,
                crl_file=client_crl_file,
                cipher_suites=cipher_suites,
                min_version=tls_min_version,
                max_version=tls_max_version,
            ),
            run_file=run_file,
            log_level=log_level.value,
        )
    except InvalidArgument as error:
        flag = _FLAG_OF_FIELD.get(error.field, error.field)
        raise _failed(f"{flag}: {error.problem}", EXIT_USAGE) from error
    except CannotStart as error:
        raise _failed(str(error), error.exit_code) from error
    raise typer.Exit(status)


def _serve(
    node: NodeConfig,
    *,
    listen: str,
    advertise: tuple[str, ...],
    etcd_endpoints: tuple[str, ...],
    progress_interval_seconds: float,
    auth_token: tuple[str, int],
    limits: Limits,
    tls: ClientTls,
    run_file: Path | None,
    log_level: str,
) -> int:
    """Check, reserve, and run the launcher. Returns the exit status.

    Raises:
        CannotStart: a check failed; nothing was started.
    """
    if run_file is not None:
        check_writable("--run-file", run_file)
    addresses = parse_listen_urls(_LISTEN_FLAG, listen)
    has_tls = any(address.is_tls for address in addresses)
    if has_tls:
        tls.check()
    with DirectoryLock("--data-dir", node.data_dir), Reservation(_LISTEN_FLAG, addresses) as held:
        urls = tuple(address.url for address in held.addresses)
        settings = RegistrySettings(
            node=replace(node, client_urls=advertise or urls),
            client_urls=advertise or urls,
            etcd_endpoints=etcd_endpoints,
            progress_interval_seconds=progress_interval_seconds,
            auth_token=auth_token[0],
            auth_token_ttl_seconds=float(auth_token[1]),
            client_certificates=has_tls and tls.client_cert_auth,
            log_level=log_level,
        )
        plan = LaunchPlan(
            app=APPLICATION,
            addresses=held.addresses,
            environment={SETTINGS_VARIABLE: settings.to_json()},
            log_level=log_level,
            limits=limits,
            tls=tls if has_tls else None,
        )
        return _launch(plan, urls, run_file)


def _launch(plan: LaunchPlan, urls: tuple[str, ...], run_file: Path | None) -> int:
    def serving(admin_socket: Path) -> None:
        if run_file is not None:
            addresses = {"client_urls": list(urls), "admin": f"unix:{admin_socket}"}
            write_run_file(run_file, "registry", addresses)

    async def run() -> int:
        return await Launcher(plan, serving).run()

    try:
        return asyncio.run(run())
    finally:
        if run_file is not None:
            remove_run_file(run_file)


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _election_ticks(election_timeout: int, heartbeat_interval: int) -> int:
    """Return the election timeout in heartbeats.

    Raises:
        CannotStart: it is less than five heartbeats, which etcd refuses too.
    """
    if heartbeat_interval <= 0 or election_timeout < 5 * heartbeat_interval:
        raise CannotStart(
            f"--election-timeout: {election_timeout} ms must be at least five times "
            f"--heartbeat-interval ({heartbeat_interval} ms)",
            EXIT_USAGE,
        )
    return election_timeout // heartbeat_interval


def _check_pre_vote(pre_vote: bool) -> None:
    if not pre_vote:
        raise CannotStart(
            "--no-pre-vote: it is always on; without it a member that comes back disturbs the "
            "others by an election",
            EXIT_USAGE,
        )


def _peer_listeners(listen: str, advertise: str, initial_cluster: str) -> tuple[str, ...]:
    """Return where to listen for other members: nowhere in a cluster of one, unless told to."""
    if listen or "," not in initial_cluster:
        return _split(listen)
    return _split(advertise)


def _failed(message: str, exit_code: int) -> typer.Exit:
    print(f"tianlu registry: {message}", file=sys.stderr)
    return typer.Exit(exit_code)
