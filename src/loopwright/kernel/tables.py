"""The tables of the kernel, the same on SQLite and PostgreSQL."""

import sqlalchemy as sa

METADATA = sa.MetaData()

RECORDS = sa.Table(
    "records",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("region", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("uid", sa.Text, nullable=False, unique=True),
    sa.Column("arn", sa.Text, nullable=False, index=True),
    sa.Column("owner", sa.Text, index=True),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, default=""),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("modified", sa.Float, nullable=False),
    sa.Column("revision", sa.Integer, nullable=False, default=0),
    sa.Column("due", sa.Float, index=True),
    # Grows with every wake-up, so that a pass sees whether one came while it was computed.
    sa.Column("wakes", sa.Integer),
    sa.UniqueConstraint("region", "kind", "name"),
    # For those of all regions, which are few among the records of all kinds.
    sa.Index("records_by_kind", "kind", "id"),
    sa.Index("records_by_created", "region", "kind", "created", "id"),
    sa.Index("records_by_modified", "region", "kind", "modified", "id"),
    # With the column of the sort, so that a state that few records have is found without a scan.
    sa.Index("records_by_state_created", "region", "kind", "state", "created", "id"),
    sa.Index("records_by_state_name", "region", "kind", "state", "name", "id"),
)

TAGS = sa.Table(
    "tags",
    METADATA,
    sa.Column("arn", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

EVENTS = sa.Table(
    "events",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("record", sa.Text, nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False, default=""),
)

UNITS = sa.Table(
    "units",
    METADATA,
    sa.Column("seq", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("record", sa.Text, nullable=False, index=True),
    sa.Column("gang", sa.Text, nullable=False, default=""),
    sa.Column("program", sa.Text, nullable=False),
    sa.Column("cpus", sa.Float, nullable=False, default=0),
    sa.Column("memory_bytes", sa.BigInteger, nullable=False, default=0),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("observation", sa.Text, nullable=False),
    sa.Column("stop_grace_s", sa.Float),
    sa.Column("spot", sa.Boolean, nullable=False, default=False),
    sa.Column("interruption", sa.Text, nullable=False, default=""),
)

DOCUMENTS = sa.Table(
    "documents",
    METADATA,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("record", sa.Text, nullable=False, index=True),
    sa.Column("generation", sa.Integer, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)

CALLS = sa.Table(
    "calls",
    METADATA,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("record", sa.Text, nullable=False, index=True),
    sa.Column("function", sa.Text, nullable=False),
    sa.Column("arguments", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("result", sa.Text),
)
