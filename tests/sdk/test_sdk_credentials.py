"""Who a client is: what may be given, where it comes from, and that nobody gets to see secrets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

import tianlu
from tianlu._channel import _certainly_not_done
from tianlu._credentials import VARIABLES, Credentials, resolve_credentials
from tianlu._errors import DeadlinePassed, LimitReached, Unauthenticated
from tianlu._identity import NO_TOKEN, REFUSALS_MAX, REST_SECONDS, Identity
from tianlu._refusal import refused_text
from tianlu._retry import Deadline
from tianlu.registry_access import registry_access

ANN = Credentials(user="ann", password="secret")
INVALID = Unauthenticated("etcdserver: invalid auth token")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"user": "ann"}, "password"),
        ({"password": "x"}, "user"),
        ({"user": "ann", "password": "x", "token": "t"}, "token"),
        ({"user": "ann", "password": "x", "password_file": "f"}, "password_file"),
        ({"user": "ann", "password_file": "/nowhere/at.all"}, "password_file"),
        ({"token": "two words"}, "token"),
        ({"ca_file": "/nowhere/at.all"}, "ca_file"),
        ({"cert_file": "a"}, "key_file"),
        ({"key_file": "a"}, "cert_file"),
    ],
)
def test_what_cannot_be_names_its_argument(given: dict[str, str], field: str) -> None:
    with pytest.raises(tianlu.InvalidInput) as raised:
        tianlu.AsyncClient("127.0.0.1:1", **given)  # type: ignore[arg-type]
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("content", "password"),
    [("one\n", "one"), ("one\r\ntwo\n", "one"), (" two words ", " two words "), ("\n", None)],
)
def test_the_first_line_of_a_file_is_the_password(
    tmp_path: Path, content: str, password: str | None
) -> None:
    file = tmp_path / "password"
    file.write_text(content)
    if password is None:
        with pytest.raises(tianlu.InvalidInput, match="no password"):
            Credentials(user="ann", password_file=file)
    else:
        assert Credentials(user="ann", password_file=file).read_password() == password


def test_a_file_that_is_no_certificate_is_refused(tmp_path: Path) -> None:
    (tmp_path / "ca").write_text("nothing")
    with pytest.raises(tianlu.InvalidInput, match="PEM") as raised:
        Credentials(ca_file=tmp_path / "ca")
    assert raised.value.field == "ca_file"


def test_the_environment_says_who_calls_unless_somebody_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TIANLU_USER", "ann")
    monkeypatch.setenv("TIANLU_PASSWORD", "secret")
    assert resolve_credentials() == ANN
    assert resolve_credentials(user="ann") == ANN
    assert resolve_credentials(user="ben", password="x") == Credentials(user="ben", password="x")
    assert resolve_credentials(user="") == Credentials()
    assert resolve_credentials(token="t") == Credentials(token="t")
    monkeypatch.setenv("TIANLU_TOKEN", "t")
    assert resolve_credentials(user="ann") == ANN
    with pytest.raises(tianlu.InvalidInput):
        resolve_credentials()


def test_a_part_is_who_its_options_say_and_nobody_else(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TIANLU_USER", "somebody")
    monkeypatch.setenv("TIANLU_PASSWORD", "else")
    nothing = {"cacert": None, "cert": None, "key": None, "server_name": ""}
    access = registry_access(user="", password_file=None, **nothing)  # type: ignore[arg-type]
    assert resolve_credentials(**access) == Credentials()
    with pytest.raises(tianlu.InvalidInput) as raised:
        registry_access(user="mesher", password_file=None, **nothing)  # type: ignore[arg-type]
    assert raised.value.field == "--registry-password-file"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "password").write_text("x\n")
    access = registry_access(user="mesher", password_file=Path("password"), **nothing)  # type: ignore[arg-type]
    assert access["password_file"] == str(tmp_path / "password")


def test_secrets_are_not_shown() -> None:
    assert "secret" not in repr(ANN)
    assert "jwt" not in repr(Credentials(token="jwt"))


def test_a_refusal_names_call_key_and_user() -> None:
    from tianlu._proto.etcd import rpc_pb2 as etcd
    from tianlu._proto.v1 import catalog_pb2 as v1

    put = etcd.PutRequest(key=b"/a\xff", value=b"secret")
    text = refused_text("etcdserver: permission denied", "ann", "/etcdserverpb.KV/Put", put)
    assert text == r"etcdserver: permission denied (Put of '/a\\xff' by user 'ann')"
    found = etcd.RangeRequest(key=b"a", range_end=b"b")
    assert refused_text("no", "", "/x.Y/Range", found) == "no (Range of 'a' up to 'b')"
    assert refused_text("no", "", "/x.Y/Watch", v1.WatchRequest()) == "no (Watch)"


class Registry:
    """Hands out tokens, and says what it thinks of them."""

    def __init__(self) -> None:
        self.logins = 0
        self.enabled = True
        self.good = "nobody has it yet"
        self.failure: tianlu.TianluError | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def log_in(self, name: str, password: str) -> str:
        assert (name, password) == ("ann", "secret")
        await self.open.wait()
        self.logins += 1
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        if not self.enabled:
            raise tianlu.Conflict("etcdserver: authentication is not enabled")
        self.good = f"token {self.logins}"
        return self.good

    async def attempt(self, token: str) -> str:
        if self.enabled and token != self.good:
            raise INVALID
        return token

    def call(self, identity: Identity, seconds: float = 60) -> asyncio.Task[str]:
        return asyncio.ensure_future(
            identity.call(self.attempt, self.log_in, Deadline.after(seconds))
        )


async def test_one_login_serves_all_calls_before_and_after_the_token_ends() -> None:
    registry, identity = Registry(), Identity(ANN)
    assert set(await asyncio.gather(*(registry.call(identity) for _ in range(50)))) == {"token 1"}
    registry.good = "ended"
    assert set(await asyncio.gather(*(registry.call(identity) for _ in range(50)))) == {"token 2"}


async def test_authentication_is_switched_on_under_a_client_and_off_again() -> None:
    registry, identity = Registry(), Identity(ANN)
    registry.enabled = False
    assert [await registry.call(identity) for _ in range(3)] == [NO_TOKEN] * 3
    assert registry.logins == 1
    registry.enabled = True
    assert await registry.call(identity) == "token 2"
    registry.enabled = False
    assert await registry.call(identity) == "token 2"


async def test_a_registry_that_refuses_what_it_hands_out_is_asked_once_more_only() -> None:
    registry, identity = Registry(), Identity(ANN)
    calls = 0

    async def refuse(token: str) -> str:
        nonlocal calls
        calls += 1
        raise INVALID

    for _ in range(REFUSALS_MAX + 1):
        with pytest.raises(Unauthenticated):
            await identity.call(refuse, registry.log_in, Deadline.after(60))
    assert calls == 2 * REFUSALS_MAX + 1
    assert await registry.call(identity) == registry.good, "and goes on when it is mended"


async def test_a_login_that_was_refused_rests() -> None:
    now = [0.0]
    registry, identity = Registry(), Identity(ANN, clock=lambda: now[0])
    registry.failure = Unauthenticated("etcdserver: authentication failed, …")
    for _ in range(5):
        with pytest.raises(Unauthenticated, match="refuses user 'ann'") as raised:
            await registry.call(identity)
        assert "secret" not in str(raised.value)
    assert registry.logins == 1
    now[0] += REST_SECONDS
    assert await registry.call(identity) == "token 2"


@pytest.mark.parametrize(
    "failure", [LimitReached("etcdserver: too many requests"), Unauthenticated("old", passing=True)]
)
async def test_a_login_that_may_succeed_is_tried_again(failure: tianlu.TianluError) -> None:
    registry, identity = Registry(), Identity(ANN)
    registry.failure = failure
    assert await registry.call(identity) == "token 2"


async def test_a_login_that_does_not_come_ends_with_the_call() -> None:
    registry, identity = Registry(), Identity(ANN)
    registry.open.clear()
    with pytest.raises(DeadlinePassed, match="cannot log in as 'ann'") as raised:
        await registry.call(identity, seconds=0.01)
    assert _certainly_not_done(raised.value), "so a raw write may be made again"


async def test_a_node_that_is_away_keeps_a_call_from_being_made_and_it_may_be_made_again() -> None:
    registry, identity = Registry(), Identity(ANN)
    registry.failure = tianlu.Unavailable("etcdserver: request timed out")
    with pytest.raises(tianlu.Unavailable, match="request timed out") as raised:
        await registry.call(identity)
    assert _certainly_not_done(raised.value)
    assert await registry.call(identity) == "token 2"


async def test_a_call_that_is_cancelled_leaves_the_login_to_the_next() -> None:
    registry, identity = Registry(), Identity(ANN)
    registry.open.clear()
    first, second = registry.call(identity), registry.call(identity)
    await asyncio.sleep(0)
    first.cancel()
    await asyncio.wait([first])
    registry.open.set()
    assert await second == "token 1"


@pytest.mark.parametrize("credentials", [Credentials(), Credentials(token="static")])
async def test_who_cannot_log_in_is_told(credentials: Credentials) -> None:
    registry, identity = Registry(), Identity(credentials)
    with pytest.raises(Unauthenticated):
        await registry.call(identity)
    registry.good = credentials.token
    assert await registry.call(identity) == credentials.token
    assert registry.logins == 0
