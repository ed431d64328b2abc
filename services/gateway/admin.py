"""`/admin` and `/events`: only for those who have signed in, whatever the route."""

from starlette.datastructures import Headers
from starlette.responses import Response

from keyscope import KeyscopeError
from keyscope.asgi import App, Receive, Scope, Send
from services.gateway.answers import failure, refusal
from services.gateway.signing_in import NotSignedIn, SignIn


class AdminDoor:
    """An ASGI application in front of another, which finds the actor in the scope as `keyscope.actor`."""

    def __init__(self, app: App, sign_in: SignIn) -> None:
        self._app = app
        self._sign_in = sign_in

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            scope["keyscope.actor"] = await self._sign_in.actor(*credentials(scope))
        except NotSignedIn as error:
            await _refused(error)(scope, receive, send)
        except KeyscopeError as error:
            await refusal(error)(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def credentials(scope: Scope) -> tuple[str | None, str]:
    """The Authorization header, and the address that it comes from."""
    client = scope.get("client")
    return Headers(scope=scope).get("authorization"), client[0] if client else ""


def _refused(error: NotSignedIn) -> Response:
    if error.retry_after:
        return failure(429, {"message": error.message}, {"retry-after": str(int(error.retry_after) + 1)})
    return failure(401, {"message": error.message}, {"www-authenticate": "Bearer"})
