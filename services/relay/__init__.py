"""From the event store to the JetStream stream: every event, once, in order."""
