"""How we prove to NATS who we are, from the settings. Nothing of it is ever logged."""

import ssl
from typing import Any

from services.runtime.failures import Exit, Failure, cannot_read
from services.runtime.settings import Settings


def options(settings: Settings) -> dict[str, Any]:
    """The arguments of nats-py's `connect` for credentials, TLS and inboxes.

    Raises Failure when a file cannot be read, or is not what it should be.
    """
    for path in (settings.nats_credentials, settings.nats_nkey):
        if path is not None:
            _readable(path)
    found = {
        "user": settings.nats_user,
        "password": settings.nats_password.get_secret_value() if settings.nats_password else None,
        "token": settings.nats_token.get_secret_value() if settings.nats_token else None,
        "user_credentials": str(settings.nats_credentials) if settings.nats_credentials else None,
        "nkeys_seed": str(settings.nats_nkey) if settings.nats_nkey else None,
        "tls": _tls(settings),
        "inbox_prefix": settings.nats_inbox.encode(),
    }
    return {name: value for name, value in found.items() if value is not None}


def _tls(settings: Settings) -> ssl.SSLContext | None:
    """None without any of its settings: then a server that asks for TLS is trusted as the system trusts it."""
    if settings.nats_tls_ca is None and settings.nats_tls_cert is None:
        return None
    try:
        context = ssl.create_default_context(cafile=settings.nats_tls_ca)
        if settings.nats_tls_cert is not None:
            context.load_cert_chain(settings.nats_tls_cert, settings.nats_tls_key)
    except ssl.SSLError as error:
        files = settings.nats_tls_ca, settings.nats_tls_cert, settings.nats_tls_key
        raise Failure(Exit.CONFIG, f"{', '.join(str(file) for file in files if file)}: {error}") from error
    except OSError as error:
        raise cannot_read(settings.nats_tls_cert or settings.nats_tls_ca, error) from error
    return context


def _readable(path: Any) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise cannot_read(path, error) from error
