#!/usr/bin/env python3
"""Gateway and mesher beside bare Envoy, nginx and HAProxy, on the same upstream.

    uv run --no-sync python tests/bench/proxies.py --rounds 3 --seconds 5

Each proxy has one worker and processor 0; wrk and the upstream (nginx) share processor 1. Programs
alternate within a round. Needs `apt-get install wrk nginx haproxy`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from report import Report
from servers import BIN, accepts, free_port, running, scratch, wait_for

import tianlu

CONNECTIONS = 64
BODY = "x" * 200
_RATE = re.compile(r"Requests/sec:\s+([\d.]+)")
_P99 = re.compile(r"99%\s+([\d.]+)(us|ms|s)")
_MILLISECONDS = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True)
class Target:
    """Where to send requests, and as whom."""

    url: str
    host: str = "bench.default"


def _on(processor: int, command: list[str]) -> list[str]:
    return ["taskset", "-c", str(processor), *command]


@contextlib.contextmanager
def upstream() -> Iterator[int]:
    with scratch() as directory:
        port = free_port()
        configuration = directory / "nginx.conf"
        configuration.write_text(
            f"daemon off; worker_processes 1; pid {directory}/pid; error_log /dev/null;\n"
            "events { worker_connections 1024; }\n"
            "http { access_log off; keepalive_requests 1000000;\n"
            f" server {{ listen 127.0.0.1:{port};"
            f' location / {{ return 200 "{BODY}"; }} }} }}\n'
        )
        with running(_on(1, ["nginx", "-c", str(configuration), "-e", "/dev/null"])):
            wait_for("the upstream", lambda: accepts(port))
            yield port


@contextlib.contextmanager
def direct(upstream_port: int) -> Iterator[Target]:
    yield Target(f"http://127.0.0.1:{upstream_port}/")


@contextlib.contextmanager
def nginx(upstream_port: int) -> Iterator[Target]:
    with scratch() as directory:
        port = free_port()
        configuration = directory / "nginx.conf"
        configuration.write_text(
            f"daemon off; worker_processes 1; pid {directory}/pid; error_log /dev/null;\n"
            "events { worker_connections 1024; }\n"
            "http { access_log off; keepalive_requests 1000000;\n"
            f" upstream u {{ server 127.0.0.1:{upstream_port}; keepalive 128; "
            "keepalive_requests 1000000; }\n"
            f" server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://u;"
            ' proxy_http_version 1.1; proxy_set_header Connection ""; } } }\n'
        )
        with running(_on(0, ["nginx", "-c", str(configuration), "-e", "/dev/null"])):
            wait_for("nginx", lambda: accepts(port))
            yield Target(f"http://127.0.0.1:{port}/")


@contextlib.contextmanager
def haproxy(upstream_port: int) -> Iterator[Target]:
    with scratch() as directory:
        port = free_port()
        configuration = directory / "haproxy.cfg"
        configuration.write_text(
            "global\n nbthread 1\ndefaults\n mode http\n timeout connect 1s\n timeout client 30s\n"
            f" timeout server 30s\n http-reuse always\nlisten l\n bind 127.0.0.1:{port}\n"
            f" server u 127.0.0.1:{upstream_port}\n"
        )
        with running(_on(0, ["haproxy", "-f", str(configuration), "-db"])):
            wait_for("HAProxy", lambda: accepts(port))
            yield Target(f"http://127.0.0.1:{port}/")


@contextlib.contextmanager
def envoy(upstream_port: int) -> Iterator[Target]:
    """Bare Envoy: one listener, one route, one static cluster, everything else as it comes."""
    with scratch() as directory:
        port = free_port()
        types = "type.googleapis.com/envoy.extensions.filters"
        manager = {
            "@type": f"{types}.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "bench",
            "route_config": {
                "virtual_hosts": [
                    {
                        "name": "all",
                        "domains": ["*"],
                        "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}],
                    }
                ]
            },
            "http_filters": [
                {
                    "name": "envoy.filters.http.router",
                    "typed_config": {"@type": f"{types}.http.router.v3.Router"},
                }
            ],
        }
        listener = {
            "name": "bench",
            "address": _address(port),
            "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
        }
        cluster = {
            "name": "upstream",
            "type": "STATIC",
            "load_assignment": {
                "cluster_name": "upstream",
                "endpoints": [
                    {"lb_endpoints": [{"endpoint": {"address": _address(upstream_port)}}]}
                ],
            },
        }
        configuration = directory / "envoy.json"
        configuration.write_text(
            json.dumps({"static_resources": {"listeners": [listener], "clusters": [cluster]}})
        )
        command = [
            *(str(BIN / "envoy"), "-c", str(configuration), "--concurrency", "1"),
            *("--disable-hot-restart", "-l", "off"),
        ]
        with running(_on(0, command)):
            wait_for("Envoy", lambda: accepts(port))
            yield Target(f"http://127.0.0.1:{port}/")


def _address(port: int) -> dict[str, object]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def agent(part: str) -> Callable[[int], contextlib.AbstractContextManager[Target]]:
    """Return a context that runs Tianlu's mesher or gateway with the upstream registered."""

    @contextlib.contextmanager
    def run(upstream_port: int) -> Iterator[Target]:
        with scratch() as directory:
            socket, run_file = directory / "registry.sock", directory / "agent.json"
            registry = [
                *(sys.executable, "-m", "tianlu", "registry", "--data-dir", str(directory / "r")),
                *("--listen-client-urls", f"unix:{socket}"),
            ]
            command = [
                *(sys.executable, "-m", "tianlu", part, "--data-dir", str(directory / "a")),
                *("--listen", "127.0.0.1:0", "--registry", f"unix:{socket}"),
                *("--run-file", str(run_file), "--concurrency", "1"),
            ]
            with running(registry), running(_on(0, command)):
                wait_for("the registry", socket.exists)
                wait_for(part, run_file.exists)
                with tianlu.Client(f"unix:{socket}") as client:
                    client.register("bench", port=upstream_port, address="127.0.0.1")
                    url = json.loads(run_file.read_text())["addresses"]["http"] + "/"
                    target = Target(url)
                    wait_for("the route", lambda: _answers(target))
                    yield target

    return run


def _answers(target: Target) -> bool:
    import httpx

    try:
        return httpx.get(target.url, headers={"host": target.host}).text == BODY
    except httpx.HTTPError:
        return False


def measure(report: Report, program: str, target: Target, seconds: int) -> None:
    """Load a target with wrk and note its rate and 99th percentile."""
    done = subprocess.run(
        _on(
            1,
            [
                *("wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency"),
                *("-H", f"Host: {target.host}", target.url),
            ],
        ),
        capture_output=True,
        text=True,
        check=True,
    )
    rate, p99 = _RATE.search(done.stdout), _P99.search(done.stdout)
    if rate is None or p99 is None or "Non-2xx" in done.stdout:
        raise SystemExit(f"wrk failed on {program}:\n{done.stdout}{done.stderr}")
    report.add("requests/s", program, float(rate.group(1)))
    report.add("p99 ms", program, float(p99.group(1)) * _MILLISECONDS[p99.group(2)])


PROXIES: dict[str, Callable[[int], contextlib.AbstractContextManager[Target]]] = {
    "direct": direct,
    "nginx": nginx,
    "haproxy": haproxy,
    "envoy": envoy,
    "mesher": agent("mesher"),
    "gateway": agent("gateway"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("proxies", nargs="*", metavar="|".join(PROXIES))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write all figures to this file")
    arguments = parser.parse_args()
    for program in ("wrk", "nginx", "haproxy", "taskset"):
        if shutil.which(program) is None:
            raise SystemExit(f"{program} is missing: apt-get install wrk nginx haproxy")
    report = Report(base="envoy")
    names = arguments.proxies or list(PROXIES)
    with upstream() as port:
        for number in range(arguments.rounds):
            print(f"round {number + 1} of {arguments.rounds}")
            for name in names if number % 2 == 0 else reversed(names):
                with PROXIES[name](port) as target:
                    measure(report, name, target, arguments.seconds)
    report.print()
    if arguments.json:
        arguments.json.write_text(report.json())


if __name__ == "__main__":
    main()
