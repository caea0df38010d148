"""The launcher's decisions, Envoy's configuration, libpython, run file and directory lock."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tianlu_registry.node.config import NodeConfig
from tianlu_registry.server.addresses import TcpAddress, UnixAddress
from tianlu_registry.server.bootstrap import EnvoyPlan, bootstrap
from tianlu_registry.server.errors import EXIT_CANNOT_CREATE, EXIT_UNAVAILABLE, CannotStart
from tianlu_registry.server.libpython import find_libpython
from tianlu_registry.server.preflight import DirectoryLock, check_writable
from tianlu_registry.server.runfile import remove_run_file, write_run_file
from tianlu_registry.server.settings import RegistrySettings
from tianlu_registry.server.supervision import (
    Backoff,
    Health,
    Limits,
    describe_exit,
    is_final,
)

LIMITS = Limits(failures_max=3, startup_max=10, backoff_first=0.5, backoff_max=4)


def after(*probes: bool) -> Health:
    health = Health(LIMITS)
    for answered in probes:
        health = health.after_probe(answered)
    return health


def test_a_starting_child_has_until_startup_max() -> None:
    starting = after(*[False] * 100)
    assert not starting.stuck(9.9)
    assert starting.stuck(10.1)


def test_a_serving_child_is_stuck_after_failures_in_a_row() -> None:
    assert not after(True, False, False).stuck(1e9)
    assert not after(True, False, False, True, False, False).stuck(1e9)
    assert after(True, False, False, False).stuck(0)


@given(lives=st.lists(st.floats(0, 59), max_size=60))
def test_backoff_doubles_up_to_its_maximum(lives: list[float]) -> None:
    backoff, pauses = Backoff(LIMITS), []
    for life in lives:
        backoff, pause = backoff.after_exit(life)
        pauses.append(pause)
    assert pauses == [min(0.5 * 2**number, 4) for number in range(len(lives))]
    _, pause = backoff.after_exit(LIMITS.backoff_forgotten_after)
    assert pause == LIMITS.backoff_first


@pytest.mark.parametrize(
    ("status", "ever_served", "final"),
    [(1, False, True), (1, True, False), (74, True, True), (-9, False, False), (0, True, False)],
)
def test_which_exits_are_final(status: int, ever_served: bool, final: bool) -> None:
    assert is_final(status, ever_served=ever_served) is final


def test_exits_in_words() -> None:
    assert describe_exit(-9) == "killed by SIGKILL"
    assert describe_exit(74) == "exited with status 74"


def test_bootstrap_has_one_python_behind_all_addresses() -> None:
    plan = EnvoyPlan(
        "module:app",
        (TcpAddress("::1", 1), UnixAddress(Path("/run/s"))),
        Path("/run/probe"),
        Path("/run/admin"),
    )
    text = json.dumps(bootstrap(plan))
    (listener,) = json.loads(text)["static_resources"]["listeners"]
    assert text.count("filter_config") == 1
    assert listener["address"]["socket_address"] == {"address": "::1", "port_value": 1}
    pipes = [each["address"]["pipe"]["path"] for each in listener["additional_addresses"]]
    assert pipes == ["/run/s", "/run/probe"]
    assert '"stream_idle_timeout": "0s"' in text


def test_libpython_is_found_and_its_absence_named(tmp_path: Path) -> None:
    assert find_libpython().name.startswith("libpython3.")
    with pytest.raises(CannotStart, match=r"apt-get install libpython3\.\d+") as caught:
        find_libpython([tmp_path])
    assert caught.value.exit_code == EXIT_UNAVAILABLE
    assert "\n" not in str(caught.value)


def test_run_file_is_whole_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    write_run_file(path, "registry", {"client_urls": ["http://127.0.0.1:1"]})
    content = json.loads(path.read_text())
    assert content == {
        "part": "registry",
        "pid": os.getpid(),
        "ready": True,
        "addresses": {"client_urls": ["http://127.0.0.1:1"]},
    }
    remove_run_file(path)
    remove_run_file(path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(CannotStart, match=r"--run-file: directory .* does not exist"):
        check_writable("--run-file", tmp_path / "no" / "run.json")


def test_one_launcher_a_directory(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with DirectoryLock("--data-dir", directory):
        with pytest.raises(CannotStart, match=f"process id {os.getpid()}") as caught:
            DirectoryLock("--data-dir", directory)
        assert caught.value.exit_code == EXIT_CANNOT_CREATE
    with DirectoryLock("--data-dir", directory):
        pass
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(CannotStart, match="cannot be used"):
        DirectoryLock("--data-dir", file)


def test_settings_survive_the_way_to_the_child(tmp_path: Path) -> None:
    settings = RegistrySettings(
        node=NodeConfig(tmp_path, name="a", peer_urls=("http://10.0.0.1:2380",)),
        client_urls=("http://127.0.0.1:1", "unix:/x"),
        etcd_endpoints=("http://127.0.0.1:2",),
        progress_interval_seconds=5.0,
        log_level="warn",
    )
    assert RegistrySettings.from_json(settings.to_json()) == settings


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tianlu_registry", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["--max-txn-ops=0"], 64, "--max-txn-ops: is 0; give 1 to 1000000"),
        (["--initial-cluster-state=old"], 64, "--initial-cluster-state: is 'old'; give new or"),
        (["--no-pre-vote"], 64, "--no-pre-vote: it is always on"),
        (
            ["--listen-client-urls=http://0.0.0.0:0"],
            64,
            "--listen-client-urls: http://0.0.0.0:0 can be reached from other machines",
        ),
        (["--listen-client-urls=https://127.0.0.1:0"], 64, "--cert-file: is needed to listen"),
        (["--listen-peer-urls=https://127.0.0.1:0"], 64, "--peer-cert-file: is needed to listen"),
        (["--auto-compaction-mode=age"], 64, "--auto-compaction-mode: 'age' is unknown; give"),
        (
            ["--auto-compaction-retention=1d"],
            64,
            "--auto-compaction-retention: '1d' is not a duration; give hours, such as 1, or",
        ),
        (
            ["--auto-compaction-retention=20000"],
            64,
            "--auto-compaction-retention: is 7.2e+07 seconds; give 1 second to 10000 hours",
        ),
        (["--election-timeout=100"], 64, "--election-timeout: 100 ms must be at least five"),
        (["--name=a=b"], 64, "--name: 'a=b' may contain neither"),
        (["--listen-client-urls=ftp://x"], 64, "--listen-client-urls: ftp://x is not of"),
        (["--data-dir=/proc/none/x"], 73, "--data-dir: /proc/none/x cannot be used"),
        (["--run-file=/proc/none/x"], 73, "--run-file: directory /proc/none does not exist"),
    ],
)
def test_wrong_flags_give_one_line(arguments: list[str], code: int, line: str) -> None:
    done = cli(*arguments)
    assert done.returncode == code
    assert done.stderr.startswith(f"tianlu registry: {line}")
    assert done.stderr.count("\n") == 1
