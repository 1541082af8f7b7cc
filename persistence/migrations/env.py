"""Runs the migrations on the connection that `fitai.persistence.schema` hands over.

The transaction is the caller's: everything or nothing, also on SQLite, where DDL is transactional too.
"""

from __future__ import annotations

from alembic import context

from fitai.persistence import group_models, identity_models  # noqa: F401  (tables of Base.metadata)
from fitai.persistence.models import Base


def run() -> None:
    """Run what is missing; batch mode lets later migrations alter tables on SQLite as well."""
    connection = context.config.attributes["connection"]
    context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()


# Alembic loads this file under a name of its own; importing it as a module runs nothing.
if __name__ == "env_py":
    run()
