"""The stream's side of the relay: where it ends, and adding to its end."""

from dataclasses import dataclass
from typing import NamedTuple

from nats.aio.client import Client
from nats.js import JetStreamContext
from nats.js.api import RawStreamMsg, StreamState
from nats.js.errors import APIError

from events.base import parse_json
from events.catalog import event_class
from events.envelope import published, without_private
from events.subjects import COMMAND_ID as MESSAGE_ID
from events.subjects import EPOCH, EVENTS_STREAM, Subjects
from services.bus.streams import ensure_stream, events_stream
from services.bus.wire import message, send

EXPECTED_LAST_SEQUENCE = "Nats-Expected-Last-Sequence"
_HEADER = f"NATS/1.0\r\n{MESSAGE_ID}: %b\r\n{EXPECTED_LAST_SEQUENCE}: %d\r\n\r\n".encode()
_WRONG_LAST_SEQUENCE = 10071
"""JetStream's error code."""
CONFIRM_EVERY = 500
CONFIRM_SECONDS = 10.0


class Fenced(Exception):
    """The stream does not end where this relay left it: another relay wrote, or the stream was cut."""


class Told(NamedTuple):
    """What an event's envelope says of it, whatever release wrote it."""

    id: str
    position: int
    """0 in an envelope as it is stored."""

    @classmethod
    def of(cls, text: bytes | None) -> "Told":
        """Raises ValueError for what is no envelope."""
        envelope = parse_json(text or b"")
        if not isinstance(envelope, dict) or not isinstance(envelope.get("id"), str):
            raise ValueError("no event")  # noqa: TRY004 - of the text, not of an argument
        return cls(envelope["id"], int(envelope.get("position", 0)))


@dataclass(frozen=True, slots=True)
class End:
    """The end of the stream: its last sequence number, and the position of the last event in it."""

    sequence: int
    position: int


class EventStream:
    """The stream KEYSCOPE_EVENTS, written to with a fence."""

    def __init__(
        self, client: Client, js: JetStreamContext, subjects: Subjects, source: str, *, replicas: int = 1
    ) -> None:
        self._client = client
        self._js = js
        self._subjects = subjects
        self._source = source
        self._replicas = replicas
        self._first: End | None = None  # where the store's first event was seen

    async def declare(self, epoch: str) -> str | None:
        """Make the stream, or verify the one that is there; its epoch, if it has one. Raises StreamMismatch."""
        await ensure_stream(self._js, events_stream(self._subjects, self._replicas, epoch))
        config = (await self._js.stream_info(EVENTS_STREAM)).config
        return (config.metadata or {}).get(EPOCH)

    async def adopt(self, epoch: str) -> None:
        """Write the epoch on a stream that has none."""
        config = (await self._js.stream_info(EVENTS_STREAM)).config
        config.metadata = {**(config.metadata or {}), EPOCH: epoch}
        await self._js.update_stream(config)

    async def remove(self) -> None:
        """Delete the stream, so that nobody goes on reading in the middle of another history."""
        await self._js.delete_stream(EVENTS_STREAM)

    async def _state(self) -> StreamState:
        return (await self._js.stream_info(EVENTS_STREAM)).state

    async def last(self) -> Told | None:
        """The last event in the stream. Raises ValueError for what is none."""
        if not (await self._state()).messages:
            return None
        return Told.of((await self._js.get_last_msg(EVENTS_STREAM, self._subjects.events)).data)

    async def end(self) -> End:
        """Where the stream ends now; position 0 when it is empty."""
        state = await self._state()
        if not state.messages:
            return End(state.last_seq, 0)
        # Both from one message: another relay may have written since the question about the state.
        return _place(await self._js.get_last_msg(EVENTS_STREAM, self._subjects.events))

    async def is_whole(self, first_event_id: str | None) -> bool:
        """Whether the stream begins with the store's first event and has no holes. An empty one is whole.

        Positions are as dense as sequence numbers, so both have grown by the same since the first event.
        """
        state = await self._state()
        if not state.messages:
            return True
        if state.messages != state.last_seq - state.first_seq + 1:
            return False
        if self._first is None or self._first.sequence != state.first_seq:
            first = await self._js.get_msg(EVENTS_STREAM, state.first_seq)
            if Told.of(first.data).id != first_event_id:
                return False
            self._first = _place(first)
        last = await self.end()
        return last.position - self._first.position == last.sequence - self._first.sequence

    async def purge(self) -> None:
        """Empty the stream; sequence numbers go on."""
        await self._js.purge_stream(EVENTS_STREAM)

    async def append(self, end: End, rows: list[tuple[int, str, bytes]]) -> End:
        """Add events, (position, topic, stored text) in order, right after `end`. Returns the new end.

        Every message tells the position of the one before it, so that no reader can miss one without noticing. Each
        expects the one before it as the stream's last, so the acknowledgement of the last message of a run confirms
        the whole run. Raises Fenced when the stream ends elsewhere, NatsError when it cannot be told, UnknownEvent for
        a kind of event that only a newer release knows: what of it is private is unknown, too.
        """
        for start in range(0, len(rows), CONFIRM_EVERY):
            end = await self._append_run(end, rows[start : start + CONFIRM_EVERY])
        return end

    async def _append_run(self, end: End, rows: list[tuple[int, str, bytes]]) -> End:
        sequence, previous = end.sequence, end.position
        frames = []
        for position, topic, stored in rows[:-1]:
            subject, text, id = self._message(position, topic, stored, previous)
            frames.append(message(subject.encode(), _HEADER % (id.encode(), sequence), text))
            sequence, previous = sequence + 1, position
        if frames:
            await send(self._client, b"".join(frames))
        position, topic, stored = rows[-1]
        subject, text, id = self._message(position, topic, stored, previous)
        headers = {MESSAGE_ID: id, EXPECTED_LAST_SEQUENCE: str(sequence)}
        try:
            ack = await self._js.publish(subject, text, timeout=CONFIRM_SECONDS, stream=EVENTS_STREAM, headers=headers)
        except APIError as error:
            if error.err_code == _WRONG_LAST_SEQUENCE:
                raise Fenced(str(error)) from error
            raise
        if ack.duplicate or ack.seq != sequence + 1:
            raise Fenced(f"expected sequence {sequence + 1}, the stream gave {ack.seq}")
        return End(ack.seq, position)

    def _message(self, position: int, topic: str, stored: bytes, previous: int) -> tuple[str, bytes, str]:
        """(subject, published text, event id)."""
        name = topic.rpartition(":")[0]
        if event_class(name).private:
            stored = without_private(stored)
        # The envelope is ours and begins with these members, in this order: no need to parse it.
        id = _between(stored, b'"id":"', b'"')
        ids = _between(stored, b'"subject":"', b'"')
        subject = f"{self._subjects.prefix}.evt.{name}.{ids.replace('/', '.')}"
        return subject, published(stored, position=position, previous=previous, source=self._source), id


def _between(text: bytes, start: bytes, end: bytes) -> str:
    begin = text.index(start) + len(start)
    return text[begin : text.index(end, begin)].decode()


def _place(message: RawStreamMsg) -> End:
    assert message.seq is not None
    return End(message.seq, Told.of(message.data).position)
