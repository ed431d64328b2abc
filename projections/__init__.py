"""The read model: its schema, the projector that keeps it up to date, the compiler from graph query to SQL."""
