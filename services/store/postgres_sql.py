"""The event store's tables in PostgreSQL, and every statement on them."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, LiteralString

from eventsourcing.persistence import ProgrammingError
from psycopg import Connection
from psycopg.sql import SQL, Composed, Identifier, Literal

# Ids in the order of their bytes, whatever the database's language. Rows that are looked up by random ids, and never
# updated, need no more than this.
_TABLES: Sequence[LiteralString] = (
    'CREATE TABLE {schema}.commands (id text COLLATE "C" PRIMARY KEY, reply bytea NOT NULL)',
    'CREATE TABLE {schema}.tokens (token text COLLATE "C" PRIMARY KEY, api_key_id text NOT NULL)',
    """CREATE TABLE {schema}.channel_links (sales_channel_id text COLLATE "C", publishable_key_id text COLLATE "C",
       PRIMARY KEY (sales_channel_id, publishable_key_id))""",
    # How far channel_links has followed the events.
    "CREATE TABLE {schema}.channel_links_position (id integer PRIMARY KEY CHECK (id = 1), position bigint NOT NULL)",
    "INSERT INTO {schema}.channel_links_position VALUES (1, 0)",
    """CREATE TABLE {schema}.sweeps (id bigserial PRIMARY KEY, sales_channel_id text NOT NULL,
       direction text NOT NULL, time text NOT NULL, context text NOT NULL, cursor text NOT NULL)""",
    # States are JSON, and what is compressed by TOAST is slower to relay than it is small.
    "ALTER TABLE {schema}.commands ALTER COLUMN reply SET STORAGE EXTERNAL",
)
_EPOCH: Sequence[LiteralString] = (
    "CREATE TABLE {schema}.epoch (one integer PRIMARY KEY CHECK (one = 1), id text NOT NULL, previous text)",
    "INSERT INTO {schema}.epoch VALUES (1, left(md5(random()::text || clock_timestamp()), 16), NULL)",
)
MIGRATIONS: Sequence[Sequence[LiteralString]] = (_TABLES, _EPOCH)
"""What took the tables from each version to the next; the first also makes the library's own. Only ever add: while
replicas are upgraded, the old release works on the new tables."""

_STATEMENTS: dict[str, LiteralString] = {
    "lock": "SELECT pg_advisory_xact_lock({lock})",
    "last": "SELECT notification_id, state FROM {schema}.stored_events ORDER BY notification_id DESC LIMIT 1",
    "state_at": "SELECT state FROM {schema}.stored_events WHERE notification_id = %b",
    "others": """SELECT notification_id, originator_id, originator_version, topic, state
        FROM {schema}.stored_events WHERE notification_id > %b AND notification_id <= %b ORDER BY notification_id""",
    "last_and_changed": """SELECT notification_id, state, (SELECT array_agg(DISTINCT originator_id)
        FROM {schema}.stored_events WHERE notification_id > %b)
        FROM {schema}.stored_events ORDER BY notification_id DESC LIMIT 1""",
    # Writes nothing unless the position is still what the caller takes it for. Positions, versions and ids are unique,
    # so nothing is written twice either.
    "write": """WITH now AS MATERIALIZED (
            SELECT coalesce(max(notification_id), 0) AS position FROM {schema}.stored_events),
        due AS MATERIALIZED (SELECT position FROM now WHERE position = %b),
        events AS (INSERT INTO {schema}.stored_events
            (originator_id, originator_version, topic, state, notification_id)
            SELECT id, version, topic, state, due.position + number FROM due, unnest(
                %b::text[], %b::bigint[], %b::text[], %b::bytea[])
                WITH ORDINALITY AS event (id, version, topic, state, number)),
        outcomes AS (INSERT INTO {schema}.commands
            SELECT outcome.* FROM due, unnest(%b::text[], %b::bytea[]) AS outcome),
        tokens AS (INSERT INTO {schema}.tokens SELECT token.* FROM due, unnest(%b::text[], %b::text[]) AS token)
        SELECT position, (SELECT pg_notify({channel_name}, '')::text FROM due WHERE %b) FROM now""",
    "look": """SELECT (SELECT coalesce(max(notification_id), 0) FROM {schema}.stored_events),
        array_agg(DISTINCT originator_id) FROM {schema}.stored_events WHERE notification_id > %b""",
    "epoch": "SELECT id, previous FROM {schema}.epoch",
    "new_epoch": """UPDATE {schema}.epoch SET previous = id, id = left(md5(random()::text || clock_timestamp()), 16)
        RETURNING id, previous""",
    "listen": "LISTEN {channel}",
    "begin": "BEGIN",
    "commit": "COMMIT",
    "fsync": "SHOW fsync",
    "insert_sweep": """INSERT INTO {schema}.sweeps (sales_channel_id, direction, time, context, cursor)
        VALUES (%b, %b, %b, %b, %b)""",
    "move_sweep": "UPDATE {schema}.sweeps SET cursor = %b WHERE id = %b",
    "delete_sweep": "DELETE FROM {schema}.sweeps WHERE id = %b",
    "outcomes": "SELECT id, reply FROM {schema}.commands WHERE id = ANY(%b)",
    "api_key_of": "SELECT api_key_id FROM {schema}.tokens WHERE token = %b",
    "keys_of": """SELECT publishable_key_id FROM {schema}.channel_links
        WHERE sales_channel_id = %b AND publishable_key_id > %b ORDER BY publishable_key_id LIMIT %b""",
    "index_behind": """SELECT position, (SELECT coalesce(max(notification_id), 0) FROM {schema}.stored_events)
        FROM {schema}.channel_links_position""",
    "index_links": """WITH links AS (INSERT INTO {schema}.channel_links
        SELECT DISTINCT convert_from(state, 'UTF8')::json #>> '{{data,sales_channel_id}}', originator_id
        FROM {schema}.stored_events
        WHERE notification_id > %b AND notification_id <= %b AND topic LIKE 'link.created:%%' ORDER BY 1, 2
        ON CONFLICT DO NOTHING)
        UPDATE {schema}.channel_links_position SET position = greatest(position, %b)""",
    "has_sweep": "SELECT 1 FROM {schema}.sweeps WHERE sales_channel_id = %b LIMIT 1",
    "next_sweep": """SELECT sales_channel_id, direction, time, context, cursor, id
        FROM {schema}.sweeps ORDER BY id LIMIT 1""",
    "notifications": """SELECT notification_id, topic, state FROM {schema}.stored_events
        WHERE notification_id > %b ORDER BY notification_id LIMIT %b""",
    "events_after": """SELECT notification_id, originator_id, originator_version, topic, state
        FROM {schema}.stored_events WHERE notification_id > %b ORDER BY notification_id LIMIT %b""",
    "select_events_of": """SELECT originator_id, originator_version, topic, state FROM {schema}.stored_events
        WHERE originator_id = ANY(%b) ORDER BY originator_id, originator_version""",
    "select_events": """SELECT originator_version, topic, state FROM {schema}.stored_events
        WHERE originator_id = %b AND originator_version > %b AND originator_version <= %b
        ORDER BY originator_version LIMIT %b""",
    "select_events_backwards": """SELECT originator_version, topic, state FROM {schema}.stored_events
        WHERE originator_id = %b AND originator_version > %b AND originator_version <= %b
        ORDER BY originator_version DESC LIMIT %b""",
}


def statements(schema: str) -> dict[str, bytes]:
    """Every statement by name, for the tables in one schema."""
    names = {
        "schema": Identifier(schema),
        "lock": Literal(lock_of(schema)),
        "channel": Identifier(channel(schema)),
        "channel_name": Literal(channel(schema)),
    }
    return {name: SQL(text).format(**names).as_bytes() for name, text in _STATEMENTS.items()}


def channel(schema: str) -> str:
    """The channel that a commit NOTIFYs: channels belong to a database, not to a schema."""
    return f"keyscope_{schema}"


def lock_of(purpose: str) -> int:
    """The number of the advisory lock for a purpose."""
    return int.from_bytes(sha256(f"keyscope:{purpose}".encode()).digest()[:8], signed=True)


def migrate(connection: Connection[Any], schema: str, events: Sequence[Composed]) -> None:
    """Make the tables, or bring them up to date, in one transaction; replicas that start together take turns.

    `events` makes the library's tables. Raises ProgrammingError when a newer release has taken the tables further
    than this one knows.
    """
    name = Identifier(schema)
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", (lock_of(f"migrate {schema}"),))
        cursor.execute("SELECT to_regnamespace(quote_ident(%s)) IS NULL AS absent", (schema,))
        if cursor.fetchall() == [{"absent": True}]:
            cursor.execute(SQL("CREATE SCHEMA {}").format(name))
        cursor.execute(SQL("CREATE TABLE IF NOT EXISTS {}.keyscope_version (version integer NOT NULL)").format(name))
        cursor.execute(SQL("SELECT coalesce(max(version), 0) AS version FROM {}.keyscope_version").format(name))
        found: int = cursor.fetchall()[0]["version"]
        if found > len(MIGRATIONS):
            raise ProgrammingError(
                f"the event store's tables are of version {found}; this release knows {len(MIGRATIONS)}: "
                "run the release that made them, or a newer one"
            )
        steps: list[Composed] = [*(events if not found else ())]
        steps += [SQL(text).format(schema=name) for migration in MIGRATIONS[found:] for text in migration]
        for step in steps:
            cursor.execute(step)
        if steps:
            cursor.execute(SQL("INSERT INTO {}.keyscope_version VALUES (%s)").format(name), (len(MIGRATIONS),))
