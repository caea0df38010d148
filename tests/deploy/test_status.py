"""The supervisor's pages, asked over its real unix socket."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tianlu_standalone.datadir import DataDir
from tianlu_standalone.parts import Part, Probe
from tianlu_standalone.status import StatusServer
from tianlu_standalone.supervisor import Supervisor

METRICS_SERVER = """
import http.server, json, pathlib, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
        if self.path == "/metrics": self.wfile.write(b"apples_total 3\\n")
    def log_message(self, *a): pass
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
path = pathlib.Path(sys.argv[1])
path.with_suffix(".t").write_text(json.dumps(
    {"addresses": {"http": f"http://127.0.0.1:{server.server_port}"}}))
path.with_suffix(".t").replace(path)
server.serve_forever()
"""


@pytest.fixture
async def supervisor(tmp_path: Path) -> AsyncIterator[Supervisor]:
    data = DataDir.open(tmp_path / "data")
    made = Supervisor(data, "http://127.0.0.1:1", lambda line: None)
    yield made
    await made.stop()
    data.close()


@pytest.fixture
async def client(supervisor: Supervisor, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    socket = tmp_path / "status.sock"
    server = StatusServer(supervisor, socket)
    server.start()
    transport = httpx.AsyncHTTPTransport(uds=str(socket), retries=20)
    async with httpx.AsyncClient(transport=transport, base_url="http://status") as made:
        yield made
    await server.stop()


def part(tmp_path: Path, code: str = METRICS_SERVER, name: str = "shop", group: str = "") -> Part:
    run_file = tmp_path / f"{name}.json"
    command = (sys.executable, "-c", code, str(run_file))
    return Part(name, command, run_file=run_file, probe=Probe("/readyz"), group=group)


DIES = "raise SystemExit(1)"


async def test_ready_only_when_all_parts_serve(
    supervisor: Supervisor, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    supervisor.start([part(tmp_path)])
    before = await client.get("/readyz")
    assert (before.status_code, before.json()["parts"]) == (503, {"shop": "starting"})
    await supervisor.wait_started(3)
    after = await client.get("/readyz")
    assert (after.status_code, after.json()) == (200, {"ready": True, "parts": {"shop": "serving"}})
    assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize("dying", [1, 2])
async def test_of_a_group_more_than_half_must_serve(
    supervisor: Supervisor, client: httpx.AsyncClient, tmp_path: Path, dying: int
) -> None:
    codes = [DIES] * dying + [METRICS_SERVER] * (3 - dying)
    supervisor.start(
        part(tmp_path, code, f"node-{number}", "nodes") for number, code in enumerate(codes)
    )
    if dying == 1:
        await supervisor.wait_started(attempts_max=2)
        assert supervisor.hopeless(attempts_max=2) is None
    else:
        while supervisor.hopeless(attempts_max=2) is None:
            await asyncio.sleep(0.02)
    assert (await client.get("/readyz")).status_code == (200 if dying == 1 else 503)


async def test_metrics_of_all_parts_and_of_the_supervisor(
    supervisor: Supervisor, client: httpx.AsyncClient, tmp_path: Path
) -> None:
    supervisor.start([part(tmp_path)])
    await supervisor.wait_started(3)
    text = (await client.get("/metrics")).text
    assert 'apples_total{part="shop"} 3' in text
    assert 'tianlu_part_serving{part="supervisor",name="shop"} 1' in text


async def test_other_paths_and_methods_are_refused(client: httpx.AsyncClient) -> None:
    assert (await client.get("/secret")).status_code == 404
    assert (await client.post("/healthz")).status_code == 405
