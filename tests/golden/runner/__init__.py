"""Plays recorded cases through the public door: the client, over a real NATS, against the whole service."""
