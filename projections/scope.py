"""What every storefront request asks: the sales channels that the publishable key with this token sells through."""

from typing import NamedTuple

import apsw

_SQL = """
SELECT k.revoked_at, CAST(
'{"key":{"id":'||json_quote(k.id)||',"token":'||json_quote(k.token)||',"title":'||json_quote(k.title)
||',"type":'||json_quote(k.type)||',"revoked_by":'||json_quote(k.revoked_by)||',"revoked_at":'||json_quote(k.revoked_at)
||'},"sales_channel_ids":['||coalesce((SELECT group_concat(c,',') FROM (
    SELECT json_quote(l.sales_channel_id) AS c FROM link AS l
    WHERE l.publishable_key_id = k.id AND l.deleted_at IS NULL ORDER BY l.sales_channel_id
)),'')||']}' AS BLOB)
FROM api_key AS k WHERE k.token = ? AND k.type = 'publishable' AND k.deleted_at IS NULL
"""


class KeyScope(NamedTuple):
    """A key's scope, as the text of the reply, and from when on the key is revoked, if it is or will be."""

    text: bytes
    revoked_at: str | None

    def valid_at(self, now: str) -> bool:
        """Whether the key may be used at `now` (a timestamp as in the events)."""
        return self.revoked_at is None or self.revoked_at > now


def of_token(connection: apsw.Connection, token: str) -> KeyScope | None:
    """The scope of a live publishable key, revoked or not, or None."""
    for revoked_at, text in connection.execute(_SQL, (token,)):
        return KeyScope(text, revoked_at)
    return None
