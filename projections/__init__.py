"""The read model: its schema, the projector that keeps it up to date, and the compiler from a graph query to one SQL statement."""
