"""Tables of EventBridge: documents by name, and what is still to be delivered."""

import sqlalchemy as sa

METADATA = sa.MetaData()

ENTRIES = sa.Table(
    "events_entries",
    METADATA,
    # rule, target, connection, destination.
    sa.Column("kind", sa.Text, primary_key=True),
    sa.Column("region", sa.Text, primary_key=True),
    # Of a target: RULE/ID.
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
)

OUTBOX = sa.Table(
    "events_outbox",
    METADATA,
    # EVENT/RULE/TARGET: putting an event again adds nothing.
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("region", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    # Real times, seconds since the epoch; delivered or given up: due is null.
    sa.Column("put", sa.Float, nullable=False),
    sa.Column("due", sa.Float),
    sa.Column("result", sa.Text, nullable=False),
    sa.Index("events_outbox_by_due", "due"),
)
