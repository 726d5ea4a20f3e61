"""Tables of people: pools of users, sessions, templates, tasks and answers."""

import sqlalchemy as sa

METADATA = sa.MetaData()

POOLS = sa.Table(
    "people_pools",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("region", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)

CLIENTS = sa.Table(
    "people_clients",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
)

DOMAINS = sa.Table(
    "people_domains",
    METADATA,
    sa.Column("domain", sa.Text, primary_key=True),
    sa.Column("pool", sa.Text, nullable=False),
)

GROUPS = sa.Table(
    "people_groups",
    METADATA,
    sa.Column("pool", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
)

USERS = sa.Table(
    "people_users",
    METADATA,
    sa.Column("pool", sa.Text, primary_key=True),
    sa.Column("username", sa.Text, primary_key=True),
    sa.Column("sub", sa.Text, nullable=False, unique=True),
    # Lower case; users sign in by it as well.
    sa.Column("email", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("enabled", sa.Boolean, nullable=False),
    # Argon2id in PHC form; empty: no sign-in by password.
    sa.Column("password", sa.Text, nullable=False),
    # Of a temporary password; null: it does not end.
    sa.Column("password_until", sa.Float),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("locked_until", sa.Float, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("modified", sa.Float, nullable=False),
    sa.Column("attributes", sa.Text, nullable=False),
    sa.Index("people_users_by_email", "email"),
    sa.Index("people_users_by_name", "username"),
)

MEMBERSHIPS = sa.Table(
    "people_memberships",
    METADATA,
    sa.Column("pool", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("username", sa.Text, primary_key=True),
)

SESSIONS = sa.Table(
    "people_sessions",
    METADATA,
    # SHA-256 of the cookie: who reads the database cannot sign in by it.
    sa.Column("token", sa.Text, primary_key=True),
    sa.Column("sub", sa.Text, nullable=False),
    sa.Column("csrf", sa.Text, nullable=False),
    # Real time: cookies live by the browser's clock.
    sa.Column("until", sa.Float, nullable=False),
    sa.Column("document", sa.Text, nullable=False),
    sa.Index("people_sessions_by_sub", "sub"),
)

LINKS = sa.Table(
    "people_links",
    METADATA,
    # SHA-256 of the link's secret. Of an invitation, or of the owner's way in.
    sa.Column("token", sa.Text, primary_key=True),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("sub", sa.Text, nullable=False),
    sa.Column("until", sa.Float, nullable=False),
)

TEMPLATES = sa.Table(
    "people_templates",
    METADATA,
    # SHA-256 of the text. Never removed: open tasks outlive the resource that brought it.
    sa.Column("sha", sa.Text, primary_key=True),
    sa.Column("content", sa.Text, nullable=False),
)

TASKS = sa.Table(
    "people_tasks",
    METADATA,
    sa.Column("uid", sa.Text, primary_key=True),
    sa.Column("region", sa.Text, nullable=False),
    sa.Column("team", sa.Text, nullable=False),
    # What the worker sees as one piece of work: a flow definition, a labeling job.
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("title", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("until", sa.Float, nullable=False),
    sa.Column("limit_s", sa.Float, nullable=False),
    sa.Column("wanted", sa.Integer, nullable=False),
    sa.Column("given", sa.Integer, nullable=False),
    # open, answered, closed.
    sa.Column("state", sa.Text, nullable=False),
    sa.Index("people_tasks_by_team", "team", "state", "job", "created"),
)

ASSIGNMENTS = sa.Table(
    "people_assignments",
    METADATA,
    sa.Column("task", sa.Text, primary_key=True),
    sa.Column("worker", sa.Text, primary_key=True),
    # leased, submitted, declined, returned, late (an answer that came when none was wanted).
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("accepted", sa.Float, nullable=False),
    sa.Column("until", sa.Float, nullable=False),
    sa.Column("submitted", sa.Float),
    sa.Column("answer", sa.Text),
    # Who the worker was when the answer was given: issuer, kind of identity, sub.
    sa.Column("identity", sa.Text, nullable=False),
    sa.Index("people_assignments_by_worker", "worker", "state", "submitted"),
)
