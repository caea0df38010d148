"""The registry's users of a data directory: made, mended, and forgotten, on a real registry."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from registry.registry_process import RegistryProcess

from tianlu import AsyncClient
from tianlu._credentials import Credentials
from tianlu_standalone.datadir import DataDir, StartError
from tianlu_standalone.users import USERS, Users, switch_off, switch_on


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RegistryProcess]:
    running = RegistryProcess(tmp_path)
    running.start()
    yield running
    running.kill()


@pytest.fixture
def users(tmp_path: Path) -> Iterator[Users]:
    data = DataDir.open(tmp_path / "data")
    yield Users.of(data)
    data.close()


def client(users: Users, registry: RegistryProcess, user: str) -> AsyncClient:
    file = users.password_file(user)
    return AsyncClient(registry.target, timeout_seconds=60, user=user, password_file=file)


def test_nobody_is_anybody_before(users: Users) -> None:
    assert not users.wanted
    assert users.flags("mesher") == ()
    assert users.environment("demo") == {}


def test_passwords_are_for_their_owner_and_stay(users: Users) -> None:
    users.write()
    assert users.wanted
    made = {user: users.password_file(user).read_text() for user in USERS}
    assert len(set(made.values())) == len(USERS)
    assert users.directory.stat().st_mode & 0o777 == 0o700
    assert {users.password_file(user).stat().st_mode & 0o777 for user in USERS} == {0o600}
    users.write()
    assert made == {user: users.password_file(user).read_text() for user in USERS}
    flags = users.flags("mesher")
    assert flags[:3] == ("--registry-user", "mesher", "--registry-password-file")
    assert not any(secret.strip() in " ".join(flags) for secret in made.values())


def test_a_password_is_the_first_line_as_for_everybody(users: Users) -> None:
    users.write()
    file = users.password_file("root")
    file.write_text(" with spaces \r\na note\n")
    access = Credentials(user="root", password_file=file)
    assert users.password("root") == access.read_password() == " with spaces "


def test_it_stays_as_it_was_unless_it_is_asked_for(tmp_path: Path) -> None:
    data = DataDir.open(tmp_path / "kept")
    assert not Users.open(data, None).wanted
    assert not Users.open(data, False).wanted
    assert Users.open(data, True).wanted
    Users.of(data).password_file("demo").unlink()
    assert Users.open(data, None).password_file("demo").exists()
    assert Users.open(data, False).wanted, "until the registry has been told"
    data.close()


async def test_users_from_an_interrupted_start_to_the_last(
    users: Users, registry: RegistryProcess
) -> None:
    users.write()
    await complete(users, registry)
    await lose_the_root_password(users, registry)
    await switch_off(users, registry.target)
    assert not users.wanted
    async with AsyncClient(registry.target, timeout_seconds=60, user="") as anybody:
        assert not (await anybody.auth.status()).enabled
        await anybody.list_services()


async def complete(users: Users, registry: RegistryProcess) -> None:
    """What is missing is made, what is wrong is mended, and what is good is left alone."""
    async with client(users, registry, "root") as root:
        # What a start that was killed may leave: a user without password, a role without anything.
        await root.auth.add_user("root", "of an earlier start")
        await root.auth.add_role("catalogue-reader")
        await root.auth.add_user("mesher", "of an earlier start")
        await switch_on(users, registry.target)
        assert (await root.auth.status()).enabled
        assert set(await root.auth.users()) == set(USERS)
        revision = (await root.auth.status()).revision
        await switch_on(users, registry.target)
        assert (await root.auth.status()).revision == revision, "nothing was changed"
        for user, role in USERS.items():
            assert await root.auth.roles_of(user) == (role,)
            async with client(users, registry, user) as one:
                await one.list_services()
        users.password_file("mesher").unlink()
        await root.auth.revoke_role("gateway", "catalogue-reader")
        users.write()
        await switch_on(users, registry.target)
        for user in ("mesher", "gateway"):
            async with client(users, registry, user) as one:
                await one.list_services()


async def lose_the_root_password(users: Users, registry: RegistryProcess) -> None:
    """It is asked for, never guessed or replaced."""
    async with client(users, registry, "root") as root:
        await root.auth.change_password("root", "mine")
    with pytest.raises(StartError, match=r"root\.password"):
        await switch_on(users, registry.target)
    users.password_file("root").write_text("mine\n")


async def test_a_registry_that_is_not_there_is_said_in_one_line(
    users: Users, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("tianlu_standalone.users._TIMEOUT_SECONDS", 0.1)
    users.write()
    with pytest.raises(StartError, match="cannot be switched on"):
        await switch_on(users, f"unix:{tmp_path / 'nobody'}")
    with pytest.raises(StartError, match="cannot be switched off"):
        await switch_off(users, f"unix:{tmp_path / 'nobody'}")
    assert users.wanted
