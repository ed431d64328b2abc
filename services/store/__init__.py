"""The event store: the truth, on disk.

The library `eventsourcing` keeps aggregates' events and the notification log; beside them, in the same
transaction, stand the outcomes of commands and the small indexes that the write side asks.
"""
