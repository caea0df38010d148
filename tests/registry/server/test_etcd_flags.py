"""Command lines, variables and files that were written for etcd."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner, Result

from tianlu_registry.cli import app
from tianlu_registry.cli.arguments import OurFlags, read_arguments
from tianlu_registry.cli.config_file import file_arguments
from tianlu_registry.cli.etcd_flags import ETCD_FLAGS, EtcdFlag
from tianlu_registry.server.errors import EXIT_USAGE, CannotStart

PAGE = Path(__file__).resolve().parents[3] / "docs" / "reference" / "etcd-flags.md"
OURS = OurFlags(
    switches={"client-cert-auth", "pre-vote", "no-pre-vote"},
    negations={"pre-vote"},
    others={"name", "snapshot-catchup-entries"},
)
NOT_OF_THE_SERVER = {"version", "help"}


def our_flags() -> set[str]:
    return {
        option.removeprefix("--")
        for parameter in typer.main.get_command(app).params
        for option in parameter.opts
    }


def test_every_flag_of_etcds_help_is_known() -> None:
    etcd = Path(sys.executable).parent / "etcd"
    text = subprocess.run([str(etcd), "--help"], capture_output=True, text=True, check=True).stdout
    flags = set(re.findall(r"^ {1,8}(?:etcd )?--([a-z0-9-]+)", text, re.MULTILINE))
    assert len(flags) > 80
    assert flags - NOT_OF_THE_SERVER - our_flags() - set(ETCD_FLAGS) == set()


def test_no_flag_of_ours_is_also_said_to_be_none() -> None:
    assert not our_flags() & set(ETCD_FLAGS)
    same = {flag.same_as.removeprefix("--") for flag in ETCD_FLAGS.values() if flag.same_as}
    assert same <= our_flags()


def test_the_page_is_the_table() -> None:
    table = PAGE.read_text().partition("## Flags")[2]
    rows = re.findall(r"^\| `--([a-z0-9-]+)` \| (.+?) \| (.+?) \|$", table, re.MULTILINE)
    assert set(rows) == {(name, kind_of(flag), flag.why) for name, flag in ETCD_FLAGS.items()}


def kind_of(flag: EtcdFlag) -> str:
    if flag.same_as:
        return "the same"
    return "without effect" if flag.harmless is None else "refused"


# Arguments


@pytest.mark.parametrize(
    ("given", "arguments"),
    [
        (["-name", "n1"], ["--name", "n1"]),
        (["--name=-n1"], ["--name", "-n1"]),
        (["--name", "--proxy"], ["--name", "--proxy"]),
        (["-client-cert-auth"], ["--client-cert-auth"]),
        (["--client-cert-auth=true"], ["--client-cert-auth"]),
        (["--pre-vote=false"], ["--no-pre-vote"]),
        (["--no-pre-vote"], ["--no-pre-vote"]),
        (["--unknown=1", "word"], ["--unknown=1", "word"]),
        (["--experimental-snapshot-catchup-entries", "7"], ["--snapshot-catchup-entries", "7"]),
        (["--enable-pprof", "--name=a"], ["--name", "a"]),
        (["--max-wals", "5", "--name=a"], ["--name", "a"]),
        (["--proxy", "off", "--unsafe-no-fsync=false"], []),
    ],
)
def test_arguments_are_read_as_go_reads_them(given: list[str], arguments: list[str]) -> None:
    assert read_arguments(given, OURS).arguments == arguments


def test_a_switch_that_is_off_is_remembered() -> None:
    read = read_arguments(["--client-cert-auth=false", "--max-wals=1"], OURS)
    assert (read.arguments, read.off, read.idle) == ([], ["client-cert-auth"], ["max-wals"])


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["--client-cert-auth=maybe"], "--client-cert-auth: is 'maybe'"),
        (["--name"], "--name: needs a value"),
        (["--max-wals"], "--max-wals: needs a value"),
        (["--unsafe-no-fsync"], "--unsafe-no-fsync: an answered write is durable"),
        (["--discovery=https://d.example"], "name them in --initial-cluster"),
        (["--wal-dir", "/fast"], "DATA_DIR/member/wal"),
        (["--enable-grpc-gateway=false"], "JSON is always served"),
    ],
)
def test_what_cannot_be_had_is_said(given: list[str], problem: str) -> None:
    with pytest.raises(CannotStart, match=re.escape(problem)):
        read_arguments(given, OURS)


# Configuration files


def from_file(path: Path, text: str) -> list[str]:
    file = path / "etcd.yml"
    file.write_text(text)
    return file_arguments(file, OURS)


def test_a_file_is_read_as_a_command_line(tmp_path: Path) -> None:
    text = """
        name: n1
        max-wals: 5
        wal-dir:
        proxy: off
        log-rotation-config-json: [a, b]
        client-transport-security: {client-cert-auth: true, client-cert-file: }
        peer-transport-security:
    """
    assert from_file(tmp_path, text) == [
        *("--name=n1", "--max-wals=5", "--proxy=false", "--log-rotation-config-json=a,b"),
        "--client-cert-auth=true",
    ]
    assert from_file(tmp_path, '{"name": "n1"}') == ["--name=n1"]
    assert from_file(tmp_path, "# nothing") == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("name: n1\nnames: n2", "names: is no flag of this node"),
        ("name: {a: b}", "name: must be a text"),
        ("- name", "must be a mapping"),
        ("a: [", "line 1: is neither YAML nor JSON"),
        ("name: 2020-13-45", "is neither YAML nor JSON"),
        ("[" * 5_000, "is neither YAML nor JSON"),
        ("peer-transport-security: 1", "peer-transport-security: must be a mapping"),
        ("client-transport-security: {cert: a}", "client-transport-security.cert: is none of"),
        ("name: !!python/object/apply:os.getpid []", "line 1: is neither YAML nor JSON"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(CannotStart, match=f"--config-file: .*etcd.yml: {re.escape(problem)}"):
        from_file(tmp_path, text)


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="cannot be read: No such file"):
        file_arguments(tmp_path / "none.yml", OURS)


def run(*arguments: str, **variables: str) -> Result:
    return CliRunner(env=variables).invoke(app, list(arguments))


def test_a_file_counts_alone(tmp_path: Path) -> None:
    file = tmp_path / "etcd.yml"
    file.write_text("enable-pprof: true\nname: ''\nlog-level: fatal")
    done = run(f"--config-file={file}", "--name=a", TIANLU_QUOTA_BACKEND_BYTES="nonsense")
    assert done.exit_code == EXIT_USAGE
    assert done.stderr.splitlines()[-1].startswith("tianlu registry: --name: has 0 characters")
    file.write_text("enable-pprof: true\nname: ''")
    done = run("--name=a", TIANLU_CONFIG_FILE=str(file), TIANLU_MAX_TXN_OPS="1")
    assert "flag.without_effect flag=--enable-pprof" in done.stderr
    assert "config_file.counts_alone ignored=--name,TIANLU_MAX_TXN_OPS" in done.stderr


def test_variables_speak_for_etcds_flags_too() -> None:
    done = run("--name=", TIANLU_MAX_WALS="3", TIANLU_CLIENT_CERT_AUTH="true")
    assert "flag.without_effect flag=--max-wals" in done.stderr
    done = run(TIANLU_UNSAFE_NO_FSYNC="true")
    assert (done.exit_code, done.stderr.startswith("tianlu registry: --unsafe-no-fsync")) == (
        EXIT_USAGE,
        True,
    )


def test_a_switch_said_to_be_off_is_off_whatever_a_variable_says(tmp_path: Path) -> None:
    text = "--trusted-ca-file"  # which a switch that is on would ask for
    data = tmp_path / "data"
    arguments = (
        *("--listen-client-urls=https://127.0.0.1:0", "--cert-file=c", "--key-file=k"),
        f"--data-dir={data}",
    )
    on = run(*arguments, TIANLU_CLIENT_CERT_AUTH="true")
    off = run(*arguments, "--client-cert-auth=false", TIANLU_CLIENT_CERT_AUTH="true")
    assert text in on.stderr
    assert text not in off.stderr
    assert not data.exists()


def test_a_manifest_of_kubeadms_is_taken_as_it_is(tmp_path: Path) -> None:
    """Only what a test cannot have is left to complain about: the certificate's file."""
    files = "/etc/kubernetes/pki/etcd"
    done = run(
        "--advertise-client-urls=https://127.0.0.1:2379",
        f"--cert-file={files}/server.crt",
        "--client-cert-auth=true",
        f"--data-dir={tmp_path / 'data'}",
        "--experimental-initial-corrupt-check=true",
        "--experimental-watch-progress-notify-interval=5s",
        "--feature-gates=InitialCorruptCheck=true",
        "--initial-advertise-peer-urls=https://127.0.0.1:2380",
        "--initial-cluster=control-plane=https://127.0.0.1:2380",
        f"--key-file={files}/server.key",
        "--listen-client-urls=https://127.0.0.1:0",
        "--listen-metrics-urls=http://127.0.0.1:0",
        "--listen-peer-urls=https://127.0.0.1:0",
        "--name=control-plane",
        f"--peer-cert-file={files}/peer.crt",
        "--peer-client-cert-auth=true",
        f"--peer-key-file={files}/peer.key",
        f"--peer-trusted-ca-file={files}/ca.crt",
        "--snapshot-count=10000",
        f"--trusted-ca-file={files}/ca.crt",
        "--watch-progress-notify-interval=5s",
    )
    assert done.exit_code == EXIT_USAGE
    assert done.stderr.splitlines()[-1].startswith(
        f"tianlu registry: --cert-file, --key-file: {files}/server.crt"
    )


def test_help_is_where_go_has_it() -> None:
    assert "--listen-client-urls" in run("-h").stdout


def test_the_version_is_told() -> None:
    assert "etcd 3.5" in run("-version").stdout
