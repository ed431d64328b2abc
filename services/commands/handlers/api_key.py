"""Creating, changing, revoking and deleting API keys."""

from collections.abc import Iterator
from typing import Any

from events.base import Event
from events.commands import KeyChange, NewKey, RevokeKeys, UpdateKeys, UpsertKey
from events.errors import DuplicateError, InvalidData, NotAllowed
from services.commands.command import Command, Result
from services.commands.work import Work
from services.domain.api_key import ApiKey
from services.domain.clock import later
from services.domain.ids import api_key_id
from services.domain.tokens import Token, fingerprint


def create(work: Work, command: Command) -> Result:
    """Create one key or several; the raw token of a secret key is in this answer and nowhere else."""
    many = isinstance(command.body, list)
    made = [
        _create(work, new, token)
        for new, token in zip(command.body if many else [command.body], command.prepared.tokens, strict=True)
    ]
    shown = [{**key.as_json(), "token": token.raw} for key, token in made]
    kept = [key.as_json() for key, _ in made]
    return Result(shown, kept) if many else Result(shown[0], kept[0])


def _create(work: Work, new: NewKey, token: Token) -> tuple[ApiKey, Token]:
    id = new.id or api_key_id()
    if new.id is not None and work.taken(id):
        raise DuplicateError(f"Api key with id: {id}, already exists.", ids=[id])
    created_by = new.created_by if new.created_by is not None else work.context.actor
    if created_by is None:
        raise InvalidData("created_by: Field required, in the body or as the actor", fields=["created_by"])
    event = ApiKey.create(id, title=new.title, kind=new.type, created_by=created_by, token=token, now=work.now)
    key = work.create(event)
    assert isinstance(key, ApiKey)
    work.tokens.append((token.raw if new.type == "publishable" else fingerprint(token.raw), id))
    return key, token


def update(work: Work, command: Command) -> Result:
    """Change titles: by id the answer is the key, by several ids or a selector the keys."""
    body: UpdateKeys = command.body
    rows = [_retitle(work, key, body.update) for key in work.living_keys(command.prepared.ids)]
    return Result(rows[0] if isinstance(body.id, str) else rows)


def _retitle(work: Work, key: ApiKey, change: KeyChange) -> dict[str, Any]:
    if change.title is None and "title" in change.model_fields_set:
        raise InvalidData("Cannot set field 'title' of Api key to null", fields=["title"])
    event = key.retitle(change.title, work.now)
    if event:
        work.record(key, event)
    return key.as_json()


def upsert(work: Work, command: Command) -> Result:
    """Update the keys that have an id, create the others. Medusa answers the created ones first."""
    many = isinstance(command.body, list)
    items: list[UpsertKey] = command.body if many else [command.body]
    new = [_as_new(item) for item in items if item.id is None]
    made = [_create(work, item, token) for item, token in zip(new, command.prepared.tokens, strict=True)]
    old = {item.id: item for item in items if item.id is not None}
    updated = [_retitle(work, key, old[key.id]) for key in work.living_keys(old)]
    shown = [{**key.as_json(), "token": token.raw} for key, token in made] + updated
    kept = [key.as_json() for key, _ in made] + updated
    return Result(shown, kept) if many else Result(shown[0], kept[0])


def _as_new(item: UpsertKey) -> NewKey:
    missing = [name for name in ("title", "type") if getattr(item, name) is None]
    if missing:
        raise InvalidData("; ".join(f"{name}: Field required" for name in missing), fields=missing)
    return NewKey(**item.model_dump())


def revoke(work: Work, command: Command) -> Result:
    """Revoke keys, now or in some seconds: by id the answer is the key, else the keys. All or none."""
    body: RevokeKeys = command.body
    by = body.revoke.revoked_by or work.context.actor
    if not by:
        raise InvalidData("You must provide a revoked_by field when revoking a key.", fields=["revoked_by"])
    seconds = body.revoke.revoke_in or 0
    at = later(work.now, seconds) if seconds > 0 else work.now
    keys = work.living_keys(command.prepared.ids)
    again = [key.id for key in keys if key.type == "secret" and key.revoked_at is not None]
    if again:
        raise InvalidData(f"There are {len(again)} secret keys that are already revoked.", ids=again)
    for key in keys:
        work.record(key, key.revoke(by, at, work.now))
    rows = [key.as_json() for key in keys]
    return Result(rows[0] if isinstance(body.id, str) else rows)


def delete(work: Work, command: Command) -> Result:
    """Delete keys out of every answer; all or none, and only revoked ones."""
    keys = [work.key(id) for id in command.prepared.ids]
    unrevoked = [key.id for key in keys if key.alive and not key.revoked(work.now)]
    if unrevoked:
        raise NotAllowed(f"Cannot delete api keys that are not revoked - {', '.join(unrevoked)}", ids=unrevoked)
    for key in keys:
        _delete(work, key, permanent=True)
    return Result(None)


def soft_delete(work: Work, command: Command) -> Result:
    """Delete keys; `withDeleted` still shows them. The answer names those that were there."""
    keys = [key for key in map(work.key, command.prepared.ids) if key.alive]
    for key in keys:
        _delete(work, key, permanent=False)
    ids = [key.id for key in keys]
    return Result({"api_key_id": ids, "publishable_key_id": ids} if ids else {})


def _delete(work: Work, key: ApiKey, *, permanent: bool) -> None:
    _record_with_followers(work, key, key.delete(work.now, permanent=permanent))


def restore(work: Work, command: Command) -> Result:
    """Bring keys back, and the links that went with them."""
    ids = list(command.prepared.ids)
    for id in ids:
        key = work.key(id)
        _record_with_followers(work, key, key.restore(work.now, lambda channel_id: _alive(work, channel_id)))
    return Result({"api_key_id": ids, "publishable_key_id": ids})


def _record_with_followers(work: Work, key: ApiKey, events: Iterator[Event]) -> None:
    """Record the first event as the cause of the others."""
    context: str | None = None
    for event in events:
        recorded = work.record(key, event, context)
        context = context or work.caused_by(recorded)


def _alive(work: Work, channel_id: str) -> bool:
    channel = work.find_channel(channel_id)
    return channel is not None and channel.alive
