"""Clients of a real node with authentication: logging in, tokens that end, permissions that go."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from sdk_authority import Authority
from sdk_registry import RegistryProcess

import tianlu
from tianlu import Access, AsyncClient, _channels

Until = Callable[..., Awaitable[None]]

ROOT_PASSWORD = "the root password"
PASSWORD = "the app's password"
CATALOGUE = "/tianlu/v1/"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    """A node whose unused tokens end after a second. Root, and app who registers."""
    registry = RegistryProcess(tmp_path_factory.mktemp("guarded"), "--auth-token-ttl=1")
    registry.start()
    asyncio.run(switch_on(registry.endpoint))
    yield registry
    registry.close()


async def switch_on(endpoint: str) -> None:
    async with AsyncClient(endpoint, timeout_seconds=60, user="") as client:
        await make_users(client)
        await client.auth.enable()


async def make_users(client: AsyncClient) -> None:
    await client.auth.add_user("root", ROOT_PASSWORD)
    await client.auth.grant_role("root", "root")
    await client.auth.add_role("app")
    await client.auth.grant_permission("app", Access.READWRITE, CATALOGUE, prefix=True)
    await client.auth.grant_permission("app", Access.READWRITE, "app/", prefix=True)
    await client.auth.add_user("app", PASSWORD)
    await client.auth.grant_role("app", "app")


def as_app(registry: RegistryProcess) -> AsyncClient:
    return AsyncClient(registry.endpoint, timeout_seconds=60, user="app", password=PASSWORD)


@pytest.fixture
async def root(guarded: RegistryProcess) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(
        guarded.endpoint, timeout_seconds=60, user="root", password=ROOT_PASSWORD
    ) as client:
        yield client


async def forget_tokens(root: AsyncClient, user: str, password: str) -> None:
    """End a user's tokens, as their time does."""
    await root.auth.change_password(user, password)


async def test_who_says_nothing_or_lies_is_refused(guarded: RegistryProcess) -> None:
    async with AsyncClient(guarded.endpoint, timeout_seconds=60, user="") as nobody:
        with pytest.raises(tianlu.Unauthenticated):
            await nobody.kv.get("app/a")
        assert (await nobody.auth.status()).enabled
    async with AsyncClient(
        guarded.endpoint, timeout_seconds=60, user="app", password="wrong"
    ) as liar:
        for refused in (liar.kv.put("app/a", "1"), liar.subscribe("x"), anext(liar.kv.watch("a"))):
            with pytest.raises(tianlu.Unauthenticated, match="refuses user 'app'") as raised:
                await refused
            assert "wrong" not in str(raised.value)
            assert not raised.value.retryable
        assert (await liar.auth.status()).enabled


async def test_a_permission_that_is_missing_is_named(guarded: RegistryProcess) -> None:
    async with as_app(guarded) as client:
        with pytest.raises(tianlu.PermissionDenied, match="Put of 'other' by user 'app'"):
            await client.kv.put("other", "1")
        with pytest.raises(tianlu.PermissionDenied, match="by user 'app'"):
            await client.auth.users()
        with pytest.raises(tianlu.PermissionDenied):
            await anext(client.kv.watch("other"))
        assert await client.auth.roles_of("app") == ("app",)


async def test_nobody_notices_that_a_token_has_ended(
    guarded: RegistryProcess, root: AsyncClient, until: Until
) -> None:
    async with as_app(guarded) as client:
        await client.register("kept", id="k", port=1, address="127.0.0.1")
        await forget_tokens(root, "app", PASSWORD)
        assert [one.id for one in (await client.list_instances("kept")).items] == ["k"]
        await forget_tokens(root, "app", PASSWORD)
        revision = await client.kv.put("app/a", "not repeated unasked, and yet made")
        await forget_tokens(root, "app", PASSWORD)
        changes = client.kv.watch("app/a", start_revision=revision)
        assert (await anext(changes)).item.mod_revision == revision
        await changes.aclose()
        lease = await client.kv.lease_grant(60)
        await forget_tokens(root, "app", PASSWORD)
        assert (await client.kv.lease_keep_alive(lease.id)).ttl_seconds == 60
        await forget_tokens(root, "app", PASSWORD)
        await client.subscribe("kept")
        assert client.pick("kept").id == "k"


async def test_a_dead_endpoint_costs_no_login(guarded: RegistryProcess, unused_port: int) -> None:
    endpoints = [f"127.0.0.1:{unused_port}", guarded.endpoint]
    async with AsyncClient(endpoints, timeout_seconds=60, user="app", password=PASSWORD) as client:
        await client.kv.put("app/a", "made once, elsewhere")
    async with AsyncClient(endpoints, timeout_seconds=60, user="app", password=PASSWORD) as client:
        await client.subscribe("nothing")


async def test_a_token_that_was_not_used_for_its_time_is_renewed(guarded: RegistryProcess) -> None:
    async with as_app(guarded) as client:
        await client.kv.get("app/a")
        token = client._connection._identity._token
        assert token
        stale = AsyncClient(guarded.endpoint, timeout_seconds=60, token=token)
        async with asyncio.timeout(60), stale:
            await stale.kv.get("app/a")
            refused = False
            while not refused:
                # Longer than its time: each use gives an unused token that time anew.
                await asyncio.sleep(1.1)
                try:
                    await stale.kv.get("app/a")
                except tianlu.Unauthenticated:
                    refused = True
        await client.kv.get("app/a")
        assert client._connection._identity._token != token


async def test_a_password_is_changed_under_a_client(
    guarded: RegistryProcess, root: AsyncClient, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("first\n")
    await root.auth.add_user("changing", "first")
    await root.auth.grant_role("changing", "app")
    async with AsyncClient(
        guarded.endpoint, timeout_seconds=60, user="changing", password_file=file
    ) as client:
        await client.kv.get("app/a")
        file.write_text("second\n")
        await root.auth.change_password("changing", "second")
        await client.kv.get("app/a")
        await root.auth.delete_user("changing")
        with pytest.raises(tianlu.Unauthenticated):
            await client.kv.get("app/a")


async def test_a_watch_ends_with_the_right_to_it(
    guarded: RegistryProcess, root: AsyncClient
) -> None:
    await root.auth.add_user("leaving", "x")
    await root.auth.grant_role("leaving", "app")
    async with AsyncClient(
        guarded.endpoint, timeout_seconds=60, user="leaving", password="x"
    ) as client:
        revision = await client.kv.put("app/w", "1")
        changes = client.kv.watch("app/w", start_revision=revision)
        await anext(changes)
        await root.auth.revoke_role("leaving", "app")
        with pytest.raises(tianlu.PermissionDenied):
            await asyncio.wait_for(anext(changes), 60)
        with pytest.raises(tianlu.PermissionDenied):
            await client.list_services()
        await root.auth.grant_role("leaving", "app")
        await client.list_services()
    await root.auth.delete_user("leaving")


async def test_the_synchronous_client_is_somebody_too(guarded: RegistryProcess) -> None:
    def work() -> tuple[str, ...]:
        with tianlu.Client(
            guarded.endpoint, timeout_seconds=60, user="root", password=ROOT_PASSWORD
        ) as client:
            (permission, *_) = client.auth.permissions("app")
            assert permission == tianlu.Permission(Access.READWRITE, b"/tianlu/v1/", b"/tianlu/v10")
            return client.auth.users()

    assert {"app", "root"} <= set(await asyncio.to_thread(work))


async def test_sessions_and_watches_survive_a_node_that_forgets_all_tokens(
    tmp_path: Path, until: Until
) -> None:
    """Authentication is switched on under them, and then the node restarts."""
    registry = RegistryProcess(tmp_path)
    registry.start()
    try:
        async with as_app(registry) as client, client.mirror() as mirror:
            await client.register("kept", id="k", port=1, address="127.0.0.1")
            changes = client.kv.watch("app/", prefix=True, start_revision=1)
            await client.kv.put("app/a", "1")
            assert (await anext(changes)).item.value == b"1"
            await switch_on(registry.endpoint)
            await client.kv.put("app/a", "2")
            assert (await anext(changes)).item.value == b"2"
            registry.kill()
            registry.start()

            async def written() -> bool:
                # What the kill met half-way is not made again unasked.
                with contextlib.suppress(tianlu.OutcomeUnknown):
                    await client.kv.put("app/a", "3")
                    return True
                return False

            await until(written, "a write is made with the node that is back")
            assert (await anext(changes)).item.value == b"3"
            await until(lambda: client.status().session == "held", "the session is held")
            await until(lambda: not mirror.degraded, "the mirror follows again")
            await until(
                lambda: any(
                    "k" in [i.id for i in s.instances] for s in mirror.view.services.values()
                ),
                "the instance is there",
            )
            await changes.aclose()
        assert ROOT_PASSWORD not in (tmp_path / "registry.log").read_text()
    finally:
        registry.close()


async def test_a_signed_token_is_renewed_when_users_change(tmp_path: Path, until: Until) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s" * 64)
    registry = RegistryProcess(
        tmp_path, f"--auth-token=jwt,sign-method=HS256,priv-key={secret},ttl=10m"
    )
    registry.start()
    try:
        await switch_on(registry.endpoint)
        async with (
            as_app(registry) as client,
            AsyncClient(
                registry.endpoint, timeout_seconds=60, user="root", password=ROOT_PASSWORD
            ) as root,
        ):
            changes = client.kv.watch("app/a", start_revision=1)
            await client.kv.put("app/a", "1")
            await anext(changes)
            jwt = client._connection._identity._token or ""
            await root.auth.add_user("new", "x")
            await client.kv.put("app/a", "2")
            assert (await anext(changes)).item.value == b"2"
            await changes.aclose()
            async with AsyncClient(registry.endpoint, timeout_seconds=60, token=jwt) as old:
                with pytest.raises(tianlu.Unauthenticated):
                    await old.kv.put("app/a", "3")
    finally:
        registry.close()


async def test_certificates_say_who_calls_and_are_read_again(
    tmp_path: Path, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_channels, "RETIRE_SECONDS", 0.0)
    authority = Authority(tmp_path / "authority")
    server = authority.issue("server", "registry.test")
    registry = RegistryProcess(
        tmp_path,
        f"--cert-file={server[0]}",
        f"--key-file={server[1]}",
        f"--trusted-ca-file={authority.file}",
        "--client-cert-auth",
        scheme="https",
    )
    registry.start()
    endpoint = f"https://{registry.endpoint}"
    certificate, key = authority.issue("client", common_name="app")
    trusting = {"ca_file": authority.file, "server_name": "registry.test", "timeout_seconds": 60}
    showing = {**trusting, "cert_file": certificate, "key_file": key}
    try:
        async with AsyncClient(registry.socket, timeout_seconds=60) as plain:
            await make_users(plain)
            await plain.auth.add_user("reader", None)
            await plain.auth.enable()
        async with AsyncClient(endpoint, user="", **showing) as client:
            await client.kv.put("app/a", "by its certificate")
            changes = client.kv.watch("app/a", start_revision=1)
            assert (await anext(changes)).item.value == b"by its certificate"
            authority.issue("client", common_name="reader")

            async def other() -> bool:
                try:
                    await client.kv.get("app/a")
                except tianlu.PermissionDenied:
                    return True
                return False

            await until(other, "the new certificate is shown")
            with pytest.raises(tianlu.PermissionDenied):
                await asyncio.wait_for(anext(changes), 60)
        # A token goes before a certificate; endpoints may be mixed.
        async with AsyncClient(
            [endpoint, registry.socket], user="root", password=ROOT_PASSWORD, **showing
        ) as client:
            assert "reader" in await client.auth.users()
        other_authority = Authority(tmp_path / "other").file
        for strangers in (
            {"cert_file": "", "key_file": ""},
            {"server_name": "other.test"},
            {"ca_file": other_authority},
        ):
            given = {**showing, **strangers, "timeout_seconds": 1}
            async with AsyncClient(endpoint, user="", **given) as client:
                with pytest.raises(tianlu.Unavailable):
                    await client.kv.get("app/a")
    finally:
        registry.close()


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, _ = authority.issue("one", common_name="one")
    _, key = authority.issue("two", common_name="two")
    with pytest.raises(tianlu.InvalidInput, match="no pair") as raised:
        AsyncClient("https://127.0.0.1:1", cert_file=certificate, key_file=key)
    assert raised.value.field == "cert_file"


def test_an_encrypted_key_asks_nobody(tmp_path: Path) -> None:
    certificate, key = Authority(tmp_path).issue("one", common_name="one")
    locked = tmp_path / "locked.key"
    subprocess.run(
        ["openssl", "pkey", "-in", str(key), "-aes256", "-passout", "pass:x", "-out", str(locked)],
        check=True,
    )
    with pytest.raises(tianlu.InvalidInput, match="unencrypted"):
        AsyncClient("https://127.0.0.1:1", cert_file=certificate, key_file=locked)
