"""The console's own user of the registry: what it needs, and what is said when it is not enough."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from console_processes import part
from typer.testing import CliRunner

from tianlu import Access, AsyncClient, CatalogView, NotAllowed
from tianlu_console.catalogue.mirror import MirrorCatalogue
from tianlu_console.cli import app
from tianlu_console.errors import from_sdk

PATIENCE_SECONDS = 60.0


async def test_reading_shows_and_writing_acts(tmp_path: Path) -> None:
    arguments = ["registry", "--data-dir", str(tmp_path / "data")]
    url = "http://127.0.0.1:0"
    with part(tmp_path, *arguments, "--listen-client-urls", url) as registry:
        endpoint = str(registry.addresses["client_urls"][0])
        async with client(endpoint, "root") as root:
            await root.auth.add_user("root", "root")
            await root.auth.grant_role("root", "root")
            await root.auth.add_user("console", "console")
            await root.auth.enable()
            await root.register("orders", id="one", port=1, address="127.0.0.1")
            async with client(endpoint, "console") as console:
                await check(root, MirrorCatalogue(console))


async def check(root: AsyncClient, catalogue: MirrorCatalogue) -> None:
    """Grant the console one role after the other, and see what it can do."""
    first = asyncio.ensure_future(first_view(catalogue))
    await asyncio.wait([first], timeout=0.1)
    assert not first.done(), "without a role it waits, and goes on when it has one"
    await grant(root, "reader", Access.READ)
    view = await asyncio.wait_for(first, PATIENCE_SECONDS)
    assert [each.id for one in view.services.values() for each in one.instances] == ["one"]
    with pytest.raises(NotAllowed) as raised:
        await isolate(catalogue)
    assert from_sdk(raised.value).status == 403
    await grant(root, "writer", Access.READWRITE)
    await isolate(catalogue)
    await catalogue.close()


async def first_view(catalogue: MirrorCatalogue) -> CatalogView:
    return await anext(catalogue.changes())


async def isolate(catalogue: MirrorCatalogue) -> None:
    done = await catalogue.isolate(
        "default", "orders", "one", reason="a test", actor="ada", expires_unix_ms=0
    )
    assert done.isolated


async def grant(root: AsyncClient, role: str, access: Access) -> None:
    await root.auth.add_role(role)
    await root.auth.grant_permission(role, access, "/tianlu/v1/", prefix=True)
    await root.auth.grant_role("console", role)


def client(endpoint: str, user: str) -> AsyncClient:
    return AsyncClient(endpoint, timeout_seconds=PATIENCE_SECONDS, user=user, password=user)


def test_a_password_that_is_nowhere_stops_the_start(tmp_path: Path) -> None:
    arguments = ["--registry-user", "console", "--data-dir", str(tmp_path / "data")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "--registry-password-file: is needed for user 'console'" in result.stderr
