"""`ks.dead_jobs`: jobs that could not be carried out, to be looked at, tried again, or dropped."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from nats.js.errors import NotFoundError

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
        self._js = connection.nc.jetstream()

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
        ack = await self._js.publish(self._subjects.job(job.command), job.body, stream=JOBS_STREAM, headers=headers)
        if ack.duplicate:
            raise Conflict(f"dead job {number} was submitted less than two minutes ago: try again later")
        await self.drop(number)

    async def drop(self, number: int) -> None:
        """Forget it. Raises NotFound."""
        await self.get(number)
        await self._js.delete_msg(STREAM, number)

    async def _from(self, number: int, *, following: bool) -> DeadJob:
        wanted = self._subjects.dead_job(">")
        try:
            found = await self._js.get_msg(STREAM, number, subject=wanted if following else None, next=following)
        except NotFoundError:
            raise NotFound(f"there is no dead job {number}") from None
        headers = dict(found.headers or {})
        return DeadJob(
            number=found.seq or number,
            command=(found.subject or "")[len(wanted) - 1 :],
            command_id=headers.get(COMMAND_ID, ""),
            reason=headers.get(REASON, ""),
            attempts=int(headers.get(ATTEMPTS, 0)),
            time=str(found.time or ""),
            body=found.data or b"",
            headers=headers,
        )
