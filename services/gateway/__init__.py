"""HTTP: Medusa's Admin and Store routes for keys, channels and links, and events as they happen.

It is a client of the other services like any other: it speaks with them over the bus alone, keeps nothing that cannot
be lost, and scales by starting more of it.
"""
