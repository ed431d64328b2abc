"""The tables of the read model.

Every row carries `doc`: the members of its JSON object as text, without the braces, which a query for `*` returns as it
is. The column is generated, so it cannot disagree with the others. Live rows (deleted_at is null) have indexes of their
own, and keys and channels a counter, so that a list and its count cost the same with a thousand rows and a million.
(Links have none: keeping it costs as much as all the rest of applying a link event.)
"""

from projections.model import ENTITIES, Column, Entity, Kind

VERSION = 2
"""Goes up with every change of what is stored; a read model of another version is built anew, in a file of its own."""

_RENDER = {
    Kind.TEXT: "json_quote({0})",
    Kind.TIMESTAMP: "json_quote({0})",
    Kind.BOOLEAN: "iif({0},'true','false')",
    Kind.JSON: "coalesce({0},'null')",
}


def render(column: Column, alias: str = "") -> str:
    """The SQL expression of a column's JSON text."""
    return _RENDER[column.kind].format(f"{alias}.{column.name}" if alias else column.name)


def _doc(entity: Entity) -> str:
    members = (
        f"'{',' if index else ''}\"{column.name}\":'||{render(column)}"
        for index, column in enumerate(entity.columns.values())
    )
    return "||".join(members)


_TYPES = {Kind.TEXT: "TEXT", Kind.TIMESTAMP: "TEXT", Kind.BOOLEAN: "INTEGER", Kind.JSON: "TEXT"}


def _columns(entity: Entity) -> str:
    return ", ".join(
        f"{column.name} {_TYPES[column.kind]}{'' if column.nullable else ' NOT NULL'}"
        for column in entity.columns.values()
    )


def _counter(table: str) -> str:
    """Keeps `counter` at the number of live rows of `table`."""
    live, was = "(new.deleted_at IS NULL)", "(old.deleted_at IS NULL)"
    return f"""
    INSERT INTO counter VALUES ('{table}', 0);
    CREATE TRIGGER {table}_added AFTER INSERT ON {table} WHEN new.deleted_at IS NULL
        BEGIN UPDATE counter SET live = live + 1 WHERE name = '{table}'; END;
    CREATE TRIGGER {table}_changed AFTER UPDATE OF deleted_at ON {table} WHEN {live} <> {was}
        BEGIN UPDATE counter SET live = live + {live} - {was} WHERE name = '{table}'; END;
    """


def ddl() -> str:
    """The statements that create an empty read model."""
    api_key, sales_channel, link = ENTITIES["api_key"], ENTITIES["sales_channel"], ENTITIES["link"]
    return f"""
    CREATE TABLE tracking (
        version INTEGER NOT NULL, position INTEGER NOT NULL, stream_seq INTEGER NOT NULL, epoch TEXT
    );
    INSERT INTO tracking VALUES ({VERSION}, 0, 0, NULL);
    CREATE TABLE counter (name TEXT PRIMARY KEY, live INTEGER NOT NULL) WITHOUT ROWID;

    CREATE TABLE api_key (
        {_columns(api_key)}, hidden INTEGER NOT NULL DEFAULT 0,
        doc TEXT NOT NULL GENERATED ALWAYS AS ({_doc(api_key)}) STORED,
        UNIQUE (id)
    );
    CREATE INDEX api_key_live ON api_key (id) WHERE deleted_at IS NULL;
    CREATE INDEX api_key_token ON api_key (token, id);
    {_counter("api_key")}

    CREATE TABLE sales_channel (
        {_columns(sales_channel)}, hidden INTEGER NOT NULL DEFAULT 0,
        doc TEXT NOT NULL GENERATED ALWAYS AS ({_doc(sales_channel)}) STORED,
        UNIQUE (id)
    );
    CREATE INDEX sales_channel_live ON sales_channel (id) WHERE deleted_at IS NULL;
    CREATE INDEX sales_channel_name ON sales_channel (name, id);
    {_counter("sales_channel")}

    CREATE TABLE link (
        {_columns(link)},
        doc TEXT NOT NULL GENERATED ALWAYS AS ({_doc(link)}) VIRTUAL,
        PRIMARY KEY (publishable_key_id, sales_channel_id)
    ) WITHOUT ROWID;
    CREATE INDEX link_id ON link (id);
    CREATE INDEX link_live ON link (sales_channel_id, publishable_key_id, deleted_at) WHERE deleted_at IS NULL;
    """
