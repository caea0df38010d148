"""The console's own database: people, sessions, audit. What the registry holds is not in here."""

from tianlu_console.database.engine import open_database as open_database
from tianlu_console.database.tables import metadata as metadata
