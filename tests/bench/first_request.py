#!/usr/bin/env python3
"""From the start of a registration to the first request that reaches the new service.

    uv run --no-sync python tests/bench/first_request.py --rounds 30

A service registers through the SDK; another thread asks for it all the time, through the mesher or
through the gateway. Figures are milliseconds from the call of `register`.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import http.server
import json
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from report import Report, percentile
from servers import running, scratch, wait_for

import tianlu


@contextlib.contextmanager
def service() -> Iterator[int]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


@contextlib.contextmanager
def platform() -> Iterator[tuple[str, dict[str, str]]]:
    """Run registry, mesher and gateway; gives the registry's endpoint and the agents' HOST:PORT."""
    with scratch() as directory, contextlib.ExitStack() as stack:
        socket = directory / "registry.sock"

        def start(part: str, *arguments: str) -> Path:
            run_file = directory / f"{part}.json"
            stack.enter_context(
                running(
                    [
                        *(sys.executable, "-m", "tianlu", part, *arguments),
                        *("--data-dir", str(directory / part), "--run-file", str(run_file)),
                    ]
                )
            )
            return run_file

        start("registry", "--listen-client-urls", f"unix:{socket}")
        agents = {
            part: start(part, "--listen", "127.0.0.1:0", "--registry", f"unix:{socket}")
            for part in ("mesher", "gateway")
        }
        for part, run_file in agents.items():
            wait_for(part, run_file.exists)
        addresses = {
            part: json.loads(run_file.read_text())["addresses"]["http"].removeprefix("http://")
            for part, run_file in agents.items()
        }
        yield f"unix:{socket}", addresses


def first_answer(address: str, host: str) -> float:
    """Ask until the answer is 200; return the moment (time.monotonic)."""
    connection = http.client.HTTPConnection(address, timeout=10)
    while True:
        connection.request("GET", "/", headers={"Host": host})
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200:
            connection.close()
            return time.monotonic()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    report = Report(base="gateway")
    times: dict[str, list[float]] = {}
    with platform() as (endpoint, agents), service() as port, tianlu.Client(endpoint) as client:
        client.register("warm", port=port, address="127.0.0.1")
        for number in range(arguments.rounds):
            name = f"bench-{number}"
            for agent, address in agents.items():
                moments: list[float] = []
                asker = threading.Thread(
                    target=lambda a=address, n=name, m=moments: m.append(
                        first_answer(a, f"{n}.default")
                    )
                )
                asker.start()
                began = time.monotonic()
                registration = client.register(name, port=port, address="127.0.0.1")
                registered = time.monotonic()
                asker.join()
                times.setdefault(f"{agent}", []).append((moments[0] - began) * 1e3)
                times.setdefault("register", []).append((registered - began) * 1e3)
                registration.deregister(drain_seconds=0)
                wait_for("the service is gone", lambda a=address, n=name: _gone(a, n))
    for program, values in times.items():
        for share in (0.5, 0.99):
            report.add(f"p{share * 100:.0f} ms", program, percentile(values, share))
    report.print()


def _gone(address: str, name: str) -> bool:
    connection = http.client.HTTPConnection(address, timeout=10)
    connection.request("GET", "/", headers={"Host": f"{name}.default"})
    status = connection.getresponse().status
    connection.close()
    return status != 200


if __name__ == "__main__":
    main()
