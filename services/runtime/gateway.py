"""What the gateway gets."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from keyscope import Keyscope
from services.gateway.options import Jwts, Options
from services.gateway.service import serve as serve_http
from services.runtime.listening import listen
from services.runtime.settings import Settings

if TYPE_CHECKING:
    from services.runtime.wiring import Context


async def serve(context: "Context", ready: Callable[[], None]) -> None:
    """Listen, connect, serve."""
    with listen(context.settings) as listener:
        clients: list[Keyscope] = []

        def reconnected() -> None:
            for client in clients:
                client.connection.reconnected()

        connection = await context.connect("keyscope-gateway", reconnected)
        clients.append(Keyscope(connection, prefix=context.settings.prefix))
        await serve_http(
            ks=clients[0],
            listener=listener,
            options=options(context.settings),
            ready=ready,
            stopping=context.stopping,
        )


def options(settings: Settings) -> Options:
    """The gateway's settings among all of them."""
    return Options(
        admin_origins=_listed(settings.http_admin_origins),
        store_origins=_listed(settings.http_store_origins),
        jwts=Jwts(
            secret=settings.http_jwt_secret.get_secret_value() if settings.http_jwt_secret else "",
            jwks_url=settings.http_jwt_jwks_url,
            issuer=settings.http_jwt_issuer,
            audience=settings.http_jwt_audience,
            actor_claim=settings.http_jwt_actor_claim,
            required=settings.http_jwt_claims,
        ),
        failed_sign_ins=settings.http_failed_sign_ins,
        trusted_proxies=settings.http_trusted_proxies,
        tracing=settings.tracing,
    )


def _listed(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())
