"""`keyscope status`: what answers, and how fast."""

import time
from typing import Any

import typer

import keyscope
from keyscope.cli.session import NO_ANSWER, session
from keyscope.cli.show import AsJson, print_json, table
from keyscope.errors import KeyscopeError, Timeout, Unavailable
from keyscope.stream import Stream


def status(context: typer.Context, *, as_json: AsJson = False) -> None:
    """Ask each part of the service. Exits with 3 when one does not answer."""

    async def work(ks: keyscope.Keyscope) -> None:
        checks = [await _check(name, ask, ks) for name, ask in _PARTS.items()]
        if as_json:
            print_json(checks)
        else:
            table(checks, ["part", "state", "ms", "about"])
        if any(check["state"] != "ok" for check in checks):
            raise typer.Exit(NO_ANSWER)

    session(context).run(work)


async def _nats(ks: keyscope.Keyscope) -> str:
    await ks.nats.flush()
    url, server = ks.nats.connected_url, ks.nats.connected_server_version
    where = url.netloc.rpartition("@")[2] if url else ""
    return f"{where}, nats-server {server.major}.{server.minor}.{server.patch}"


async def _commands(ks: keyscope.Keyscope) -> str:
    # Linking nothing changes nothing and records nothing; that it is answered says that the writer works.
    await ks.link.create([])
    return "link.create answers"


async def _events(ks: keyscope.Keyscope) -> str:
    place = await Stream(ks.connection).find("now")
    return f"position {place.position}"


async def _query(ks: keyscope.Keyscope) -> str:
    state = await ks.query.status()
    return f"{state['state']}, position {state['position']}, {state['behind']} behind"


_PARTS = {"nats": _nats, "commands": _commands, "events": _events, "query": _query}


async def _check(name: str, ask: Any, ks: keyscope.Keyscope) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        about, state = await ask(ks), "ok"
    except (Timeout, Unavailable) as error:
        about, state = error.message, "no answer"
    except KeyscopeError as error:
        about, state = error.message, "refused"
    return {"part": name, "state": state, "ms": round((time.perf_counter() - started) * 1000, 1), "about": about}
