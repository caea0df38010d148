"""Two members whose certificates they have made themselves, beside a real etcd: what clients and
dashboards find there."""

from __future__ import annotations

import re
import ssl
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from registry.etcd_process import EtcdProcess
from registry.registry_process import RegistryProcess

START_SECONDS = 90  # two at once, on a machine that may be busy

DASHBOARDS = {
    "etcd_disk_backend_commit_duration_seconds_bucket": {"le"},
    "etcd_disk_wal_fsync_duration_seconds_bucket": {"le"},
    "etcd_mvcc_db_total_size_in_bytes": set(),
    "etcd_mvcc_db_total_size_in_use_in_bytes": set(),
    "etcd_network_client_grpc_received_bytes_total": set(),
    "etcd_network_client_grpc_sent_bytes_total": set(),
    "etcd_network_peer_received_bytes_total": {"From"},
    "etcd_network_peer_round_trip_time_seconds_bucket": {"To", "le"},
    "etcd_network_peer_sent_bytes_total": {"To"},
    "etcd_network_peer_sent_failures_total": {"To"},
    "etcd_server_has_leader": set(),
    "etcd_server_leader_changes_seen_total": set(),
    "etcd_server_proposals_applied_total": set(),
    "etcd_server_proposals_committed_total": set(),
    "etcd_server_proposals_failed_total": set(),
    "etcd_server_proposals_pending": set(),
    "etcd_server_quota_backend_bytes": set(),
    "grpc_server_handled_total": {"grpc_type", "grpc_service", "grpc_method", "grpc_code"},
    "grpc_server_handling_seconds_bucket": {"grpc_type", "grpc_service", "grpc_method", "le"},
    "grpc_server_started_total": {"grpc_type", "grpc_service", "grpc_method"},
    "process_max_fds": set(),
    "process_open_fds": set(),
    "process_resident_memory_bytes": set(),
}
"""What etcd's Grafana dashboard and alerts ask for, and the labels that they use.
Source: etcd contrib/mixin."""


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[RegistryProcess]]:
    directory = tmp_path_factory.mktemp("members")
    sockets = {name: directory / f"{name}.sock" for name in ("n1", "n2")}
    cluster = ",".join(f"{name}=unixs:{path}" for name, path in sockets.items())
    nodes = []
    for name, path in sockets.items():
        (directory / name).mkdir()
        nodes.append(
            RegistryProcess(
                directory / name,
                *("--listen-client-urls=https://127.0.0.1:0", "--auto-tls", "--peer-auto-tls"),
                *(f"--name={name}", f"--initial-cluster={cluster}", "--metrics=extensive"),
                *(f"--initial-advertise-peer-urls=unixs:{path}", "--log-level=warn"),
            )
        )
    try:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda node: node.start(START_SECONDS), nodes))
        yield nodes
    finally:
        for node in nodes:
            node.kill()


def certificate(node: RegistryProcess) -> Path:
    return node.directory / "data" / "fixtures" / "client" / "cert.pem"


@pytest.mark.parametrize("is_blind", [False, True])
def test_clients_use_what_members_have_made(members: list[RegistryProcess], is_blind: bool) -> None:
    node = members[is_blind]
    etcdctl = Path(sys.executable).parent / "etcdctl"
    # etcdctl 3.5 looks at the second one only if it is told the first.
    blind = ("--insecure-transport=false", "--insecure-skip-tls-verify")
    trust = blind if is_blind else (f"--cacert={certificate(node)}",)
    done = subprocess.run(
        [str(etcdctl), f"--endpoints={node.url}", *trust, "put", "a", "b"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("OK\n", "")
    assert (node.directory / "data" / "fixtures" / "peer" / "cert.pem").exists()


def test_nobody_believes_them_unasked(members: list[RegistryProcess]) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"{members[0].url}/health")


def test_dashboards_and_alerts_find_what_they_ask_for(members: list[RegistryProcess]) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate(members[0])))
    with httpx.Client(verify=trusting, base_url=members[0].url) as client:
        client.post("/v3/kv/put", json={"key": "YQ=="})
        ours = labels_of(client.get("/metrics").text)
        sent = client.get("/metrics").text
    assert {name: ours.get(name) for name in DASHBOARDS} == DASHBOARDS
    assert (
        float(
            re.findall(r"^etcd_network_client_grpc_sent_bytes_total (\S+)", sent, re.MULTILINE)[0]
        )
        > 0
    )


def test_names_that_etcd_has_too_have_its_labels(
    members: list[RegistryProcess], tmp_path: Path
) -> None:
    trusting = ssl.create_default_context(cafile=str(certificate(members[0])))
    ours = labels_of(httpx.get(f"{members[0].url}/metrics", verify=trusting).text)
    etcd = EtcdProcess(tmp_path)
    try:
        etcd.start()
        theirs = labels_of(httpx.get(f"{etcd.endpoint}/metrics").text)
    finally:
        etcd.kill()
    shared = {name for name in set(ours) & set(theirs) if not name.startswith("process_")}
    assert len(shared) > 25
    assert {name: ours[name] for name in shared} == {name: theirs[name] for name in shared}


def labels_of(page: str) -> dict[str, set[str]]:
    """Return the labels of each name's samples."""
    found: dict[str, set[str]] = defaultdict(set)
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            found[sample.name] |= set(sample.labels)
    return dict(found)
