"""The tables. Times are milliseconds since 1970 (UTC); migrations/ brings older files here."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

people = Table(
    "people",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, unique=True),
    Column("role", String(32), nullable=False),
    Column("password_hash", String(255), nullable=False),
    Column("created_unix_ms", BigInteger, nullable=False),
)

# A session is known by the hash of its cookie, so that whoever reads the database cannot use it.
sessions = Table(
    "sessions",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    Column(
        "person_id",
        Integer,
        ForeignKey("people.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("created_unix_ms", BigInteger, nullable=False),
    Column("seen_unix_ms", BigInteger, nullable=False),
    Column("address", String(64), nullable=False),
    Column("client", String(255), nullable=False),
)

# At most one row, and none once somebody has an account.
first_visits = Table(
    "first_visits",
    metadata,
    Column("token_hash", LargeBinary(32), primary_key=True),
    Column("created_unix_ms", BigInteger, nullable=False),
)

audit_entries = Table(
    "audit_entries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at_unix_ms", BigInteger, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("address", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("namespace", String(255), nullable=False),
    Column("service", String(255), nullable=False),
    Column("instance", String(255), nullable=False),
    Column("reason", Text, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("detail", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
)
Index(
    "audit_entries_by_service",
    audit_entries.c.namespace,
    audit_entries.c.service,
    audit_entries.c.id,
)
