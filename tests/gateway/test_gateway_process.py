"""`tianlu gateway` as a real process, with its neighbours on unix sockets."""

from __future__ import annotations

import socket
from pathlib import Path

from mesher.lab.catalog_server import CatalogServer
from mesher.lab.proxy_process import ProxyProcess
from mesher.lab.upstreams import http_upstream
from mesher.lab.views import instance


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as chosen:
        return int(chosen.getsockname()[1])


async def test_one_entrance_before_unix_sockets(tmp_path: Path) -> None:
    catalog = CatalogServer(tmp_path / "registry.sock")
    await catalog.start()
    console, status = tmp_path / "console.sock", tmp_path / "status.sock"
    port = free_port()
    async with (
        http_upstream("a") as a,
        http_upstream("console", unix=console),
        http_upstream("status", unix=status),
    ):
        await catalog.put(instance("a", a))
        async with ProxyProcess(
            "gateway",
            *("--registry", catalog.endpoint, "--console", f"unix:{console}"),
            *("--status", f"unix:{status}", "--control-host", "other, gate.test"),
            listen=f"127.0.0.1:{port}",
        ) as gateway:
            assert gateway.addresses["http"] == f"http://127.0.0.1:{port}"
            for host in ("localhost", "Gate.Test:8080"):
                assert (await gateway.get("/console/", host=host)).json()["name"] == "console"
                assert (await gateway.get("/readyz", host=host)).json()["name"] == "status"
            assert (await gateway.get("/console/", host="x")).status_code == 421
            assert (await gateway.get("/s/default/orders/", host="x")).json()["name"] == "a"
            assert "tianlu_gateway_view_revision" in (await gateway.status("/metrics")).text
            assert await gateway.stop() == 0
    await catalog.stop()


async def test_without_a_supervisor_it_answers_for_itself(tmp_path: Path) -> None:
    catalog = CatalogServer(tmp_path / "registry.sock")
    await catalog.start()
    async with ProxyProcess("gateway", "--registry", catalog.endpoint) as gateway:
        assert (await gateway.get("/readyz", host="localhost")).text == "ok\n"
        assert (await gateway.get("/console/", host="localhost")).status_code == 404
    await catalog.stop()
