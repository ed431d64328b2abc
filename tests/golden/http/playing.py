"""Playing one recorded case of the HTTP routes: setup through the client, the call over HTTP, then a look."""

import asyncio
import base64
import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from keyscope import Event, Keyscope, KeyscopeError
from tests.golden.http.differences import explanation
from tests.golden.runner import published
from tests.golden.runner.bindings import Bindings
from tests.golden.runner.cases import Case, Look, Step, http_files
from tests.golden.runner.judging import Verdict
from tests.golden.runner.matching import Matcher, Mismatch
from tests.golden.runner.operations import OPERATIONS
from tests.golden.runner.playing import position, until
from tests.golden.runner.stage import delete_streams
from tests.support.http import ADMIN, bearer, client, gateway, settled
from tests.support.nats import Nats
from tests.support.service import Service

PAUSE = 0.002
CASE_SECONDS = 60.0
ROUTES = {"/store/ping": "/store/scope"}
"""The recording's own store route, and ours that answers the same."""


def read(folder: Path) -> list[Case]:
    """The cases of the `http_*.json` in a folder, and in `http/` there."""
    return [Case.read(case) for file in http_files(folder) for case in json.loads(file.read_text())["cases"]]


@dataclass
class HttpPlayed:
    """A case while it is played."""

    case: Case
    ks: Keyscope
    http: httpx.AsyncClient
    bindings: Bindings = field(default_factory=Bindings)
    refused: list[str] = field(default_factory=list)
    """Steps of the setup that Keyscope refused."""
    asked: dict[str, Any] = field(default_factory=dict)
    """The request of the call, with all references filled in."""
    came: Any = None
    events: list[Event] = field(default_factory=list)


async def play(case: Case, ks: Keyscope, http: httpx.AsyncClient) -> Verdict:
    """Play a case on empty data: the verdict."""
    played = HttpPlayed(case, ks, http)
    played.bindings.bind("admin", {"id": ADMIN})
    for step in case.setup:
        try:
            await _take(played, step)
        except KeyscopeError as error:
            played.refused.append(f"{step.op}: {error.message}")
        await asyncio.sleep(PAUSE)
    await settled(ks)
    old = played.bindings.strings()
    start = await position(ks)
    async with ks.events.all(since=start) as events:
        played.asked = played.bindings.fill(case.call.step.data)
        played.came = await _take(played, case.call.step)
        played.events = await until(events, start, await position(ks))
    differing = _compare(played, "call", case.call, played.came, old)
    matcher = Matcher(played.bindings, old)
    recorded_events = case.call.outcome.get("events", [])
    differing += [("call", it) for it in published.mismatches(recorded_events, played.events, matcher)]
    for index, look in enumerate(case.then):
        differing += _compare(played, f"then {index}", look, await _take(played, look.step), old)
    return _verdict(played, differing)


def _verdict(played: HttpPlayed, differing: Sequence[tuple[str, Mismatch]]) -> Verdict:
    verdict = Verdict(played.case.name, played.case.area)
    numbers: set[int] = set()
    for where, mismatch in differing:
        number = explanation(played, mismatch)
        if number is None:
            verdict.failures.append(f"{where}: {mismatch}")
        else:
            numbers.add(number)
            verdict.explained.append(f"{where}: {mismatch}")
    if not differing:
        verdict.failures += [f"setup: {text}" for text in played.refused]
    verdict.differences = sorted(numbers)
    return verdict


async def _take(played: HttpPlayed, step: Step) -> Any:
    data, options = played.bindings.fill(step.data), played.bindings.fill(step.options)
    if step.op == "http":
        result = await _http(played.http, data)
    else:
        result = await OPERATIONS[step.op](played.ks, data, options)
    if step.name:
        played.bindings.bind(step.name, result)
    return result


async def _http(http: httpx.AsyncClient, data: dict[str, Any]) -> dict[str, Any]:
    path, mark, query = data["path"].partition("?")
    content = data.get("raw")
    if content is None and "body" in data:
        content = json.dumps(data["body"])
    # Spaces around a value are no part of it (RFC 9110, 5.5), and httpx sends none.
    headers = {name: value.strip() for name, value in data.get("headers", {}).items()} | _credentials(data.get("auth"))
    if content is not None:
        headers["content-type"] = "application/json"
    response = await http.request(
        data["method"], ROUTES.get(path, path) + mark + query, content=content, headers=headers
    )
    return {"status": response.status_code, "body": _body(response, path)}


def _credentials(auth: Any) -> dict[str, str]:
    match auth:
        case "admin":
            return bearer(ADMIN)
        case {"basic": secret}:
            return {"authorization": f"Basic {secret}"}
        case {"basic64": secret}:
            return {"authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}
        case {"bearer": token}:
            return {"authorization": f"Bearer {token}"}
    return {}


def _body(response: httpx.Response, path: str) -> Any:
    if response.headers.get("content-type", "").startswith("application/json"):
        return response.json()
    return {"<text>": response.text.replace(ROUTES.get(path, path), path)} if response.text else None


def _compare(played: HttpPlayed, where: str, look: Look, came: Any, old: set[str]) -> list[tuple[str, Mismatch]]:
    matcher = Matcher(played.bindings, old, look.unordered)
    recorded = {name: value for name, value in look.outcome.items() if name != "events"}
    given = came if "status" in recorded else {"result": came}
    return [(where, mismatch) for mismatch in matcher.mismatches(recorded, given, ())]


async def play_one(case: Case, nats: Nats, folder: Path) -> Verdict:
    """On an empty store and empty streams."""
    service = Service(nats.url, folder)
    try:
        async with asyncio.timeout(CASE_SECONDS):
            await service.start()
            try:
                async with await service.connect() as ks, gateway(service) as running, client(running) as http:
                    return await play(case, ks, http)
            finally:
                await service.stop()
                await delete_streams(nats)
    except Exception as error:  # noqa: BLE001 - whatever breaks is this case's failure, not the end of the others
        return Verdict(case.name, case.area, failures=[f"{type(error).__name__}: {error}"])


async def play_all(cases: Sequence[Case]) -> list[Verdict]:
    """Play cases one after the other, each on empty data."""
    with tempfile.TemporaryDirectory(prefix="keyscope-golden-http-") as folder:
        nats = Nats(Path(folder) / "nats")
        nats.start()
        try:
            return [await play_one(case, nats, Path(folder) / str(number)) for number, case in enumerate(cases)]
        finally:
            nats.stop()
