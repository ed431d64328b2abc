"""The commands that run the server: up, run, config. They need keyscope[server]."""

import os
import tempfile
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from keyscope.cli.session import session

if TYPE_CHECKING:
    from services.runtime.failures import Failure
    from services.runtime.settings import Settings


class Service(StrEnum):
    """What `keyscope run` can run."""

    COMMANDS = "commands"
    RELAY = "relay"
    QUERY = "query"
    GATEWAY = "gateway"


class LogFormat(StrEnum):
    """How the log is written."""

    CONSOLE = "console"
    JSON = "json"


NatsUrl = Annotated[str | None, typer.Option(help="The NATS to use. [default: nats://127.0.0.1:4222]")]
DataDir = Annotated[Path | None, typer.Option(help="The folder for everything that is kept. [default: ./data]")]
Format = Annotated[LogFormat | None, typer.Option(help="console for people, json for machines.")]


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command(context_settings={"ignore_unknown_options": False})(up)
    app.command()(run)
    app.command()(config)


def up(
    context: typer.Context,
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="COMMAND",
            help="A command to run against it, after `--`: when that ends, so does Keyscope, with its exit code.",
        ),
    ] = None,
    *,
    data_dir: DataDir = None,
    nats_url: Annotated[str | None, typer.Option(help="Use this NATS. [default: one of its own]")] = None,
    port: Annotated[int | None, typer.Option(help="Where NATS listens; 0 takes a free port. [default: 4222]")] = None,
    http_port: Annotated[
        int | None, typer.Option(help="Where HTTP is served; 0 takes a free port. [default: 9000, if it is free]")
    ] = None,
    temporary: Annotated[
        bool, typer.Option(help="Free ports, and a temporary folder that is deleted in the end.")
    ] = False,
    log_format: Format = None,
) -> None:
    """Run everything on this machine, with a NATS of its own unless KEYSCOPE_NATS_URL names one.

    Exit codes: 0 stopped on request, 65 a file is damaged, 66 stream and event store do not fit, 69 NATS or PostgreSQL
    refuses, 70 a process keeps crashing, 73 a file cannot be used, 74 the disk is full, 75 the data folder is in use,
    76 the port is taken, 78 a setting is wrong.
    """
    needs_the_server()
    from services.runtime import logs
    from services.runtime.failures import Failure
    from services.runtime.up import up as everything

    with ExitStack() as stack:
        if temporary:
            port = 0 if port is None else port
            http_port = 0 if http_port is None else http_port
            data_dir = data_dir or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="keyscope-")))
        try:
            settings = settings_of(
                context,
                data_dir=data_dir,
                nats_url=nats_url,
                nats_port=port,
                http_port=http_port,
                log_format=log_format,
            )
            logs.configure(settings.log_format, settings.log_level, process="up", hidden=settings.hidden())
            code = everything(settings, ready=_quiet if command else _banner, command=command or ())
        except Failure as failure:
            fail(failure)
    raise typer.Exit(code)


def run(
    context: typer.Context,
    services: Annotated[list[Service], typer.Argument(metavar="SERVICE", help="One or several.")],
    *,
    nats_url: NatsUrl = None,
    data_dir: DataDir = None,
    log_format: Format = None,
) -> None:
    """Run services in the foreground against a NATS that runs already. Exit codes are those of `keyscope up`."""
    needs_the_server()
    from services.runtime import logs
    from services.runtime.failures import Failure

    try:
        settings = settings_of(context, nats_url=nats_url, data_dir=data_dir, log_format=log_format)
        logs.configure(settings.log_format, settings.log_level, process="+".join(services), hidden=settings.hidden())
        from services.runtime import host

        host.run(services, settings, ready=lambda: typer.echo(f"ready: {', '.join(services)}"))
    except Failure as failure:
        fail(failure)


def config(context: typer.Context) -> None:
    """Print every setting as it stands, in the form of an environment file. Secrets are masked."""
    needs_the_server()
    from services.runtime.failures import Failure

    try:
        typer.echo("\n".join(settings_of(context).lines()))
    except Failure as failure:
        fail(failure)


def settings_of(context: typer.Context, **given: Any) -> "Settings":
    """The settings: those `given`, else what stands before the command, else the environment's. Raises Failure."""
    from services.runtime.settings import load

    return load(**session(context).settings | {name: value for name, value in given.items() if value is not None})


def needs_the_server() -> None:
    """End the program unless keyscope[server] is installed and the system is one of ours."""
    if os.name != "posix":
        typer.echo("keyscope: the server needs Linux or macOS; the client runs anywhere", err=True)
        raise typer.Exit(1)
    try:
        import pydantic_settings  # noqa: F401
    except ImportError:
        typer.echo('keyscope: this needs the server: pip install "keyscope[server]"', err=True)
        raise typer.Exit(1) from None


def fail(failure: "Failure") -> NoReturn:
    """End the program with the failure's sentence and exit code."""
    typer.echo(f"keyscope: {failure}", err=True)
    raise typer.Exit(failure.exit) from None


def _quiet(_: "Settings") -> None:
    """Say nothing: the command has the screen."""


def _banner(settings: "Settings") -> None:
    from services.runtime.banner import banner

    typer.echo(banner(settings))
