"""Tables of hosting: how far gateways' journals are taken, and what shadows answered."""

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
