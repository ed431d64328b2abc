"""All commands in one place."""

from importlib.metadata import version
from typing import Annotated

import typer

from keyscope.cli import care, channels, demo, events, graph, importing, jobs, keys, links, migrate, server, status
from keyscope.cli.session import Session

app = typer.Typer(
    name="keyscope",
    help="Publishable API keys scoped to sales channels.",
    epilog="Exit codes: 0 done, 1 refused, 2 wrong usage, 3 the service does not answer, 130 interrupted.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


_SETTINGS = {
    "server": "nats_url",
    "prefix": "prefix",
    "credentials": "nats_credentials",
    "user": "nats_user",
    "password": "nats_password",
    "token": "nats_token",
}
"""The options that are settings of the server's too."""


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"keyscope {version('keyscope')}")
        raise typer.Exit


@app.callback()
def options(  # noqa: PLR0913 - an option is an argument
    context: typer.Context,
    *,
    server: Annotated[
        str, typer.Option(envvar="KEYSCOPE_NATS_URL", help="Where NATS is; several, separated by commas.")
    ] = "nats://127.0.0.1:4222",
    prefix: Annotated[str, typer.Option(envvar="KEYSCOPE_PREFIX", help="The prefix of all subjects.")] = "keyscope",
    actor: Annotated[
        str, typer.Option(envvar="KEYSCOPE_ACTOR", help="Who you are: stands in events and in created_by.")
    ] = "cli",
    credentials: Annotated[
        str | None, typer.Option(envvar="KEYSCOPE_NATS_CREDENTIALS", help="A NATS credentials file.")
    ] = None,
    user: Annotated[str | None, typer.Option(envvar="KEYSCOPE_NATS_USER", help="The NATS user.")] = None,
    password: Annotated[str | None, typer.Option(envvar="KEYSCOPE_NATS_PASSWORD", help="That user's password.")] = None,
    token: Annotated[str | None, typer.Option(envvar="KEYSCOPE_NATS_TOKEN", help="A NATS token.")] = None,
    timeout: Annotated[float, typer.Option(envvar="KEYSCOPE_TIMEOUT", min=0.1, help="Seconds for one answer.")] = 5.0,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")] = False,
) -> None:
    """Publishable API keys scoped to sales channels."""
    given = {
        setting: context.params[name]
        for name, setting in _SETTINGS.items()
        if (source := context.get_parameter_source(name)) and source.name == "COMMANDLINE"
    }
    login = {"user_credentials": credentials, "user": user, "password": password, "token": token}
    context.obj = Session(server.split(","), prefix=prefix, actor=actor, login=login, timeout=timeout, settings=given)


app.command()(status.status)
app.add_typer(links.app, name="link")
app.add_typer(keys.app, name="key")
app.add_typer(channels.app, name="channel")
app.add_typer(jobs.app, name="jobs")
app.command()(graph.graph)
app.command()(graph.scope)
app.command()(events.events)
app.command()(demo.demo)
app.add_typer(importing.app, name="import")
server.register(app)
care.register(app)
migrate.register(app)
