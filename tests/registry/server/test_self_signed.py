"""Certificates that nodes make for themselves: when anew, and with which flags not."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from typer.testing import CliRunner

from tianlu_registry.cli import app
from tianlu_registry.server import self_signed
from tianlu_registry.server.errors import EXIT_CANNOT_CREATE, EXIT_USAGE, CannotStart
from tianlu_registry.server.self_signed import SelfSigned


def test_a_good_certificate_is_used_again(tmp_path: Path) -> None:
    made = SelfSigned(tmp_path / "client")
    made.provide(["10.0.0.1"], 1)
    first = made.cert_file.read_bytes()
    made.provide(["10.0.0.1"], 3)
    assert made.cert_file.read_bytes() == first
    assert made.key_file.stat().st_mode & 0o777 == 0o600
    assert made.directory.stat().st_mode & 0o777 == 0o700


def test_it_names_the_hosts_and_lasts_as_long_as_asked(tmp_path: Path) -> None:
    made = SelfSigned(tmp_path)
    made.provide(["10.0.0.1", "registry.example"], 3)
    certificate = x509.load_pem_x509_certificate(made.cert_file.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert set(names.get_values_for_type(x509.DNSName)) == {"localhost", "registry.example"}
    assert {str(each) for each in names.get_values_for_type(x509.IPAddress)} == {
        *("10.0.0.1", "127.0.0.1", "::1")
    }
    assert (certificate.not_valid_after_utc - datetime.now(UTC)).days in (1094, 1095)


@pytest.mark.parametrize(
    "host", ["2001:db8:0:0:0:0:0:1", "fe80::1%lo", "b\u00fccher.example", "a_b"]
)
def test_however_a_host_is_written_its_certificate_is_used_again(tmp_path: Path, host: str) -> None:
    made = SelfSigned(tmp_path)
    made.provide([host], 1)
    first = made.cert_file.read_bytes()
    made.provide([host], 1)
    assert made.cert_file.read_bytes() == first


def test_a_host_that_no_certificate_can_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="is no host name") as refused:
        SelfSigned(tmp_path).provide(["\u00fc" * 64], 1)
    assert refused.value.exit_code == EXIT_USAGE


def test_another_host_makes_a_new_one(tmp_path: Path) -> None:
    made = SelfSigned(tmp_path)
    made.provide(["10.0.0.1"], 1)
    first = made.cert_file.read_bytes()
    made.provide(["10.0.0.2"], 1)
    assert made.cert_file.read_bytes() != first


@pytest.mark.parametrize("damage", ["cert", "key", "other key"])
def test_files_that_do_not_belong_together_are_made_anew(tmp_path: Path, damage: str) -> None:
    made, other = SelfSigned(tmp_path / "one"), SelfSigned(tmp_path / "two")
    made.provide(["a.example"], 1)
    other.provide(["a.example"], 1)
    first = made.cert_file.read_bytes()
    if damage == "cert":
        made.cert_file.write_text("half a")
    elif damage == "key":
        made.key_file.unlink()
    else:
        made.key_file.write_bytes(other.key_file.read_bytes())
    made.provide(["a.example"], 1)
    assert made.cert_file.read_bytes() != first
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(made.cert_file, made.key_file)


@pytest.mark.parametrize(("year_day", "is_kept"), [(300, True), (340, False), (400, False)])
def test_it_is_renewed_in_the_last_tenth_of_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, year_day: int, is_kept: bool
) -> None:
    made = SelfSigned(tmp_path)
    made.provide([], 1)
    first = made.cert_file.read_bytes()
    start = datetime.now(UTC)

    class Later(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
            return start + self_signed.timedelta(days=year_day)

    monkeypatch.setattr(self_signed, "datetime", Later)
    made.provide([], 1)
    assert (made.cert_file.read_bytes() == first) == is_kept


def test_where_it_cannot_be_written_that_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart, match="cannot write a certificate") as raised:
        SelfSigned(tmp_path / "file").provide([], 1)
    assert raised.value.exit_code == EXIT_CANNOT_CREATE


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--peer-auto-tls", "--peer-trusted-ca-file=ca.pem"], "--peer-trusted-ca-file"),
        (["--auto-tls", "--self-signed-cert-validity=0"], "--self-signed-cert-validity"),
        (
            ["--cert-file=c", "--key-file=k", "--client-cert-allowed-hostname=h"],
            "--client-cert-auth",
        ),
        (
            ["--peer-cert-file=c", "--peer-key-file=k", "--peer-cert-allowed-hostname=h"],
            "--peer-client-cert-auth",
        ),
        (["--peer-cert-file=c", "--peer-key-file=k", "--peer-crl-file=r"], "--peer-trusted-ca"),
    ],
)
def test_what_cannot_go_together_is_named(tmp_path: Path, flags: list[str], named: str) -> None:
    listen = "--listen-client-urls=https://127.0.0.1:0"
    done = CliRunner().invoke(app, [f"--data-dir={tmp_path / 'data'}", listen, *flags])
    assert done.exit_code == EXIT_USAGE
    assert done.stderr.splitlines()[-1].startswith(f"tianlu registry: {named}")
