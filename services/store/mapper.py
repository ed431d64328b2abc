"""Between the events of the domain and the rows of the event store."""

from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import JSONTranscoder, Mapper, StoredEvent

from events.base import parse_json
from events.catalog import event_class
from events.envelope import encode
from services.domain.aggregate import Recorded


class EventMapper(Mapper[str]):
    """Stores an event as the CloudEvent it will be published as; reads any version of it.

    The topic of a row is the event's name and version (`link.dismissed:2`), never the path of a Python class.
    """

    def __init__(self) -> None:
        super().__init__(JSONTranscoder())

    def to_stored_event(self, domain_event: DomainEventProtocol[str]) -> StoredEvent:
        assert isinstance(domain_event, Recorded)
        version = domain_event.originator_version
        return StoredEvent(
            originator_id=domain_event.originator_id,
            originator_version=version,
            topic=domain_event.event.topic,
            state=encode(domain_event.event, version=version, time=domain_event.time, context=domain_event.context),
        )

    def to_domain_event(self, stored_event: StoredEvent) -> Recorded:
        """Raises events.base.UnknownEvent for what a newer release has stored."""
        name, _, version = stored_event.topic.rpartition(":")
        envelope = parse_json(stored_event.state)
        return Recorded(
            originator_id=str(stored_event.originator_id),
            originator_version=stored_event.originator_version,
            event=event_class(name).upcast(envelope["data"], int(version)),
            time=envelope["time"],
            context="",
        )
