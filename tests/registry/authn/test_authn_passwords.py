"""Passwords: hashed slowly, beside the loop, not too many at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tianlu_registry.authn.passwords import THREADS, WAITING_MAX, Passwords
from tianlu_registry.errors import TooManyRequests


@pytest.fixture
def passwords() -> Iterator[Passwords]:
    made = Passwords(memory_kib=64, passes=1)
    yield made
    made.close()


async def test_a_password_is_known_by_its_hash(passwords: Passwords) -> None:
    one, other = await passwords.hash("secret"), await passwords.hash("secret")
    assert one != other
    assert "secret" not in one
    assert one.startswith("$argon2id$")
    assert await passwords.verify("secret", one.encode())
    assert not await passwords.verify("Secret", one.encode())


@pytest.mark.parametrize("stored", [None, b"", b"$2a$10$abc", b"\xc3\xa4"])
async def test_what_is_no_hash_fits_no_password(passwords: Passwords, stored: bytes | None) -> None:
    assert not await passwords.verify("", stored)
    assert not await passwords.verify("nobody", stored)


async def test_the_default_is_what_owasp_asks_for() -> None:
    made = Passwords()
    try:
        assert "m=19456,t=2,p=1" in await made.hash("x")
    finally:
        made.close()


async def test_no_more_than_so_many_wait(passwords: Passwords) -> None:
    running = [asyncio.ensure_future(passwords.hash("x")) for _ in range(WAITING_MAX)]
    await asyncio.sleep(0)
    with pytest.raises(TooManyRequests):
        await passwords.hash("x")
    for each in running[THREADS:]:
        each.cancel()
    await asyncio.gather(*running, return_exceptions=True)
    deadline = asyncio.get_running_loop().time() + 20
    while passwords._waiting:
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.01)
    assert await passwords.hash("x")
