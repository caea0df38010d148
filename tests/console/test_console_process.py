"""`tianlu console` as a process, with no registry to be had."""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from console_processes import console_arguments, part
from typer.testing import CliRunner

from tianlu_console.cli import app
from tianlu_console.database import metadata, open_database
from tianlu_console.database.engine import DatabaseUnusable
from tianlu_console.server import CannotListen, bind
from tianlu_console.settings import ListenAddress

NO_REGISTRY = "127.0.0.1:1"


def test_it_serves_without_a_registry_and_stops_cleanly(tmp_path: Path) -> None:
    with part(tmp_path, *console_arguments(tmp_path, NO_REGISTRY)) as console:
        written = json.loads(console.run_file.read_text())
        assert written["part"] == "console"
        assert written["pid"] == console.process.pid
        assert written["ready"] is True
        assert console.run_file.stat().st_mode & 0o077 == 0
        assert (tmp_path / "data" / "console.db").stat().st_mode & 0o077 == 0
        http, link = console.addresses["http"], console.addresses["first_visit_path"]
        assert httpx.get(f"{http}/readyz").json() == {"status": "ok", "source": "waiting"}
        assert httpx.get(http + link).status_code == 200
        password = "a long enough password"
        form = {
            "token": link.split("=")[1],
            "name": "ada",
            "password": password,
            "repeated": password,
        }
        with httpx.Client() as browser:
            assert browser.post(f"{http}/console/first-visit", data=form).status_code == 303
            page = browser.get(f"{http}/console/services")
            assert "The registry has not answered yet" in page.text
            with browser.stream("GET", f"{http}/console/live") as stream:
                assert next(stream.iter_raw())
                assert console.stop() == 0, "an open stream must not hold it up"
        assert not console.run_file.exists()

    # Again on a Unix socket, whose last owner was killed without warning and left it behind.
    path = tmp_path / "console.sock"
    with socket.socket(socket.AF_UNIX) as orphan:
        orphan.bind(str(path))
    with part(tmp_path, *console_arguments(tmp_path, NO_REGISTRY, f"unix:{path}")) as console:
        assert console.addresses == {"http": f"unix:{path}"}, (
            "there is an account: no link any more"
        )
        assert path.stat().st_mode & 0o077 == 0
        transport = httpx.HTTPTransport(uds=str(path))
        with httpx.Client(transport=transport, base_url="http://console") as browser:
            assert browser.get("/livez").status_code == 200
        assert console.stop() == 0
        assert not path.exists()


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"127.0.0.1:{port}: Address already in use"):
            bind(ListenAddress("127.0.0.1", port))


def test_a_socket_that_somebody_listens_on_is_not_taken_over(tmp_path: Path) -> None:
    address = ListenAddress(unix_path=tmp_path / "console.sock")
    with bind(address), pytest.raises(CannotListen, match="Address already in use"):
        bind(address)


def test_a_file_in_the_sockets_place_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "console.sock"
    path.write_text("precious")
    with pytest.raises(CannotListen):
        bind(ListenAddress(unix_path=path))
    assert path.read_text() == "precious"


@pytest.fixture
def root_logger() -> Iterator[None]:
    """The command sets the root logger up; later tests get theirs back."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("root_logger")
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--listen", "nonsense"), "--listen"),
        (("--listen", "127.0.0.1:99999"), "--listen"),
        (("--listen", "unix:"), "--listen"),
        (("--registry", ","), "--registry"),
        (("--base-path", "console"), "--base-path"),
    ],
)
def test_a_wrong_flag_is_named(tmp_path: Path, arguments: tuple[str, ...], text: str) -> None:
    result = CliRunner().invoke(app, [*arguments, "--data-dir", str(tmp_path)])
    assert result.exit_code == 1
    assert result.stderr.startswith(f"tianlu console: {text}: ")
    assert list(tmp_path.iterdir()) == [], "nothing half-started"


def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "console.db").write_bytes(b"this is not a database, whatever its name says" * 50)
    with pytest.raises(
        DatabaseUnusable, match=r"console\.db is not usable: file is not a database"
    ):
        open_database(tmp_path)


def test_a_database_of_a_later_release_is_left_alone(tmp_path: Path) -> None:
    engine = open_database(tmp_path)
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()
    with pytest.raises(DatabaseUnusable, match="another release"):
        open_database(tmp_path)


def test_a_data_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseUnusable, match=r"cannot write .*console\.db: File exists"):
        open_database(tmp_path / "file")


def test_the_migrations_make_the_tables_that_the_code_names(tmp_path: Path) -> None:
    engine = open_database(tmp_path)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection)
        assert compare_metadata(context, metadata) == []
    engine.dispose()


@pytest.mark.parametrize(
    ("text", "written"),
    [("127.0.0.1:0", "127.0.0.1:0"), ("[::1]:80", "[::1]:80"), ("unix:/run/x", "unix:/run/x")],
)
def test_listen_addresses(text: str, written: str) -> None:
    assert str(ListenAddress.parse(text)) == written
