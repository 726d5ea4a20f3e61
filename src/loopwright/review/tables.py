"""Tables of review: the loops that rules began, and what people said."""

import sqlalchemy as sa

METADATA = sa.MetaData()

REVIEWS = sa.Table(
    "review_reviews",
    METADATA,
    # Uid of the loop.
    sa.Column("loop", sa.Text, primary_key=True),
    # Uid of the rule.
    sa.Column("rule", sa.Text, nullable=False),
    # Platform seconds.
    sa.Column("begun", sa.Float, nullable=False),
    # open, answered, closed (ended without an answer).
    sa.Column("state", sa.Text, nullable=False),
    # What was asked of the model, for the manifest: text, or a data address.
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("label", sa.Text),
    sa.Column("confidence", sa.Float),
    sa.Column("answered", sa.Float),
    sa.Index("review_reviews_by_rule", "rule", "state", "begun"),
)
