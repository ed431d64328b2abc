"""The server: one folder a service, `domain` with the aggregates, and `runtime` which wires and runs them all."""
