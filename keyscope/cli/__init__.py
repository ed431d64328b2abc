"""The command line, `keyscope`: a client of the running service, and the way to run it.

Exit codes: 0 done; 1 refused, and the sentence says why; 2 the call itself is wrong; 3 the service does not answer;
130 interrupted. `up` and `run` have further ones of their own.
"""

import sys


def main() -> None:
    """The entry point."""
    try:
        import typer  # noqa: F401
    except ImportError:
        sys.exit('keyscope: the command line needs more than the client: pip install "keyscope[server]"')
    from keyscope.cli.app import app

    app(prog_name="keyscope")
