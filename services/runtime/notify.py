"""Telling systemd how we are (Type=notify); without systemd nobody is told. See sd_notify(3)."""

import os
import socket
from contextlib import suppress


def notify(state: str) -> None:
    """Tell it `READY=1`, `STOPPING=1` or `WATCHDOG=1`. Never raises: a service does not fail for want of a listener."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as there:
        there.connect("\0" + address[1:] if address.startswith("@") else address)
        there.sendall(state.encode())
