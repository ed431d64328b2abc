"""One run of a command: connect, do it, say what went wrong in a sentence, exit with a code that tells."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NoReturn

import typer

import keyscope
from keyscope.errors import KeyscopeError, Timeout, Unavailable

REFUSED = 1
NO_ANSWER = 3
INTERRUPTED = 130


class Session:
    """The global options."""

    def __init__(
        self,
        servers: list[str],
        *,
        prefix: str,
        actor: str,
        login: Mapping[str, str | None],
        timeout: float,
        settings: Mapping[str, Any],
    ) -> None:
        """`settings` are those of the server that were given as options, for the commands that need no client."""
        self.servers = servers
        self.prefix = prefix
        self.actor = actor
        self.timeout = timeout
        self.settings = dict(settings)
        self._login: dict[str, Any] = {name: value for name, value in login.items() if value}

    def run(self, work: Callable[[keyscope.Keyscope], Awaitable[None]]) -> None:
        """Do `work` with a connected client."""
        try:
            asyncio.run(self._connected(work))
        except (Timeout, Unavailable) as error:
            stop(error.message, NO_ANSWER)
        except KeyscopeError as error:
            stop(error.message, REFUSED)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None

    async def _connected(self, work: Callable[[keyscope.Keyscope], Awaitable[None]]) -> None:
        async with await keyscope.connect(
            self.servers, prefix=self.prefix, actor=self.actor, timeout=self.timeout, **self._login
        ) as ks:
            await work(ks)
            # An interruption of work that does not wait, as writing a long table, is raised here: while the connection
            # is closed, nats-py would leave tasks behind that complain.
            await asyncio.sleep(0)


def session(context: typer.Context) -> Session:
    """The session that the global options made."""
    made = context.find_object(Session)
    if made is None:
        raise RuntimeError("a command was called without its options")
    return made


def stop(message: str, code: int) -> NoReturn:
    """Say what is wrong, and exit."""
    typer.echo(f"keyscope: {message}", err=True)
    raise typer.Exit(code) from None
