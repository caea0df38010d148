"""Channels and their certificates: read once, read again when they change, kept when they break."""

from __future__ import annotations

from pathlib import Path

import pytest
from sdk_authority import Authority

import tianlu
from tianlu import _channels
from tianlu._channels import LOOK_SECONDS, Channels
from tianlu._credentials import Credentials
from tianlu._endpoint import Endpoint

SECURE = Endpoint("127.0.0.1:1", tls=True)
PLAIN = Endpoint("127.0.0.1:2")


async def test_a_certificate_that_changes_is_taken_up_and_one_that_breaks_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_channels, "RETIRE_SECONDS", 0.0)
    now = [0.0]
    authority = Authority(tmp_path)
    certificate, key = authority.issue("client", common_name="one")
    credentials = Credentials(ca_file=authority.file, cert_file=certificate, key_file=key)
    channels = Channels(credentials, (), clock=lambda: now[0])
    first, plain = channels.get(SECURE), channels.get(PLAIN)

    def later() -> object:
        now[0] += LOOK_SECONDS
        return channels.get(SECURE)

    assert later() is first
    authority.issue("client", common_name="two")
    assert channels.get(SECURE) is first, "files are looked at now and then"
    second = later()
    assert second is not first
    key.write_text("half of it")
    assert later() is second
    assert "certificates.unusable" in caplog.text
    authority.issue("client", common_name="three")
    assert later() is not second
    assert channels.get(PLAIN) is plain
    certificate.unlink()
    last = later()
    await channels.drop(SECURE)
    assert later() is not last, "with the certificates that were good"
    await channels.close()
    assert not channels.endpoints


async def test_certificates_that_were_never_good_are_said(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    channels = Channels(Credentials(ca_file=authority.file), ())
    authority.file.unlink()
    with pytest.raises(tianlu.InvalidInput) as raised:
        channels.get(SECURE)
    assert raised.value.field == "ca_file"
    channels.get(PLAIN)
    await channels.close()
