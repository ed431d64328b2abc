"""Child processes that end with their parent, each with one pipe of lines back to it."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
"""The signals that the supervisor handles, and that its children must not inherit the handlers of."""

_PR_SET_PDEATHSIG = 1


def fork(child: Callable[[], int]) -> int:
    """Run `child` in a forked process, with the default signal handlers, and exit with the code that it returns.

    Returns the process id. The caller must have but one thread.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        return pid
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        code = child()
    except BaseException:  # noqa: BLE001 - whatever it is, this process must not go on as a second parent
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def execute(
    command: Sequence[str], *, environment: Mapping[str, str], output: int | None = None, inherit: Sequence[int] = ()
) -> NoReturn:
    """Become `command`: its standard output and error go to `output`, and it keeps the descriptors in `inherit`."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if output is not None:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
    for descriptor in inherit:
        os.set_inheritable(descriptor, True)
    try:
        os.execvpe(command[0], list(command), dict(environment))
    except OSError as error:
        os.write(2, f"cannot run {command[0]}: {error.strerror}\n".encode())
        os._exit(127)


def die_with(parent: int, number: signal.Signals) -> None:
    """Have the kernel send `number` to this process when `parent` dies. Linux only; elsewhere this does nothing."""
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:
        os.kill(os.getpid(), number)
