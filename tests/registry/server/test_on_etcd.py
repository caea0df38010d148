"""`tianlu registry --etcd-endpoints` on an etcd with TLS and users, as processes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
import trustme
from registry.etcd_process import EtcdProcess
from registry.registry_process import RegistryProcess

ETCDCTL = Path(sys.executable).parent / "etcdctl"


@pytest.fixture
def etcd(tmp_path: Path) -> Iterator[EtcdProcess]:
    """One that shows a certificate, and wants one of the same authority."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    for name, issued in (
        ("server", authority.issue_cert("127.0.0.1")),
        ("node", authority.issue_cert("node", common_name="root")),
    ):
        issued.private_key_pem.write_to_path(str(tmp_path / f"{name}.key"))
        issued.cert_chain_pems[0].write_to_path(str(tmp_path / f"{name}.pem"))
    process = EtcdProcess(tmp_path)
    url = f"https://127.0.0.1:{process.client_port}"
    process.arguments = (
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--cert-file={tmp_path / 'server.pem'}",
        f"--key-file={tmp_path / 'server.key'}",
        f"--trusted-ca-file={tmp_path / 'ca.pem'}",
        "--client-cert-auth",
    )
    process.start()
    yield process
    process.kill()


@pytest.fixture
def node(etcd: EtcdProcess, tmp_path: Path) -> Iterator[RegistryProcess]:
    (tmp_path / "password").write_text("r\n")
    (tmp_path / "node").mkdir()
    process = RegistryProcess(
        tmp_path / "node",
        f"--etcd-endpoints=https://127.0.0.1:{etcd.client_port}",
        f"--etcd-cacert={tmp_path / 'ca.pem'}",
        f"--etcd-cert={tmp_path / 'node.pem'}",
        f"--etcd-key={tmp_path / 'node.key'}",
        "--etcd-user=root",
        f"--etcd-password-file={tmp_path / 'password'}",
    )
    process.start()
    yield process
    process.kill()


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline


def test_users_of_the_etcd_underneath(node: RegistryProcess) -> None:
    def etcdctl(*arguments: str, user: str = "") -> str:
        done = subprocess.run(
            [
                ETCDCTL,
                f"--endpoints={node.target}",
                *([f"--user={user}"] if user else []),
                *arguments,
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
        return (done.stdout + done.stderr).strip()

    services = f"{node.url}/v1/namespaces/default/services"
    assert etcdctl("put", "k", "v") == "OK"
    assert httpx.get(services).status_code == 200
    for command in (
        ("user", "add", "root:r"),
        ("user", "grant-role", "root", "root"),
        ("user", "add", "alice:a"),
        ("role", "add", "mine"),
        ("role", "grant-permission", "mine", "readwrite", "mine/", "--prefix=true"),
        ("user", "grant-role", "alice", "mine"),
        ("auth", "enable"),
    ):
        assert "Error" not in etcdctl(*command), command
    assert etcdctl("put", "mine/a", "1", user="alice:a") == "OK"
    assert "permission denied" in etcdctl("put", "k", "2", user="alice:a")
    # The node's certificate is root's at etcd: nobody else gets what is root's by it.
    wait_for(lambda: "user name is empty" in etcdctl("get", "k"))
    assert "authentication failed" in etcdctl("get", "k", user="alice:b")
    assert etcdctl("get", "k", "--print-value-only", user="root:r") == "v"
    # The catalogue is the node's to read, and given to those who might read it themselves.
    tokens = {
        name: httpx.post(
            f"{node.url}/v3/auth/authenticate", json={"name": name, "password": password}
        ).json()["token"]
        for name, password in (("root", "r"), ("alice", "a"))
    }
    root = {"authorization": tokens["root"]}
    status = httpx.post(f"{node.url}/v3/auth/status", json={}, headers=root).json()
    assert status["enabled"] is True
    seen = {
        name: httpx.get(services, headers={"authorization": token}).status_code
        for name, token in tokens.items()
    }
    assert seen == {"root": 200, "alice": 403}
    assert httpx.get(services).status_code == 400
    assert httpx.get(f"{node.url}/readyz").status_code == 200


def test_a_flag_that_lacks_its_other(tmp_path: Path) -> None:
    node = RegistryProcess(tmp_path, "--etcd-endpoints=http://127.0.0.1:1", "--etcd-user=root")
    with pytest.raises(RuntimeError, match="etcd_password_file: is missing"):
        node.start()
