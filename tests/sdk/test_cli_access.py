"""The command line as somebody: its options, and the commands for users and roles."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from sdk_registry import RegistryProcess
from typer.testing import CliRunner, Result

from tianlu._cli import access, options, root
from tianlu._cli.role import keys_text
from tianlu._credentials import VARIABLES, Credentials
from tianlu._users import Access, Permission

Run = Callable[..., Result]

ON_A_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "tianlu", *sys.argv[1:]])
"""


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RegistryProcess]:
    running = RegistryProcess(tmp_path_factory.mktemp("users"))
    running.start()
    yield running
    running.close()


@pytest.fixture
def run(registry: RegistryProcess, monkeypatch: pytest.MonkeyPatch) -> Run:
    for variable in VARIABLES.values():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TIANLU_ENDPOINTS", registry.endpoint)
    monkeypatch.setenv("TIANLU_TIMEOUT", "60")

    def invoke(*arguments: str) -> Result:
        return CliRunner().invoke(root.app, arguments)

    return invoke


def done(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def test_users_and_roles_from_nothing_to_off_again(
    run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    assert json.loads(done(run("auth", "status", "-o", "json"))) == {
        "enabled": False,
        "revision": 1,
    }
    assert run("auth", "enable").exit_code == 1
    for user in ("root", "ann"):
        done(run("user", "add", user, "--new-password-file", str(file)))
    done(run("user", "add", "ben", "--no-password"))
    assert done(run("user", "list")).split() == ["USER", "ann", "ben", "root"]
    done(run("role", "add", "shop"))
    grant = ("role", "grant-permission", "shop")
    done(run(*grant, "readwrite", "/shop/", "--prefix"))
    done(run(*grant, "read", "a", "c"))
    done(run(*grant, "write", "z", "--from-key"))
    assert done(run("role", "get", "shop")).splitlines()[1:] == [
        "shop  readwrite  /shop/…",
        "shop  read       from a up to c",
        "shop  write      from z on",
    ]
    done(run("role", "revoke-permission", "shop", "z", "--from-key"))
    assert run("role", "revoke-permission", "shop", "z", "--from-key").exit_code == 1
    for user, role in (("root", "root"), ("ann", "shop"), ("ben", "shop")):
        done(run("user", "grant-role", user, role))
    done(run("user", "revoke-role", "ben", "shop"))
    done(run("user", "delete", "ben"))
    assert done(run("auth", "enable")).splitlines()[1].startswith("on ")

    refused = run("kv", "put", "/shop/a", "1")
    assert (refused.exit_code, refused.stderr) == (1, "tianlu: etcdserver: user name is empty\n")
    done(run("kv", "put", "/shop/a", "1", "--user", "ann:secret"))
    refused = run("kv", "get", "x", "--user", "ann", "--password-file", str(file))
    assert refused.exit_code == 1
    assert "(Range of 'x' by user 'ann')" in refused.stderr
    assert run("kv", "get", "/shop/a", "--user", "ann:wrong").exit_code == 1
    monkeypatch.setenv("TIANLU_USER", "root")
    monkeypatch.setenv("TIANLU_PASSWORD_FILE", str(file))
    assert json.loads(done(run("user", "get", "ann", "-o", "json"))) == {
        "user": "ann",
        "roles": ["shop"],
    }
    assert json.loads(done(run("role", "list", "-o", "json"))) == {"roles": ["shop"]}
    done(run("cluster", "status"))
    file.write_text("another\n")
    done(run("user", "passwd", "ann", "--new-password-file", str(file), "--user", "root:secret"))
    done(run("kv", "get", "/shop/a", "--user", "ann", "--password-file", str(file)))
    file.write_text("secret\n")
    done(run("role", "delete", "shop"))
    assert done(run("auth", "disable")).splitlines()[1].startswith("off ")
    monkeypatch.delenv("TIANLU_USER")
    done(run("kv", "get", "/shop/a"))


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("--user", ":x"), "--user"),
        (("--user", "ann", "--password-file", "/nowhere/at.all"), "--password-file"),
        (("--user", "ann:x", "--token", "t"), "--token"),
        (("--cacert", "/nowhere/at.all"), "--cacert"),
        (("--cert", "/nowhere/at.all"), "--key"),
    ],
)
def test_options_that_cannot_be_are_named(
    run: Run, arguments: tuple[str, ...], option: str
) -> None:
    result = run("kv", "get", "a", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"tianlu: {option}: ")


def test_a_password_is_asked_for_on_the_terminal_unseen(registry: RegistryProcess) -> None:
    """Twice for a new one; for one's own, once."""
    seen, code = on_a_terminal(registry, ["user", "add", "typed"], ["first", "first"])
    assert code == 0, seen
    assert "New password of typed:" in seen
    assert "first" not in seen
    seen, code = on_a_terminal(registry, ["user", "passwd", "typed"], ["one", "another"])
    assert (code, "differ" in seen) == (2, True)
    seen, code = on_a_terminal(registry, ["kv", "get", "a", "--user", "typed"], ["first"])
    assert "Password of typed:" in seen
    assert "first" not in seen


def test_without_a_terminal_nobody_waits(registry: RegistryProcess) -> None:
    command = [sys.executable, "-m", "tianlu", "kv", "get", "a", "--user", "ann"]
    result = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, start_new_session=True
    )
    assert result.returncode == 2
    assert "no terminal" in result.stderr


def on_a_terminal(
    registry: RegistryProcess, arguments: list[str], typed: list[str]
) -> tuple[str, int]:
    """Run a command, type a line at each prompt, and return what was seen."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TIANLU_ENDPOINTS": registry.endpoint, "TIANLU_TIMEOUT": "60"}
    process = subprocess.Popen(
        [sys.executable, "-c", ON_A_TERMINAL, *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
    )
    os.close(theirs)
    seen = ""
    try:
        while True:
            try:
                data = os.read(ours, 4096)
            except OSError:  # what a terminal says once nobody holds its other end
                break
            if not data:
                break
            seen += data.decode()
            # The prompt is written once the terminal shows nothing any more.
            if typed and seen.rstrip(" ").endswith(":"):
                os.write(ours, f"{typed.pop(0)}\n".encode())
                seen += " "
    finally:
        os.close(ours)
    return seen, process.wait(60)


def test_every_command_with_endpoints_can_be_somebody() -> None:
    for name in (
        "kv",
        "service",
        "instance",
        "watch",
        "cluster",
        "snapshot",
        "user",
        "subscribers",
    ):
        command = root.as_command(root.subcommands()[name].load(), name)
        for leaf in access._leaves(command):
            flags = {option for each in leaf.params for option in each.opts}
            assert ("--endpoints" in flags) == ("--user" in flags), (name, leaf.name)


def test_options_that_a_command_has_itself_are_left_alone() -> None:
    app = typer.Typer()

    @app.command()
    def own(
        key: str,
        user: str = "its own",
        endpoints: options.Endpoints = "",
    ) -> None:
        typer.echo(f"{key} {user} {access.credentials().user!r}")

    result = CliRunner().invoke(app, ["k"], env={"TIANLU_USER": "", "TIANLU_TOKEN": ""})
    assert result.stdout == "k its own ''\n"
    assert access.credentials() == Credentials()


@pytest.mark.parametrize(
    ("key", "end", "text"),
    [
        (b"a", b"", "a"),
        (b"a", b"b", "a…"),
        (b"\0", b"\0", "all keys"),
        (b"a", b"\0", "from a on"),
        (b"a", b"c", "from a up to c"),
        (b"a\xff", b"b", r"a\xff…"),
    ],
)
def test_ranges_as_people_read_them(key: bytes, end: bytes, text: str) -> None:
    assert keys_text(Permission(Access.READ, key, end)) == text
