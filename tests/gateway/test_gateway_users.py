"""Gateway and mesher before a registry that speaks TLS and asks who calls."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import trustme
from mesher.lab.envoy_bench import until
from mesher.lab.proxy_process import ProxyProcess
from mesher.lab.registry_process import RegistryProcess
from mesher.lab.upstreams import http_upstream

import tianlu
from tianlu import Access, AsyncClient
from tianlu_gateway.control_plane import REGISTRY_CLUSTER, ControlPlane
from tianlu_mesher.addresses import parse_registry
from tianlu_mesher.envoy_api import to_json
from tianlu_mesher.resources.bootstrap import BootstrapPlan, bootstrap
from tianlu_mesher.resources.socket_address import SocketAddress

PATIENCE_SECONDS = 60.0


class Certificates:
    """An authority's file, and a server's certificate for 127.0.0.1."""

    def __init__(self, directory: Path) -> None:
        authority = trustme.CA()
        issued = authority.issue_cert("127.0.0.1")
        self.ca, self.cert, self.key = (directory / name for name in ("ca", "cert", "key"))
        authority.cert_pem.write_to_path(str(self.ca))
        self.cert.write_bytes(b"".join(each.bytes() for each in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(self.key))


async def make_users(client: AsyncClient) -> None:
    """Root, a writer, and reader for the proxies; each one's password is the name."""
    auth = client.auth
    for role, access in (("reader", Access.READ), ("writer", Access.READWRITE)):
        await auth.add_role(role)
        await auth.grant_permission(role, access, "/tianlu/v1/", prefix=True)
    for name in ("root", "reader", "writer"):
        await auth.add_user(name, name)
        await auth.grant_role(name, name)


async def test_proxies_are_somebody_and_lend_it_to_nobody(tmp_path: Path) -> None:
    files = Certificates(tmp_path)
    password = tmp_path / "password"
    password.write_text("reader\n")
    async with (
        RegistryProcess(
            *("--cert-file", str(files.cert), "--key-file", str(files.key)), scheme="https"
        ) as registry,
        AsyncClient(
            registry.endpoint, timeout_seconds=PATIENCE_SECONDS, user="root", password="root"
        ) as root,
        http_upstream("a") as a,
    ):
        await make_users(root)
        flags = (
            *("--registry-cacert", str(files.ca), "--registry-user", "reader"),
            *("--registry-password-file", str(password)),
        )
        async with (
            ProxyProcess("gateway", "--registry", registry.url, *flags) as gateway,
            ProxyProcess(
                "mesher", "--registry", f"{registry.url},{registry.endpoint}", *flags
            ) as mesher,
        ):
            await root.auth.enable()
            await registry.kill()  # what was followed without a token has to be followed anew
            await registry.start()
            entrance = gateway.addresses["http"]
            async with AsyncClient(
                entrance, timeout_seconds=PATIENCE_SECONDS, user="writer", password="writer"
            ) as writer:
                await writer.register("orders", port=a, address="127.0.0.1", id="a")
                for proxy in (gateway, mesher):
                    await until(lambda proxy=proxy: answers(proxy), PATIENCE_SECONDS)
                    assert (await proxy.status()).json()["degraded"] == ""
                with pytest.raises(tianlu.PermissionDenied, match="by user 'writer'"):
                    await writer.kv.put("other", "1")
            async with AsyncClient(entrance, timeout_seconds=PATIENCE_SECONDS, user="") as nobody:
                with pytest.raises(tianlu.Unauthenticated):
                    await nobody.list_services()
            listed = await gateway.client.get(f"{entrance}/v1/namespaces")
            assert not listed.is_success
            assert "user name is empty" in listed.text


async def answers(proxy: ProxyProcess) -> bool:
    return (await proxy.get()).headers.get("x-tianlu-served-by") == "a"


def test_each_address_is_verified_by_its_own_name(tmp_path: Path) -> None:
    control = ControlPlane(
        parse_registry("--registry", "https://node-1:1,https://10.0.0.2:2,10.0.0.3:3"),
        registry_ca_file="/ca.pem",
    )
    text = to_json(bootstrap(plan(control, tmp_path)))
    assert '"sni": "node-1"' in text
    assert '"sni": "10' not in text
    assert text.count('"filename": "/ca.pem"') == 2
    for kind, name in (("DNS", "node-1"), ("IP_ADDRESS", "10.0.0.2")):
        assert f'"{kind}"' in text
        assert f'"exact": "{name}"' in text
    assert "certificate_chain" not in text
    cluster = registry_cluster(text)
    marks = [
        one.get("metadata", {}).get("filter_metadata", {}).get("envoy.transport_socket_match")
        for one in cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    ]
    matches = [one["match"] for one in cluster["transport_socket_matches"]]
    assert marks == [*matches, None]
    assert marks[:2] == [{"tls": "node-1:1"}, {"tls": "10.0.0.2:2"}]


def test_one_name_may_stand_for_all(tmp_path: Path) -> None:
    control = ControlPlane(
        parse_registry("--registry", "https://10.0.0.1:1,https://10.0.0.2:1"),
        registry_server_name="registry.test",
    )
    text = to_json(bootstrap(plan(control, tmp_path)))
    assert text.count('"exact": "registry.test"') == 2
    assert text.count("system_root_certs") == 2


def registry_cluster(bootstrap_json: str) -> dict[str, Any]:
    clusters = json.loads(bootstrap_json)["static_resources"]["clusters"]
    found: dict[str, Any] = next(one for one in clusters if one["name"] == REGISTRY_CLUSTER)
    return found


def plan(control: ControlPlane, directory: Path) -> BootstrapPlan:
    return BootstrapPlan(
        role=control.role(),
        node_id="test",
        listen=SocketAddress("127.0.0.1", 0),
        admin_socket=directory / "admin",
        xds_socket=directory / "xds",
        static_clusters=control.static_clusters(),
    )


def test_a_password_that_is_nowhere_stops_the_start(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from tianlu_gateway.cli import app as gateway
    from tianlu_mesher.cli import app as mesher

    for part in (gateway, mesher):
        data = str(tmp_path / "data")
        result = CliRunner().invoke(part, ["--registry-user", "reader", "--data-dir", data])
        assert result.exit_code == 1
        assert "--registry-password-file: is needed for user 'reader'" in result.stderr
