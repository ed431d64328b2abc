"""How a serving process uses memory."""

import ctypes
import gc

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def settle() -> None:
    """Tune the process for serving, once everything is imported.

    What is there now stays, and a service's garbage is mostly freed by counting: looking for cycles as often as Python
    does by default costs a quarter of a link's time. And glibc gives back the memory of a large answer at once, only
    to ask for it, cleared page by page, for the next one: keeping it halves the cost of long lists.
    """
    gc.freeze()
    gc.set_threshold(50_000, 10, 5)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc's alone
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, 16 * 1024 * 1024)
        mallopt(_M_TRIM_THRESHOLD, 32 * 1024 * 1024)
