"""`ks.dead_jobs`: jobs that could not be carried out, to be looked at, tried again, or dropped."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from keyscope.connection import Connection
from keyscope.errors import Conflict, NotFound
from keyscope.subjects import COMMAND_ID

STREAM, JOBS_STREAM = "KEYSCOPE_DEAD_JOBS", "KEYSCOPE_JOBS"
REASON, ATTEMPTS = "Keyscope-Reason", "Keyscope-Attempts"


class DeadJob(NamedTuple):
    """A job that was given up. `number` is its name here; `reason` is the error's type and message."""

    number: int
    command: str
    command_id: str
    reason: str
    attempts: int
    time: str
    body: bytes
    headers: dict[str, str]


class DeadJobs:
    """The stream of jobs that were given up."""

    def __init__(self, connection: Connection) -> None:
        self._subjects = connection.subjects
        self._bus = connection.bus

    async def list(self) -> AsyncIterator[DeadJob]:
        """All of them, the oldest first."""
        number = 1
        while True:
            try:
                job = await self._from(number, following=True)
            except NotFound:
                return
            yield job
            number = job.number + 1

    async def get(self, number: int) -> DeadJob:
        """One of them. Raises NotFound."""
        return await self._from(number, following=False)

    async def retry(self, number: int) -> None:
        """Submit it again, under its old command id, and drop it here. Raises NotFound, Conflict."""
        job = await self.get(number)
        headers = {name: value for name, value in job.headers.items() if name not in {REASON, ATTEMPTS}}
        headers["Nats-Expected-Stream"] = JOBS_STREAM
        ack = await self._bus.ask(self._subjects.job(job.command), job.body, headers, what=job.command)
        if ack.get("duplicate"):
            raise Conflict(f"dead job {number} was submitted less than two minutes ago: try again later")
        await self.drop(number)

    async def drop(self, number: int) -> None:
        """Forget it. Raises NotFound."""
        await self.get(number)
        await self._api("DELETE", {"seq": number})

    async def _from(self, number: int, *, following: bool) -> DeadJob:
        wanted = self._subjects.dead_job(">")
        try:
            reply = await self._api("GET", {"seq": number, **({"next_by_subj": wanted} if following else {})})
        except NotFound:
            raise NotFound(f"there is no dead job {number}") from None
        found = reply["message"]
        headers = _headers(base64.b64decode(found.get("hdrs", "")))
        return DeadJob(
            number=found["seq"],
            command=found["subject"][len(wanted) - 1 :],
            command_id=headers.get(COMMAND_ID, ""),
            reason=headers.get(REASON, ""),
            attempts=int(headers.get(ATTEMPTS, 0)),
            time=found["time"],
            body=base64.b64decode(found.get("data", "")),
            headers=headers,
        )

    async def _api(self, call: str, request: dict[str, Any]) -> dict[str, Any]:
        subject = f"$JS.API.STREAM.MSG.{call}.{STREAM}"
        return await self._bus.ask(subject, json.dumps(request).encode(), what=f"STREAM.MSG.{call}")


def _headers(text: bytes) -> dict[str, str]:
    """What nats-py (2.16) makes of the headers of a stored message is not always text: it takes them for an email's."""
    lines = text.decode(errors="replace").split("\r\n")[1:]
    return {name.strip(): value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}
