"""A node whose audit log's disk is full, and one that writes to standard output."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from pathlib import Path

import httpx
from registry.registry_process import RegistryProcess

START_SECONDS = 90
PUT = {"key": base64.b64encode(b"k").decode()}


def test_a_full_disk_stops_changes_strictly_and_nothing_else(tmp_path: Path) -> None:
    process = RegistryProcess(tmp_path, "--audit-log=/dev/full", "--audit-log-strict")
    try:
        process.start(START_SECONDS)
        deadline = time.monotonic() + START_SECONDS
        while "audit_log.failed reason='No space left on device'" not in process.log:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        for _ in range(2):
            answer = httpx.post(f"{process.url}/v3/kv/put", json=PUT, timeout=30)
            assert answer.json()["message"] == "tianlu: the audit log cannot be written"
            assert answer.status_code == 503
        found = httpx.post(f"{process.url}/v3/kv/range", json=PUT, timeout=30).json()
        assert found["header"]["revision"] == "1"
        assert "kvs" not in found
        page = httpx.get(f"{process.url}/metrics").text
        assert "tianlu_audit_lines_total 0.0" in page
        assert "tianlu_audit_dropped_total 0.0" not in page
    finally:
        process.kill()


def test_lines_on_standard_output_are_alone_there(tmp_path: Path) -> None:
    run_file = tmp_path / "run.json"
    with (tmp_path / "node.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "tianlu_registry", f"--data-dir={tmp_path / 'data'}"),
                *("--listen-client-urls=http://127.0.0.1:0", f"--run-file={run_file}"),
                *("--audit-log=-", "--name=n7"),
            ],
            stdout=subprocess.PIPE,
            stderr=log,
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not run_file.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        (url,) = json.loads(run_file.read_text())["addresses"]["client_urls"]
        assert httpx.post(f"{url}/v3/kv/put", json=PUT, timeout=30).status_code == 200
    finally:
        process.terminate()
        output, _ = process.communicate(timeout=60)
    started, put = (json.loads(line) for line in output.splitlines())
    assert (started["event"], started["node"]) == ("started", "n7")
    assert (put["method"], put["revision"]) == ("etcdserverpb.KV/Put", 2)
