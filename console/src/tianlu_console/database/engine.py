"""Opening the database and bringing its schema up to date."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import ConnectionPoolEntry

from tianlu_console.settings import CannotStart

FILE_NAME: Final = "console.db"
BUSY_TIMEOUT_MS: Final = 5_000
"""How long a writer waits for another one before it fails."""


class DatabaseUnusable(CannotStart):
    """The database cannot be opened or migrated; the message says which file and why."""


def open_database(data_dir: Path) -> Engine:
    """Open DATA_DIR/console.db, creating or migrating it.

    The file is readable by its owner alone: it holds password hashes. Returns an engine that the
    caller disposes of.

    Raises:
        DatabaseUnusable: the file is not a database, was written by a newer console, or cannot be
            written.
    """
    path = data_dir / FILE_NAME
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
    except OSError as error:
        raise DatabaseUnusable(f"cannot write {path}: {error.strerror}") from error
    engine = create_engine(f"sqlite:///{path}")
    event.listen(engine, "connect", _prepare_connection)
    try:
        migrate(engine)
    except DatabaseError as error:
        engine.dispose()
        raise DatabaseUnusable(f"{path} is not usable: {error.orig}") from error
    except CommandError as error:
        engine.dispose()
        raise DatabaseUnusable(
            f"{path} was written by another release of the console: {error}"
        ) from error
    return engine


def migrate(engine: Engine) -> None:
    """Bring the schema to this release's version, in one transaction per step."""
    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).parent / "migrations").replace("%", "%%")
    )
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _prepare_connection(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    """Set what SQLite leaves off by default: foreign keys, and readers that do not block the
    writer.
    """
    if not isinstance(connection, sqlite3.Connection):
        return
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
