"""`tianlu up --demo`: it serves, traffic flows, and one entrance carries everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import httpx
import psutil
import pytest
from e2e.platform_process import Platform, platform, tianlu, wait_until
from e2e.services import grpc_echo, http_echo
from websockets.sync.client import connect

import tianlu as sdk

pytestmark = pytest.mark.e2e

ETCDCTL = Path(sys.executable).with_name("etcdctl")


def order(shop: Platform) -> httpx.Response:
    return httpx.get(f"{shop.entrance}/s/default/orders/order/tea", trust_env=False)


def test_health_pages_and_metrics_of_all_parts(shop: Platform) -> None:
    assert httpx.get(f"{shop.entrance}/healthz").status_code == httpx.codes.OK
    ready = httpx.get(f"{shop.entrance}/readyz")
    assert ready.json()["parts"] == dict.fromkeys(
        ("registry", "mesher", "console", "gateway"), "serving"
    )
    metrics = httpx.get(f"{shop.entrance}/metrics").text
    for part in ("registry", "mesher", "gateway", "supervisor"):
        assert f'part="{part}"' in metrics


def test_requests_reach_every_orders_instance_of_both_versions(shop: Platform) -> None:
    seen: dict[int, str] = {}

    def all_seen() -> bool:
        answer = order(shop)
        assert answer.is_success, answer.text
        seen[answer.json()["orders"]] = answer.json()["version"]
        return len(seen) == 3

    wait_until("three instances of orders answer", all_seen)
    assert sorted(seen.values()) == ["1", "1", "2"]


def test_host_header_and_path_lead_to_the_same_service(shop: Platform) -> None:
    by_host = httpx.get(f"{shop.entrance}/order/cup", headers={"host": "orders.default"})
    by_mesher = httpx.get(
        "http://orders.default/order/cup", proxy=shop.address("mesher"), trust_env=False
    )
    for answer in (by_host, by_mesher):
        assert answer.json()["article"] == "cup"


def test_a_new_instance_receives_traffic_within_a_second(shop: Platform) -> None:
    with sdk.Client(shop.authority) as client, http_echo("fresh") as port:
        client.register("fresh", port=port)
        registered = time.monotonic()
        wait_until(
            "the new service answers",
            lambda: httpx.get(f"{shop.entrance}/s/default/fresh/x").is_success,
            seconds=5,
        )
        assert time.monotonic() - registered < 1.0


def test_websocket_passes_gateway_and_mesher(shop: Platform) -> None:
    live = f"ws://{shop.authority}/s/default/orders/live"
    with connect(live, proxy=None) as socket:
        socket.send("hello")
        answers = [json.loads(socket.recv(timeout=10)) for _ in range(2)]
        assert {"echo": "hello"} in answers


def test_grpc_passes_gateway_and_mesher(shop: Platform) -> None:
    with sdk.Client(shop.authority) as client, grpc_echo() as (port, call):
        client.register("echo", ports=[sdk.Port("grpc", port, "grpc")])
        mesher = shop.address("mesher").removeprefix("http://")

        def passes(target: str) -> bool:
            return call(target, authority="echo.default", message=b"hello") == b"hello"

        wait_until("gRPC through the gateway", lambda: passes(shop.authority), 5)
        wait_until("gRPC through the mesher", lambda: passes(mesher), 5)


def test_unknown_service_and_unknown_path_are_named(shop: Platform) -> None:
    for answer in (
        httpx.get(f"{shop.entrance}/s/default/nothing/x"),
        httpx.get(f"{shop.entrance}/x", headers={"host": "nothing.default"}),
    ):
        assert answer.status_code == httpx.codes.NOT_FOUND
        assert "nothing" in answer.json()["asked"]
    assert httpx.get(f"{shop.entrance}/no/such/page").status_code == httpx.codes.NOT_FOUND


def test_etcdctl_through_the_entrance(shop: Platform) -> None:
    def etcdctl(*arguments: str, **options: object) -> str:
        done = subprocess.run(
            [str(ETCDCTL), "--endpoints", shop.authority, *arguments],
            env={**os.environ, "ETCDCTL_API": "3"},
            capture_output=True,
            text=True,
            timeout=20,
            **options,  # type: ignore[call-overload]
        )
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    assert etcdctl("put", "e2e/a", "1") == "OK\n"
    assert etcdctl("get", "e2e/a") == "e2e/a\n1\n"
    lease = etcdctl("lease", "grant", "60").split()[1]
    assert etcdctl("put", "--lease", lease, "e2e/b", "2") == "OK\n"
    assert "e2e/b" in etcdctl("lease", "timetolive", "--keys", lease)
    assert "revoked" in etcdctl("lease", "revoke", lease)
    assert etcdctl("get", "e2e/b") == ""
    txn = etcdctl("txn", input='value("e2e/a") = "1"\n\nput e2e/c 3\n\nput e2e/c 4\n\n')
    assert txn.startswith("SUCCESS")
    with subprocess.Popen(
        [str(ETCDCTL), "--endpoints", shop.authority, "watch", "--rev", "1", "e2e/c"],
        stdout=subprocess.PIPE,
        text=True,
    ) as watch:
        assert watch.stdout is not None
        assert [watch.stdout.readline() for _ in range(3)] == ["PUT\n", "e2e/c\n", "3\n"]
        watch.terminate()
    assert etcdctl("del", "--prefix", "e2e/") == "2\n"


def test_a_second_up_on_the_same_directory_says_who_holds_it(shop: Platform) -> None:
    second = tianlu(
        "up", "--data-dir", str(shop.data_dir), "--listen", "127.0.0.1:0", endpoints="", check=False
    )
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert f"held by process {shop.process.pid}" in second.stderr


def test_up_on_a_taken_port_starts_nothing(shop: Platform, tmp_path: Path) -> None:
    second = tianlu(
        "up",
        "--data-dir",
        str(tmp_path / "d"),
        "--listen",
        shop.authority,
        endpoints="",
        check=False,
    )
    assert second.returncode == 1
    assert "the port is taken" in second.stderr
    assert not (tmp_path / "d" / "run.json").exists()


def test_killed_parts_come_back(shop: Platform) -> None:
    for part in ("gateway", "mesher", "console", "registry"):
        restarts = shop.run()["parts"][part]["restarts"]
        shop.kill(part)
        shop.wait_restarted(part, restarts + 1)
    wait_until("orders answer again", lambda: order(shop).is_success)
    assert "registry ended (killed by SIGKILL)" in shop.output.read_text()


def test_stops_cleanly_and_leaves_nothing_running(tmp_path: Path) -> None:
    with platform(tmp_path / "data") as running:
        running.wait_ready()
        assert "first visit: http://127.0.0.1:" in running.output.read_text()
        assert running.stop() == 0
    assert not (tmp_path / "data" / "run.json").exists()
    assert _processes_naming(str(tmp_path / "data")) == []


def _processes_naming(text: str) -> list[str]:
    """Return the command lines of running processes in which `text` stands."""
    found = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = " ".join(process.info["cmdline"] or ())
        if text in line and process.info["status"] != psutil.STATUS_ZOMBIE:
            found.append(line)
    return found
