"""`tianlu up --auth`: nobody without a user is served, and the platform notices nothing."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pytest
from e2e.platform_process import Platform, platform, tianlu, wait_until

import tianlu as sdk

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

PATIENCE_SECONDS = 60.0


def as_root(running: Platform, *arguments: str) -> str:
    password = str(running.data_dir / "auth" / "root.password")
    root = ("--user", "root", "--password-file", password, "--timeout", "60")
    return tianlu(*arguments, *root, endpoints=running.authority).stdout


def shop_answers(running: Platform) -> bool:
    return httpx.get(f"{running.entrance}/s/default/web/", timeout=PATIENCE_SECONDS).is_success


def is_refused(running: Platform) -> bool:
    with sdk.Client(running.authority, timeout_seconds=PATIENCE_SECONDS, user="") as client:
        try:
            client.list_services()
        except sdk.Unauthenticated:
            return True
        return False


def parts_follow(running: Platform) -> bool:
    listed = json.loads(as_root(running, "subscribers", "--all-namespaces", "-o", "json"))
    followers = json.dumps(listed)
    return all(part in followers for part in ("mesher", "gateway"))


def test_nobody_without_a_user_is_served_and_the_shop_goes_on(tmp_path: Path) -> None:
    data_dir = tmp_path / "data"
    with platform(data_dir, "--demo", "--auth") as first:
        first.wait_ready(demo=True)
        printed = first.output.read_text()
        assert re.search(r"--user root --password-file \S*auth/root\.password", printed)
        files = sorted((data_dir / "auth").iterdir())
        assert [each.stem for each in files] == ["console", "demo", "gateway", "mesher", "root"]
        assert {each.stat().st_mode & 0o777 for each in files} == {0o600}
        for secret in (each.read_text().strip() for each in files):
            assert len(secret) >= 32
            assert secret not in printed
            assert not any(secret in log.read_text() for log in (data_dir / "logs").iterdir())
        assert is_refused(first)
        wait_until("the shop answers", lambda: shop_answers(first), PATIENCE_SECONDS)
        first.kill("registry")  # it forgets all tokens
        first.wait_restarted("registry")
        wait_until("the shop answers", lambda: shop_answers(first), PATIENCE_SECONDS)
        wait_until("the parts follow again", lambda: parts_follow(first), PATIENCE_SECONDS)
        assert as_root(first, "auth", "status").splitlines()[1].startswith("on ")

    with platform(data_dir, "--no-auth") as second:
        second.wait_ready()
        assert not is_refused(second)
        assert not (data_dir / "auth").exists()
