"""The command line, `keyscope`: a client of the running service, and the way to run it.

Exit codes: 0 done; 1 refused, and the sentence says why; 2 the call itself is wrong; 3 the service does not answer;
130 interrupted. `up` and `run` have further ones of their own, and 74 is for an output that cannot be written.
"""

import errno
import os
import sys

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main() -> None:
    """The entry point."""
    try:
        import typer
    except ImportError:
        sys.exit('keyscope: the command line needs more than the client: pip install "keyscope[server]"')
    try:
        from keyscope.cli.app import app

        app(prog_name="keyscope")
    except KeyboardInterrupt:  # before typer, which minds the others, was at work
        sys.exit(130)
    except OSError as error:
        if error.errno not in _NO_ROOM or error.filename is not None:
            raise
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # or Python tries again at its end, and complains
        typer.echo(f"keyscope: the output cannot be written: {error.strerror}", err=True)
        sys.exit(74)
