"""How outcomes are kept: compressed from some size on; the reply to a hundred links shrinks tenfold."""

import zlib

COMPRESS_FROM = 512
"""Bytes."""


def packed(reply: bytes) -> bytes:
    """The reply as it is kept."""
    return reply if len(reply) < COMPRESS_FROM else zlib.compress(reply, 1)


def unpacked(kept: bytes) -> bytes:
    """The reply that was kept."""
    # A reply is JSON and begins with a brace; zlib's first byte is x.
    return kept if kept[:1] == b"{" else zlib.decompress(kept)
