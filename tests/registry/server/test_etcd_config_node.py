"""A node from a configuration file of etcd's: names in certificates, metrics without any."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme
from registry.registry_process import RegistryProcess

TEXT = """
name: from-a-file
listen-client-urls: https://127.0.0.1:0
listen-metrics-urls: http://127.0.0.1:0
client-transport-security:
  client-cert-auth: true
  cert-file: {files}/server.pem
  key-file: {files}/server.key
  trusted-ca-file: {files}/ca.pem
client-cert-allowed-hostname: app.example
data-dir: {directory}/data
run-file: {directory}/run.json
audit-log: {directory}/audit.log
log-format: json
log-outputs: [{directory}/node.log]
max-wals: 5
enable-pprof: true
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA, a server's certificate, and two clients'."""
    directory, ca = tmp_path_factory.mktemp("files"), trustme.CA()
    ca.cert_pem.write_to_path(directory / "ca.pem")
    for name, host in (("server", "127.0.0.1"), ("app", "app.example"), ("other", "b.example")):
        issued = ca.issue_cert(host, common_name=f"the {name}")
        issued.private_key_pem.write_to_path(directory / f"{name}.key")
        issued.cert_chain_pems[0].write_to_path(directory / f"{name}.pem")
    return directory


@pytest.fixture(scope="module")
def node(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    directory = tmp_path_factory.mktemp("node")
    file = directory / "etcd.conf.yml"
    file.write_text(TEXT.format(files=files, directory=directory))
    process = RegistryProcess(directory, f"--config-file={file}")
    try:
        process.start()
        yield process
    finally:
        process.kill()


def client(files: Path, name: str) -> httpx.Client:
    context = ssl.create_default_context(cafile=str(files / "ca.pem"))
    context.load_cert_chain(files / f"{name}.pem", files / f"{name}.key")
    return httpx.Client(verify=context)


def test_clients_need_a_certificate_for_the_name(node: RegistryProcess, files: Path) -> None:
    with client(files, "app") as app:
        answer = app.post(f"{node.url}/v3/kv/put", json={"key": "YQ==", "value": "c2VjcmV0"})
        assert answer.json()["header"]["revision"] == "2"
        leader = app.post(f"{node.url}/v3/cluster/member/list", json={}).json()["members"][0]
        assert leader["name"] == "from-a-file"
    with (
        client(files, "other") as other,
        pytest.raises((httpx.ReadError, httpx.RemoteProtocolError, httpx.ConnectError)),
    ):
        other.get(f"{node.url}/health")


def test_the_audit_log_names_the_certificate(node: RegistryProcess, files: Path) -> None:
    with client(files, "app") as app:
        app.post(f"{node.url}/v3/lease/grant", json={"TTL": 60, "ID": 255})
    lines = [json.loads(line) for line in (node.directory / "audit.log").read_text().splitlines()]
    (line,) = [line for line in lines if line.get("lease") == "ff"]
    assert (line["actor"], line["known_by"], line["address"]) == (
        *("the app", "certificate"),
        "127.0.0.1",
    )
    assert line["node"] == "from-a-file"


def test_metrics_and_health_need_none_where_they_stand_alone(node: RegistryProcess) -> None:
    addresses = json.loads((node.directory / "run.json").read_text())["addresses"]
    (url,) = addresses["metrics_urls"]
    assert "etcd_server_has_leader 1.0" in httpx.get(f"{url}/metrics").text
    assert httpx.get(f"{url}/health").json()["health"] == "true"
    assert httpx.get(f"{url}/readyz/catalogue").text == "ok\n"
    for path in ("/v3/kv/range", "/etcdserverpb.KV/Range", "/metrics/x", "/-/alive", "/"):
        assert httpx.post(f"{url}{path}", json={"key": "YQ=="}).status_code == 404


def test_the_log_goes_where_it_was_sent(node: RegistryProcess) -> None:
    assert "flag.without_effect flag=--max-wals" in node.log
    assert "config_file.counts_alone" in node.log
    lines = (node.directory / "node.log").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert any(event["msg"].startswith("node_serving") for event in events)
    assert any(event["msg"].startswith("node.ready") for event in events)
