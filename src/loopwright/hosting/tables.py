"""Tables of hosting: taken journals, shadows' answers, outcomes, experiments and bandits."""

import sqlalchemy as sa

METADATA = sa.MetaData()

TAKEN = sa.Table(
    "journal_taken",
    METADATA,
    sa.Column("file", sa.Text, primary_key=True),
    sa.Column("purpose", sa.Text, primary_key=True),
    sa.Column("bytes", sa.Integer, nullable=False),
)

COMPARISONS = sa.Table(
    "shadow_comparisons",
    METADATA,
    sa.Column("region", sa.Text, primary_key=True),
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("config", sa.Text, primary_key=True),
    sa.Column("live", sa.Text, primary_key=True),
    sa.Column("shadow", sa.Text, primary_key=True),
    sa.Column("summary", sa.Text, nullable=False),
)

ASSIGNED = sa.Table(
    "online_assigned",
    METADATA,
    sa.Column("region", sa.Text, primary_key=True),
    sa.Column("endpoint", sa.Text, primary_key=True),
    sa.Column("inference", sa.Text, primary_key=True),
    # Empty while only the outcome is known; null chances: not by chance, or the user's second.
    sa.Column("variant", sa.Text, nullable=False),
    sa.Column("chances", sa.Text),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("value", sa.Float),
    sa.Index("online_assigned_by_time", "at"),
)

ONLINE_STATES = sa.Table(
    "online_states",
    METADATA,
    sa.Column("uid", sa.Text, primary_key=True),
    sa.Column("state", sa.Text, nullable=False),
)

SEEN_USERS = sa.Table(
    "online_seen_users",
    METADATA,
    sa.Column("uid", sa.Text, primary_key=True),
    sa.Column("place", sa.Float, primary_key=True),
)

ALLOCATIONS = sa.Table(
    "bandit_allocations",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("uid", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("rewards", sa.Integer, nullable=False),
    sa.Column("shares", sa.Text, nullable=False),
    sa.Index("bandit_allocations_by_uid", "uid", "id"),
)
