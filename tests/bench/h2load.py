"""Runs h2load (nghttp2) and reads its figures. `apt-get install nghttp2-client`."""

from __future__ import annotations

import re
import struct
import subprocess
import tempfile
from pathlib import Path

from google.protobuf.message import Message

_RATE = re.compile(r"finished in .*?, ([\d.]+) req/s")
_COUNTS = re.compile(r"(\d+) succeeded, (\d+) failed, (\d+) errored")


def grpc_unary(
    port: int, method: str, request: Message, *, requests: int, connections: int, streams: int
) -> float:
    """Send one gRPC request again and again; return requests a second.

    Raises:
        SystemExit: any of them failed.
    """
    body = request.SerializeToString()
    with tempfile.NamedTemporaryFile(suffix=".bin") as file:
        file.write(struct.pack(">BI", 0, len(body)) + body)
        file.flush()
        return _run(
            f"http://127.0.0.1:{port}{method}",
            *("-n", str(requests), "-c", str(connections), "-m", str(streams)),
            *("-d", file.name, "-H", "content-type: application/grpc", "-H", "te: trailers"),
        )


def http(url: str, *arguments: str) -> float:
    """Send GET requests over HTTP/1.1; return requests a second."""
    return _run(url, "--h1", *arguments)


def _run(url: str, *arguments: str) -> float:
    done = subprocess.run(["h2load", *arguments, url], capture_output=True, text=True, check=True)
    rate, counts = _RATE.search(done.stdout), _COUNTS.search(done.stdout)
    if rate is None or counts is None or counts.group(2) != "0" or counts.group(3) != "0":
        raise SystemExit(f"h2load failed on {url}:\n{done.stdout}{done.stderr}")
    return float(rate.group(1))


def program() -> Path:
    """Return where h2load is.

    Raises:
        SystemExit: it is not installed.
    """
    import shutil

    found = shutil.which("h2load")
    if found is None:
        raise SystemExit("h2load is missing: apt-get install nghttp2-client")
    return Path(found)
