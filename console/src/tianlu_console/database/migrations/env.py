"""How alembic runs our migrations: on the connection that `engine.migrate` hands over, never by
itself.
"""

from alembic import context

from tianlu_console.database.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite cannot alter most things in place
)
with context.begin_transaction():
    context.run_migrations()
