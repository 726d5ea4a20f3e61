"""Tables of the neighbours: roles, metric points, histories of alarms."""

import sqlalchemy as sa

METADATA = sa.MetaData()

ROLES = sa.Table(
    "roles",
    METADATA,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("role", sa.Text, nullable=False),
)

METRICS = sa.Table(
    "metrics",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("region", sa.Text, nullable=False),
    sa.Column("namespace", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("dimensions", sa.Text, nullable=False),
    sa.Column("unit", sa.Text, nullable=False, default="None"),
    sa.UniqueConstraint("region", "namespace", "name", "dimensions", "unit"),
)

POINTS = sa.Table(
    "metric_points",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("metric", sa.Integer, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("count", sa.Float, nullable=False),
    sa.Column("sum", sa.Float, nullable=False),
    sa.Column("minimum", sa.Float, nullable=False),
    sa.Column("maximum", sa.Float, nullable=False),
    # How the values are distributed, JSON of `contract.buckets.packed`; homes of earlier versions
    # gain this column. NULL: all values are equal, or it is not known.
    sa.Column("spread", sa.Text),
    sa.Index("metric_points_by_time", "metric", "at"),
)

READ_LINES = sa.Table(
    "metric_lines_read",
    METADATA,
    sa.Column("unit", sa.Text, primary_key=True),
    sa.Column("lines", sa.Integer, nullable=False),
)

SERVED = sa.Table(
    "variants_served",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("region", sa.Text, nullable=False),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("config", sa.Text, nullable=False),
    sa.Column("variant", sa.Text, nullable=False),
    # Platform seconds: since when it was in service, and when it last was seen so.
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("seen", sa.Float, nullable=False),
    sa.Index("variants_served_by_name", "region", "endpoint", "variant", "seen"),
)

GAINED = (POINTS,)
"""Tables that gained columns since they were first made."""

ALARM_HISTORY = sa.Table(
    "alarm_history",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("region", sa.Text, nullable=False),
    sa.Column("alarm", sa.Text, nullable=False),
    sa.Column("alarm_type", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("summary", sa.Text, nullable=False),
    sa.Column("data", sa.Text, nullable=False),
    sa.Index("alarm_history_by_alarm", "region", "alarm", "at"),
)
