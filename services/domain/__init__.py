"""The aggregates ApiKey and SalesChannel: what may happen to them, and what they become when it has.

An aggregate decides (methods that return the new events, or raise why not) and evolves (`apply`). It knows no
database, clock or bus: times and ids come in as arguments.
"""
