"""`ks.api_keys`: Medusa's API Key Module."""

from collections.abc import Mapping
from typing import Any, Literal, Unpack, overload

from keyscope.entities import Entities, chosen
from keyscope.types import ApiKey, ApiKeyUpdate, CallOptions, NewApiKey, Revocation


class ApiKeys(Entities[ApiKey]):
    """Publishable and secret keys."""

    _entity = "api_key"
    _model = "ApiKey"

    @overload
    async def create(self, data: NewApiKey, **options: Unpack[CallOptions]) -> ApiKey: ...
    @overload
    async def create(self, data: list[NewApiKey], **options: Unpack[CallOptions]) -> list[ApiKey]: ...
    async def create(self, data: NewApiKey | list[NewApiKey], **options: Unpack[CallOptions]) -> ApiKey | list[ApiKey]:
        """Create one or many. A secret key's raw token is in this answer alone, not even in a repeated one."""
        return await self._command("create", data, options)  # type: ignore[no-any-return]

    async def update(
        self, target: str | list[str] | Mapping[str, Any], update: ApiKeyUpdate, **options: Unpack[CallOptions]
    ) -> Any:
        """Change the title: of the key with this id (answers the key), or of many (answers a list)."""
        return await self._command("update", {**chosen(target), "update": update}, options)

    async def upsert(self, data: Mapping[str, Any] | list[Mapping[str, Any]], **options: Unpack[CallOptions]) -> Any:
        """Update those whose id exists, create the others; one in, one out, and many in, many out."""
        return await self._command("upsert", data, options)

    async def revoke(
        self, target: str | list[str] | Mapping[str, Any], revoke: Revocation, **options: Unpack[CallOptions]
    ) -> Any:
        """Revoke now or, with `revoke_in` seconds, later. It cannot be undone. Answers as `update` does."""
        return await self._command("revoke", {**chosen(target), "revoke": revoke}, options)

    async def delete(self, ids: str | list[str], **options: Unpack[CallOptions]) -> None:
        """Delete revoked keys and their links. Raises NotAllowed when one is not revoked; then none is deleted."""
        await self._command("delete", ids, options)

    async def soft_delete(self, ids: str | list[str], **options: Unpack[CallOptions]) -> dict[str, list[str]]:
        """Delete keys, revoked or not, and their links; `withDeleted` still shows them."""
        return await self._command("soft_delete", ids, options)  # type: ignore[no-any-return]

    async def restore(self, ids: str | list[str], **options: Unpack[CallOptions]) -> dict[str, list[str]]:
        """Bring deleted keys back, and the links that went with them."""
        return await self._command("restore", ids, options)  # type: ignore[no-any-return]

    async def authenticate(self, token: str, **options: Unpack[CallOptions]) -> ApiKey | Literal[False]:
        """The secret key whose raw token this is; False when there is none, or when it is revoked."""
        return await self._command("authenticate", token, options)  # type: ignore[no-any-return]
