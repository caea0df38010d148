"""Short benchmarks of a real registry and a real etcd: what is counted, and what is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from registry.etcd_process import EtcdProcess
from sdk_registry import RegistryProcess
from typer.testing import CliRunner, Result

from tianlu._cli import root
from tianlu._cli.bench.call import Caller
from tianlu._cli.bench.operations import PUT, RANGE
from tianlu._cli.bench.target import Target
from tianlu._credentials import Credentials
from tianlu._endpoint import parse_endpoints
from tianlu._proto.etcd import rpc_pb2 as etcd

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def etcd_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    process = EtcdProcess(tmp_path_factory.mktemp("bench-etcd"))
    process.start()
    yield process.endpoint
    process.kill()


@pytest.fixture(params=["tianlu", "etcd"])
def endpoint(request: pytest.FixtureRequest, shared_registry: RegistryProcess) -> str:
    if request.param == "etcd":
        found: str = request.getfixturevalue("etcd_endpoint")
        return found
    return shared_registry.endpoint


@pytest.fixture
def caller(endpoint: str) -> Iterator[Caller]:
    with closing(Caller(Target(parse_endpoints(endpoint)[0], Credentials(), "", 30.0))) as caller:
        yield caller


@pytest.fixture
def run(endpoint: str) -> Run:
    def invoke(*arguments: str) -> Result:
        given = ("bench", *arguments, "--endpoints", endpoint, "--timeout", "30")
        return CliRunner().invoke(root.app, given)

    return invoke


def data(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def keys(caller: Caller, prefix: bytes) -> list[bytes]:
    request = etcd.RangeRequest(key=prefix, range_end=prefix[:-1] + b"0", keys_only=True)
    return [kv.key for kv in caller.call(RANGE, request, etcd.RangeResponse).kvs]


def test_calls_are_counted_and_cleared_up(run: Run, caller: Caller) -> None:
    common = ("--key-space=300", "--connections=2", "--streams=4", "--output=json")
    put = data(run("kv", "put", "--total=250", "--processes=2", *common))["put, 2 x 4"]
    assert (put["done"], put["failed"], put["latency_ms"]["put"]["count"]) == (250, 0, 250)
    assert put["driver"]["processes"] == 2
    assert sum(count for _, count in put["latency_ms"]["put"]["histogram"]) == 250
    mix = data(run("kv", "mix", "--total=100", "--rate=2000", "--read-ratio=0.5", *common))
    latencies = mix["mix, 2 x 4"]["latency_ms"]
    assert latencies["get"]["count"] + latencies["put"]["count"] == 100
    assert keys(caller, b"tianlu-bench/") == []


def test_each_run_of_keys_is_deleted_once(run: Run, caller: Caller) -> None:
    shape = ("--key-space=1000", "--keys-per-request=50", "--connections=2", "--output=json")
    result = data(run("kv", "delete", "--keep", *shape))["delete, 2 x 16"]
    assert (result["done"], result["failed"]) == (20, 0)
    assert keys(caller, b"tianlu-bench/") == [b"tianlu-bench/!tianlu-bench"]
    # What an earlier run has left is known and goes.
    result = data(run("kv", "range", "--total=5", *shape))["range, 2 x 16"]
    assert (result["done"], result["failed"]) == (5, 0)
    assert keys(caller, b"tianlu-bench/") == []


def test_transactions_and_text(run: Run) -> None:
    result = run("kv", "txn", "--total=30", "--key-space=10", "--connections=1", "--streams=3")
    assert result.exit_code == 0, result.output
    assert "  30 requests in " in result.stdout
    assert "txn, ms: mean " in result.stdout
    assert "####" in result.stdout
    assert "1 process" in result.stdout
    assert "making keys: " in result.stderr


def test_keys_of_others_are_not_touched(run: Run, caller: Caller) -> None:
    request = etcd.PutRequest(key=b"orders/1", value=b"precious")
    caller.call(PUT, request, etcd.PutResponse)
    result = run("kv", "put", "--prefix=orders/", "--total=1")
    assert result.exit_code == 1
    assert "1 keys begin with 'orders/', and no benchmark made them" in result.stderr
    assert keys(caller, b"orders/") == [b"orders/1"]


def test_every_watcher_gets_every_event(run: Run, caller: Caller) -> None:
    result = data(
        run(
            "watch",
            "--watchers=30",
            "--connections=3",
            "--processes=2",
            "--total=20",
            "--output=json",
        )
    )
    events = result["events to 30 watchers of one key"]
    assert (events["done"], events["expected"], events["failed"]) == (600, 600, 0)
    assert result["their writes"]["done"] == 20
    assert keys(caller, b"tianlu-bench/") == []


def test_each_watcher_gets_its_own_events(run: Run) -> None:
    shape = ("--watchers=40", "--connections=4", "--total=100", "--rate=1000", "--output=json")
    events = data(run("watch", "--distinct", *shape))["events to 40 watchers of a prefix each"]
    assert (events["done"], events["expected"]) == (100, 100)


def test_large_events_in_many_frames(run: Run) -> None:
    shape = (
        "--watchers=4",
        "--connections=2",
        "--total=6",
        "--value-bytes=100000",
        "--output=json",
    )
    events = data(run("watch", *shape))["events to 4 watchers of one key"]
    assert (events["done"], events["expected"]) == (24, 24)


def test_leases_are_renewed_and_end(run: Run, caller: Caller) -> None:
    shape = ("--leases=60", "--connections=2", "--streams=2", "--total=200", "--expire=5")
    result = data(run("lease", *shape, "--output=json"))
    assert (result["granting"]["done"], result["granting"]["failed"]) == (60, 0)
    assert result["renewing"]["done"] >= 200
    assert result["renewing"]["failed"] == 0
    ended = result["ending, later than due"]
    assert (ended["done"], ended["failed"]) == (5, 0)
    listed = caller.call(
        "/etcdserverpb.Lease/LeaseLeases", etcd.LeaseLeasesRequest(), etcd.LeaseLeasesResponse
    )
    assert [one.ID for one in listed.leases if one.ID > 1 << 32] == []


def test_a_unix_socket_does(shared_registry: RegistryProcess) -> None:
    shape = ("--total=20", "--connections=2", "--prefix=unix/", "--output=json")
    given = ("bench", "kv", "put", *shape, "--endpoints", shared_registry.socket)
    result = data(CliRunner().invoke(root.app, given))["put, 2 x 16"]
    assert (result["done"], result["failed"]) == (20, 0)


def test_an_interrupt_shows_what_was_measured(
    shared_registry: RegistryProcess, tmp_path: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "tianlu",
        "bench",
        "kv",
        "put",
        "--seconds=600",
        "--output=json",
    ]
    with (tmp_path / "progress").open("w+") as shown:
        process = subprocess.Popen(
            [*command, f"--endpoints={shared_registry.endpoint}", "--prefix=interrupted/"],
            stdout=subprocess.PIPE,
            stderr=shown,
            start_new_session=True,
        )
        deadline = time.monotonic() + 60
        while "put: " not in (tmp_path / "progress").read_text():  # a line, so calls are counted
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    result = json.loads(output)["put, 8 x 16"]
    assert result["interrupted"]
    assert result["done"] > 0
    target = Target(parse_endpoints(shared_registry.endpoint)[0], Credentials(), "", 10.0)
    with closing(Caller(target)) as caller:
        assert keys(caller, b"interrupted/") == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("kv", "get", "--read-ratio=0.3"), "--read-ratio: belongs to mix, not to get"),
        (("kv", "delete", "--key-space=10"), "--keys-per-request: must be 10 or less"),
        (("kv", "put", "--prefix=bench"), "--prefix: 'bench' must be a name that ends with a"),
        (("kv", "put", "--server-pid=99999999"), "--server-pid: no process 99999999"),
        (("watch", "--value-bytes=1"), "--value-bytes: must be "),
    ],
)
def test_what_cannot_be_is_said(
    arguments: tuple[str, ...], said: str, shared_registry: RegistryProcess
) -> None:
    given = ("bench", *arguments, "--endpoints", shared_registry.endpoint)
    result = CliRunner().invoke(root.app, given)
    assert result.exit_code == 2
    assert said in result.stderr
