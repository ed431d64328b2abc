"""`ks.jobs`: commands that survive: published to a stream, they are carried out when the service is there."""

import asyncio
from collections.abc import Callable
from typing import Any, Unpack, cast

from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from keyscope.bus import decoded, still_open, to_json
from keyscope.commands import Commands
from keyscope.connection import Connection
from keyscope.errors import Timeout
from keyscope.subjects import COMMAND_ID
from keyscope.types import CallOptions, CommandReply


class Job:
    """A command that is on its way. Its outcome comes when it has been carried out."""

    def __init__(self, name: str, body: Any, command_id: str, commands: Commands, saw: Callable[[int], None]) -> None:
        self.name = name
        self.command_id = command_id
        self.duplicate = False
        """The stream held a job with this command id already (within its two minutes): nothing was added."""
        self._body = body
        self._commands = commands
        self._saw = saw
        self._answer: asyncio.Future[Msg] = asyncio.get_running_loop().create_future()

    async def outcome(self, timeout: float = 30.0) -> CommandReply:
        """What came of it: `{"data", "position", "changed"}`. Raises what the service answered, or Timeout.

        Outcomes are not kept on the bus: one that was published while this client was cut off is lost. After a Timeout,
        `ks.command(job.name, body, command_id=job.command_id)` answers it, and carries the job out if it was not yet.
        """
        if self.duplicate:
            return await self._commands.send(self.name, self._body, command_id=self.command_id, timeout=timeout)
        try:
            message = await asyncio.wait_for(asyncio.shield(self._answer), timeout)
        except TimeoutError:
            raise Timeout(
                f"no outcome of {self.name} within {timeout:g} s; its command id is {self.command_id}",
                command_id=self.command_id,
            ) from None
        reply = decoded(message.data, message.headers)
        self._saw(reply.get("position", 0))
        return cast("CommandReply", reply)

    async def receive(self, message: Msg) -> None:
        """Take the outcome."""
        if not self._answer.done():
            self._answer.set_result(message)


class Jobs:
    """Submits jobs."""

    def __init__(self, connection: Connection, commands: Commands) -> None:
        self._connection = connection
        self._commands = commands

    async def submit(self, name: str, body: Any, **options: Unpack[CallOptions]) -> Job:
        """Publish the command `name` durably; when this returns, the stream has it.

        The body of a command sent with ks.link, ks.api_keys and so on is what they send: see the reference of commands.
        `timeout` is for the stream's acknowledgement. Raises Timeout and Unavailable, both safe to repeat with the same
        `command_id`.
        """
        headers = self._commands.headers(options)
        job = Job(name, body, headers[COMMAND_ID], self._commands, self._connection.saw)
        payload = to_json(body)
        with still_open():
            listening = await self._listen(job)
            try:
                ack = await self._connection.bus.ask(
                    self._connection.subjects.job(name),
                    payload,
                    headers,
                    what=name,
                    timeout=options.get("timeout"),
                    command_id=job.command_id,
                )
            except BaseException:
                await listening.unsubscribe()
                raise
            job.duplicate = bool(ack.get("duplicate"))
            if job.duplicate:
                await listening.unsubscribe()
        return job

    async def _listen(self, job: Job) -> Subscription:
        listening = await self._connection.nc.subscribe(
            self._connection.subjects.outcome(job.command_id), cb=job.receive
        )
        await listening.unsubscribe(limit=1)
        return listening
